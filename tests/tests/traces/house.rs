//! The three roles as processes whose logs are kept.

use std::{
    fs::{File, read_to_string},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use shared::health::probe;
use tempfile::TempDir;
use tests::{
    redis_server::RedisServer,
    stack::{command, free_addr},
};
use tokio::time::{Instant, sleep};

/// Loading a model on a busy machine takes seconds; so long means that it never comes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program, running; killed when dropped.
pub(crate) struct Role {
    pub(crate) name: String,
    child: Child,
    health: SocketAddr,
    directory: TempDir,
}

impl Role {
    /// Starts `program`, with its arguments behind it.
    pub(crate) fn spawn(program: &str, env: &[(&str, &str)]) -> Self {
        let (directory, health) = (tempfile::tempdir().unwrap(), free_addr());
        let mut words = program.split(' ');
        let mut command = command(words.next().unwrap());
        command.args(words).env("HEALTH_PORT", health.port().to_string()).envs(env.iter().copied());
        let log = File::create(directory.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { name: program.to_owned(), child, health, directory }
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) async fn ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !probe(self.health).await.unwrap_or(false) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{} is not ready:\n{}", self.name, self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Tells it to stop (SIGTERM), and waits until it has.
    pub(crate) async fn end(&mut self) {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.name, self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Redis, a gateway and a worker of each kind.
pub(crate) struct House {
    redis: RedisServer,
    roles: Vec<Role>,
    client: SocketAddr,
}

impl House {
    /// All of them with `env`, and JSON in their logs.
    pub(crate) async fn spawn(env: &[(&str, &str)]) -> Self {
        let (redis, client) = (RedisServer::spawn().await, free_addr());
        let (url, port) = (redis.url(), client.port().to_string());
        let own =
            [("REDIS_URL", url.as_str()), ("GATEWAY_PORT", &port), ("ENABLE_AUTH", "false"), ("LOG_FORMAT", "json")];
        let env = [&own[..], env].concat();
        let mut roles = ["gateway", "stt-worker", "translation-worker"].map(|role| Role::spawn(role, &env));
        for role in &mut roles {
            role.ready().await;
        }
        Self { redis, roles: roles.into(), client }
    }

    /// One more gateway; where clients connect to it.
    pub(crate) async fn second_gateway(&mut self, env: &[(&str, &str)]) -> String {
        let (url, client) = (self.redis.url(), free_addr());
        let port = client.port().to_string();
        let own = [("REDIS_URL", url.as_str()), ("GATEWAY_PORT", &port), ("ENABLE_AUTH", "false")];
        let mut gateway = Role::spawn("gateway", &[&own[..], env].concat());
        gateway.ready().await;
        self.roles.insert(1, gateway);
        format!("ws://{client}/v1/stream")
    }

    /// Ends the first gateway as a crash would (SIGKILL).
    pub(crate) fn kill_first_gateway(&mut self) {
        drop(self.roles.remove(0));
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/stream", self.client)
    }

    pub(crate) fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// Ends all of them, the gateway first.
    pub(crate) async fn end(&mut self) {
        for role in &mut self.roles {
            role.end().await;
        }
    }
}
