//! The programs of Subtide as processes of their own, on a Redis of their own, on free ports.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use shared::{config::Env, health::probe};
use subtide::roles::{Roles, Settings};
use tokio::time::{Instant, sleep};

use crate::redis_server::RedisServer;

/// Loading a model on a busy machine takes seconds; a minute means that it never comes.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Path of one of our programs, as built beside the running test.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    let directory = test.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let path = directory.join(name);
    assert!(
        path.is_file(),
        "{} is not built; run `cargo xtask test`, or `cargo build --workspace` first",
        path.display()
    );
    path
}

/// A port that was free a moment ago.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("no free port: {e}"));
    listener.local_addr().unwrap_or_else(|e| panic!("no free port: {e}"))
}

/// All roles in this process, with the shipped models, on a bus in memory and a free port.
///
/// # Panics
/// When they do not start.
pub async fn in_process() -> Roles {
    let models = repository().join("models").display().to_string();
    let mut env = Env::of([("GATEWAY_PORT", "0"), ("MODELS_DIR", models.as_str())]);
    let mut settings = Settings::from_env(&mut env);
    env.finish().unwrap_or_else(|e| panic!("{e}"));
    settings.health = None;
    Roles::start(settings).await.unwrap_or_else(|e| panic!("{e:#}"))
}

/// A command for one of our programs: the shipped models, quiet logs, nothing from the tester's environment.
#[must_use]
pub fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    command
        .env_clear()
        .env("MODELS_DIR", repository().join("models"))
        .env("LOG_LEVEL", "warn")
        .current_dir(repository());
    command
}

/// One of our programs, running; killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// What it is called within its stack; workers bear it as their consumer name.
    pub name: String,
    child: Child,
    health: SocketAddr,
}

impl Process {
    /// Starts `program` (with its arguments, if any, after spaces) as `name`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(program: &str, name: &str, env: &[(&str, &str)]) -> Self {
        let health = free_addr();
        let mut words = program.split(' ');
        let mut command = command(words.next().unwrap_or(program));
        command.args(words);
        command.env("HEALTH_PORT", health.port().to_string()).env("WORKER_NAME", name).envs(env.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|e| panic!("{program} cannot be started: {e}"));
        Self { name: name.to_owned(), child, health }
    }

    /// Waits until the program says that it is ready.
    ///
    /// # Panics
    /// When it ends before, or is not ready after a minute and a half.
    pub async fn ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !probe(self.health).await.unwrap_or(false) {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended before it was ready: {status}", self.name);
            }
            assert!(Instant::now() < deadline, "{} is not ready after {START_TIMEOUT:?}", self.name);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`).
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|s| s.success()), "kill -{signal} of {} failed", self.name);
    }

    /// Ends it at once, as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it goes on for a minute and a half.
    pub async fn ended(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) {
            assert!(Instant::now() < deadline, "{} does not end", self.name);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where its health and metrics are.
    #[must_use]
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Redis, one gateway, some workers: all processes of their own.
#[derive(Debug)]
pub struct Stack {
    /// The bus.
    pub redis: RedisServer,
    /// Speech workers, named `stt-0`, `stt-1`, ...
    pub stt: Vec<Process>,
    /// Translation workers, named `mt-0`, ...
    pub mt: Vec<Process>,
    /// The gateway.
    pub gateway: Process,
    addr: SocketAddr,
}

impl Stack {
    /// Starts everything and waits until it is ready.
    ///
    /// # Panics
    /// When a part does not come up.
    pub async fn spawn(stt: usize, mt: usize) -> Self {
        // Bounded, as every Redis of ours is: how full it is would not be told otherwise.
        let redis = RedisServer::spawn_with(&["--maxmemory", "512mb"]).await;
        let url = redis.url();
        let addr = free_addr();
        let worker = |program: &str, name: String| Process::spawn(program, &name, &[("REDIS_URL", &url)]);
        let mut stt: Vec<_> = (0..stt).map(|i| worker("stt-worker", format!("stt-{i}"))).collect();
        let mut mt: Vec<_> = (0..mt).map(|i| worker("translation-worker", format!("mt-{i}"))).collect();
        let port = addr.port().to_string();
        let env = [("REDIS_URL", url.as_str()), ("ENABLE_AUTH", "false"), ("GATEWAY_PORT", &port)];
        let mut gateway = Process::spawn("gateway", "gateway", &env);
        for process in stt.iter_mut().chain(&mut mt).chain([&mut gateway]) {
            process.ready().await;
        }
        Self { redis, stt, mt, gateway, addr }
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/v1/stream", self.addr)
    }
}
