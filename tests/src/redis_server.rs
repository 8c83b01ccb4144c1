//! A real `redis-server` for one test: on a free loopback port, in a directory of its own, gone with the test.

use std::{
    fs::File,
    net::Ipv4Addr,
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

/// Arguments of [`RedisServer::spawn_with`] that let the data survive a restart.
pub const APPEND_ONLY: &[&str] = &["--appendonly", "yes"];

/// Generous: it starts within milliseconds on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Ports to try: between finding a free one and its use, somebody else may take it.
const PORTS: usize = 5;

/// A running server; it is killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    arguments: Vec<String>,
    port: u16,
    child: Child,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk, and waits until it answers.
    ///
    /// # Panics
    /// When there is no `redis-server` on the `PATH`, or it does not start.
    pub async fn spawn() -> Self {
        Self::spawn_with(&[]).await
    }

    /// The same, with more command line arguments.
    ///
    /// # Panics
    /// As [`RedisServer::spawn`].
    pub async fn spawn_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut port = free_addr().port();
        let mut child = start(&directory, &arguments, port);
        for _ in 1..PORTS {
            if answers(&mut child, port).await {
                return Self { directory, arguments, port, child };
            }
            port = free_addr().port();
            child = start(&directory, &arguments, port);
        }
        assert!(answers(&mut child, port).await, "redis-server does not start: {}", log(&directory));
        Self { directory, arguments, port, child }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`STOP`, `CONT`).
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal} of redis-server failed");
    }

    /// Kills it without a chance to save anything (`SIGKILL`).
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        // An error means that it is already dead.
        self.child.kill().ok();
        self.child.wait().unwrap_or_else(|error| panic!("redis-server cannot be waited for: {error}"));
    }

    /// Kills it if it runs and starts it with other arguments, without waiting until it answers.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn begin_restart(&mut self, arguments: &[&str]) {
        self.kill();
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.child = start(&self.directory, &self.arguments, self.port);
    }

    /// As [`RedisServer::restart`], with other arguments.
    ///
    /// # Panics
    /// As [`RedisServer::restart`].
    pub async fn restart_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.restart().await;
    }

    /// Kills it if it runs, starts it with the same port and directory, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start again.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = start(&self.directory, &self.arguments, self.port);
        assert!(
            answers(&mut self.child, self.port).await,
            "redis-server does not start again: {}",
            log(&self.directory)
        );
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn log(directory: &TempDir) -> String {
    std::fs::read_to_string(directory.path().join("log")).unwrap_or_default()
}

fn start(directory: &TempDir, arguments: &[String], port: u16) -> Child {
    let log = File::options().create(true).append(true).open(directory.path().join("log"));
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]);
    command.arg(directory.path()).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(log.unwrap_or_else(|error| panic!("no log file: {error}")));
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot start `redis-server` ({error}); install Redis 7 or run `cargo xtask test`, which finds one")
    })
}

/// Waits for the answer to PING; false when the server ended instead.
async fn answers(child: &mut Child, port: u16) -> bool {
    let give_up = Instant::now() + START_TIMEOUT;
    while Instant::now() < give_up {
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        if matches!(timeout(Duration::from_secs(5), ping(port)).await, Ok(Ok(true))) {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    child.kill().ok();
    child.wait().ok();
    false
}

/// Whether the server is up. One that wants a password first is; one that is still loading is not.
async fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok([&b"+PONG\r\n"[..], &b"-NOAUTH"[..]].contains(&&answer[..]))
}
