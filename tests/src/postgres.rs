//! A real PostgreSQL for one test: on a free loopback port, in a directory of its own, gone with the test. Never a
//! service of the system.

use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::stack::free_addr;

/// Where Debian's packages put the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Generous: it starts within a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Ports to try: between finding a free one and its use, somebody else may take it.
const PORTS: usize = 5;
/// Whom the server runs as where the test runs as root: it refuses root.
const USERS: [&str; 2] = ["postgres", "nobody"];
const NAME: &str = "subtide";

/// A running server; it is killed when this is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    // Dropped after the server has ended.
    child: Child,
    port: u16,
    _directory: TempDir,
}

/// What starts programs of PostgreSQL.
#[derive(Debug)]
struct Programs {
    directory: PathBuf,
    /// Whom to start them as; `None`: as we are.
    user: Option<&'static str>,
}

impl PostgresServer {
    /// Starts a server, and waits until it answers; `None`, said aloud, where PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it does not start, or is absent where `CI=true`.
    pub async fn spawn() -> Option<Self> {
        let Some(programs) = Programs::find() else {
            let why = "PostgreSQL is not installed (Debian: apt-get install postgresql; `cargo xtask test` does it)";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            eprintln!("SKIPPED: {why}");
            return None;
        };
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        programs.own(directory.path());
        programs.make_cluster(directory.path());
        for _ in 0..PORTS {
            let port = free_addr().port();
            let mut child = programs.start(directory.path(), port);
            if answers(&mut child, port).await {
                return Some(Self { child, port, _directory: directory });
            }
        }
        panic!(
            "postgres does not start: {}",
            std::fs::read_to_string(directory.path().join("log")).unwrap_or_default()
        );
    }

    /// The address of an empty database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{NAME}@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // SIGQUIT is its "immediate shutdown": no waiting for clients, and its children end as well, as they would not
        // with SIGKILL.
        Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status().ok();
        self.child.wait().ok();
    }
}

impl Programs {
    /// The newest version on this machine.
    fn find() -> Option<Self> {
        let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
        let installed = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path());
        let newest = installed.filter(|path| path.join("bin/initdb").is_file()).max_by_key(|path| version(path));
        let on_path = || {
            let paths = std::env::var_os("PATH")?;
            std::env::split_paths(&paths).find(|directory| directory.join("initdb").is_file())
        };
        let directory = newest.map(|path| path.join("bin")).or_else(on_path)?;
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
        let exists = |user: &&&str| Command::new("id").args(["-u", user]).output().is_ok_and(|id| id.status.success());
        let user = if is_root { Some(*USERS.iter().find(exists)?) } else { None };
        Some(Self { directory, user })
    }

    fn command(&self, program: &str) -> Command {
        let program = self.directory.join(program);
        let Some(user) = self.user else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", group_of(user).as_str(), "--clear-groups", "--"]).arg(program);
        command
    }

    /// The server's user owns the directory.
    fn own(&self, directory: &Path) {
        if let Some(user) = self.user {
            let owned = Command::new("chown").arg(user).arg(directory).status();
            assert!(owned.is_ok_and(|status| status.success()), "{} cannot be given to {user}", directory.display());
        }
    }

    fn make_cluster(&self, directory: &Path) {
        let mut command = self.command("initdb");
        command.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username", NAME, "--pgdata"]);
        let made = command.arg(directory.join("data")).current_dir(directory).stdin(Stdio::null()).output();
        let made = made.unwrap_or_else(|error| panic!("cannot start initdb: {error}"));
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn start(&self, directory: &Path, port: u16) -> Child {
        let log = File::options().create(true).append(true).open(directory.join("log"));
        let log = log.unwrap_or_else(|error| panic!("no log file: {error}"));
        let mut command = self.command("postgres");
        command.arg("-D").arg(directory.join("data")).arg("-k").arg(directory);
        // What a crash would lose, no test asks for.
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F"]);
        command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().unwrap_or_else(|error| panic!("cannot start postgres: {error}"))
    }
}

fn group_of(user: &str) -> String {
    let id = Command::new("id").args(["-g", user]).output().unwrap_or_else(|error| panic!("id: {error}"));
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
}

/// Waits until the server takes connections; false when it ended instead.
async fn answers(child: &mut Child, port: u16) -> bool {
    let give_up = Instant::now() + START_TIMEOUT;
    while Instant::now() < give_up {
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        if matches!(timeout(Duration::from_secs(5), takes_connections(port)).await, Ok(Ok(true))) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    child.kill().ok();
    child.wait().ok();
    false
}

/// Asks as a client would (protocol 3.0, a startup message); an `R` is the beginning of being let in, an `E` says that it
/// is still starting.
async fn takes_connections(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut parameters = 196_608_u32.to_be_bytes().to_vec();
    for word in ["user", NAME, "database", "postgres", ""] {
        parameters.extend(word.as_bytes());
        parameters.push(0);
    }
    let length = u32::try_from(parameters.len() + 4).unwrap_or_default();
    stream.write_all(&[&length.to_be_bytes()[..], &parameters].concat()).await?;
    let mut kind = [0];
    stream.read_exact(&mut kind).await?;
    Ok(kind == *b"R")
}
