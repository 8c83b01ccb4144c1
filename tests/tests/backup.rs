//! The drill: `infra/backup/` copies a running installation, everything is destroyed, and what comes back is what was there.
//! What cannot be trusted is refused, and nothing is overwritten unsaid.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "backup/copies.rs"]
mod copies;
#[path = "backup/drill.rs"]
mod drill;
#[path = "backup/postgres.rs"]
mod postgres;
#[path = "backup/queues.rs"]
mod queues;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tests::stack::{Process, command, free_addr, repository};

/// For what must come; never waited out by a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the scripts end with (sysexits.h): the data are damaged, something is not there, something is there already, somebody
/// is using it.
const DAMAGED: i32 = 65;
const ABSENT: i32 = 69;
const THERE: i32 = 73;
const IN_USE: i32 = 75;

/// Whether programs of the system are here that the scripts want; said aloud, and a failure where `CI=true`.
fn have(programs: &[&str]) -> bool {
    let on_path = |program: &&str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|directory| directory.join(program).is_file())
    };
    let missing: Vec<_> = programs.iter().filter(|program| !on_path(program)).collect();
    if missing.is_empty() {
        return true;
    }
    let why = format!("{missing:?} not on the PATH (Debian: sqlite3, redis-tools, postgresql-client)");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("SKIPPED: {why}");
    false
}

/// An installation without containers: a directory for the database, one for backups.
struct Installation {
    state: TempDir,
    backups: TempDir,
    /// Words that say where the parts are.
    places: Vec<String>,
    /// What our programs get to find the database.
    env: Vec<(&'static str, String)>,
}

impl Installation {
    fn on_sqlite() -> Self {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("subtide.db").display().to_string();
        let env = vec![("DATABASE_URL", format!("sqlite:{file}"))];
        Self { state, backups: tempfile::tempdir().unwrap(), places: vec!["--sqlite".to_owned(), file], env }
    }

    fn with_redis(mut self, directory: &Path) -> Self {
        self.places.extend(["--redis".to_owned(), directory.display().to_string()]);
        self
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Said {
        let mut bash = Command::new("bash");
        bash.arg(repository().join("infra/backup").join(script)).args(&self.places).args(arguments);
        Said::of(bash.output().unwrap())
    }

    /// Makes a backup; where it lies.
    #[track_caller]
    fn backup(&self, more: &[&str]) -> PathBuf {
        let folder = self.backups.path().display().to_string();
        let said = self.run("backup.sh", &[more, &[folder.as_str()]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        PathBuf::from(said.out.lines().next().unwrap())
    }

    fn restore(&self, backup: &Path, more: &[&str]) -> Said {
        self.run("restore.sh", &[more, &[backup.to_str().unwrap()]].concat())
    }

    /// `subtide admin`, which prints JSON.
    #[track_caller]
    fn admin(&self, arguments: &str) -> Value {
        let mut admin = command("subtide");
        admin.arg("admin").args(arguments.split(' ')).arg("--json").envs(self.env.iter().cloned());
        let output = admin.output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A key with which a client may stream.
    fn make_key(&self) -> String {
        self.admin("keys create --label hall --scopes stream")[0]["key"].as_str().unwrap().to_owned()
    }

    /// A real gateway on this database, ready, and where it listens.
    async fn gateway(&self, redis: &str) -> (Process, String) {
        let addr = free_addr();
        let port = addr.port().to_string();
        let mut env = vec![("REDIS_URL", redis), ("GATEWAY_PORT", port.as_str())];
        env.extend(self.env.iter().map(|(key, value)| (*key, value.as_str())));
        let mut gateway = Process::spawn("gateway", "gateway", &env);
        gateway.ready().await;
        (gateway, addr.to_string())
    }

    /// All that lies in the directory of the database, by name.
    fn state(&self) -> Vec<(String, Vec<u8>)> {
        files(self.state.path())
    }
}

/// What a script said, and its exit code.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// That it refused with this code, and said this.
    #[track_caller]
    fn refused(&self, code: i32, word: &str) {
        assert!(self.code == code && self.err.contains(word), "wanted {code} and `{word}`: {self:#?}");
    }

    #[track_caller]
    fn worked(&self) {
        assert_eq!(self.code, 0, "{self:#?}");
    }
}

/// Whether a gateway takes this key.
async fn opens(key: &str, address: &str) -> StatusCode {
    reqwest::Client::new().get(format!("http://{address}/v1/me")).bearer_auth(key).send().await.unwrap().status()
}

/// Every file below `directory` and what is in it, by name.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(directory).unwrap().display().to_string();
                found.push((name, fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Names of the backups in a folder.
fn backups_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != ".lock").collect();
    names.sort();
    names
}
