//! A Redis that fails over: a primary, a replica and three sentinels, as processes on free loopback ports.

use std::{
    fs::File,
    mem::swap,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{Client, Cmd, FromRedisValue, RedisResult, cmd};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{redis_server::RedisServer, stack::free_addr};

/// What the sentinels call the primary.
pub const PRIMARY_NAME: &str = "subtide";
/// Sentinels; two of them agree.
const SENTINELS: usize = 3;
/// Data that survives a restart, and a replica that is in step at once.
const DATA: &[&str] = &["--appendonly", "yes", "--repl-diskless-sync-delay", "0"];
/// For what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A primary, its replica and its sentinels; all are killed when this is dropped.
#[derive(Debug)]
pub struct Sentinels {
    primary: RedisServer,
    replica: RedisServer,
    sentinels: Vec<Sentinel>,
}

/// One sentinel. It rewrites its own configuration, in a directory of its own.
#[derive(Debug)]
struct Sentinel {
    port: u16,
    child: Child,
    _directory: TempDir,
}

impl Sentinels {
    /// Starts all five, and waits until each sentinel knows the others and the replica.
    ///
    /// # Panics
    /// When there is no `redis-server` on the `PATH`, or they do not find each other.
    pub async fn spawn() -> Self {
        let primary = RedisServer::spawn_with(DATA).await;
        let replica = RedisServer::spawn_with(&as_replica_of(&address(primary.port()))).await;
        until("a replica that is in step", async || in_step(replica.port()).await).await;
        let sentinels = (0..SENTINELS).map(|_| Sentinel::start(primary.port())).collect();
        let mut all = Self { primary, replica, sentinels };
        all.settled().await;
        all
    }

    /// `REDIS_URL` of who finds the primary by these sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{PRIMARY_NAME}", addresses.join(","))
    }

    /// The server that is the primary now.
    #[must_use]
    pub fn primary(&self) -> &RedisServer {
        &self.primary
    }

    /// The server that is the replica now.
    #[must_use]
    pub fn replica(&self) -> &RedisServer {
        &self.replica
    }

    /// Stops a sentinel (`SIGSTOP`): it takes connections, and never answers.
    ///
    /// # Panics
    /// When it cannot be told.
    pub fn hang_sentinel(&self, index: usize) {
        let id = self.sentinels[index].child.id().to_string();
        let stopped = Command::new("kill").args(["-STOP", &id]).status();
        assert!(stopped.is_ok_and(|status| status.success()), "kill -STOP of a sentinel failed");
    }

    /// Kills the primary (`SIGKILL`), waits until the sentinels have made a primary of the replica, and starts the old one
    /// again as its replica. Says how long there was no primary.
    ///
    /// # Panics
    /// When the sentinels do not do so within a minute.
    pub async fn fail_over(&mut self) -> Duration {
        let killed = Instant::now();
        self.primary.kill();
        let next = self.replica.port();
        until("a failover", async || self.named().await.contains(&Some(next)) && is_primary(next).await).await;
        let outage = killed.elapsed();
        swap(&mut self.primary, &mut self.replica);
        self.replica.restart_with(&as_replica_of(&address(next))).await;
        self.settled().await;
        outage
    }

    /// Stops the primary (`SIGSTOP`) until the sentinels have made a primary of the replica, and lets it go on then, as
    /// after a partition: connections to it were never closed, and it was not told yet. Says how long there was no primary.
    ///
    /// # Panics
    /// As [`Sentinels::fail_over`].
    pub async fn hang_over(&mut self) -> Duration {
        let stopped = Instant::now();
        self.primary.signal("STOP");
        let next = self.replica.port();
        let named = async || self.named().await.iter().all(|named| *named == Some(next));
        until("a failover", async || named().await && is_primary(next).await).await;
        let outage = stopped.elapsed();
        swap(&mut self.primary, &mut self.replica);
        self.replica.signal("CONT");
        outage
    }

    /// Waits until all agree on who is what, so that the next failover can be. On a machine that stands still for a second
    /// sentinels make a failover of their own: who they all name then is the primary.
    async fn settled(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while !self.agree().await {
            assert!(Instant::now() < give_up, "the sentinels do not agree: {:?}", self.named().await);
            if self.named().await.iter().all(|named| *named == Some(self.replica.port())) {
                eprintln!("the sentinels made a failover of their own to {}", self.replica.port());
                swap(&mut self.primary, &mut self.replica);
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether each sentinel knows the others and these two as what they are, and the replica is in step.
    async fn agree(&self) -> bool {
        for sentinel in &self.sentinels {
            if !sentinel.knows(self.primary.port(), self.replica.port()).await {
                return false;
            }
        }
        in_step(self.replica.port()).await
    }

    /// The port that each sentinel names.
    async fn named(&self) -> Vec<Option<u16>> {
        let mut named = Vec::new();
        for sentinel in &self.sentinels {
            let address: RedisResult<(String, u16)> =
                ask(sentinel.port, cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(PRIMARY_NAME)).await;
            named.push(address.ok().map(|(_, port)| port));
        }
        named
    }
}

impl Sentinel {
    fn start(primary: u16) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let port = free_addr().port();
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {PRIMARY_NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {PRIMARY_NAME} 1000\n\
             sentinel failover-timeout {PRIMARY_NAME} 3000\n",
            directory.path().display()
        );
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, settings).unwrap_or_else(|error| panic!("no file for a sentinel: {error}"));
        let log = File::create(directory.path().join("log")).unwrap_or_else(|error| panic!("no log file: {error}"));
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start a sentinel: {error}"));
        Self { port, child, _directory: directory }
    }

    /// Whether it knows these two as what they are, and all the other sentinels.
    async fn knows(&self, primary: u16, replica: u16) -> bool {
        type Rows = Vec<Vec<String>>;
        let of = |what: &str| {
            let mut command = cmd("SENTINEL");
            command.arg(what).arg(PRIMARY_NAME);
            command
        };
        let fields: RedisResult<Vec<String>> = ask(self.port, &of("MASTER")).await;
        let replicas: RedisResult<Rows> = ask(self.port, &of("REPLICAS")).await;
        let others: RedisResult<Rows> = ask(self.port, &of("SENTINELS")).await;
        let (Ok(fields), Ok(replicas), Ok(others)) = (fields, replicas, others) else { return false };
        let well = |row: &[String], port: u16, flags: &str| {
            value(row, "port") == Some(&port.to_string()) && value(row, "flags") == Some(flags)
        };
        let replica_is_up = replicas.iter().any(|row| well(row, replica, "slave"));
        well(&fields, primary, "master") && replica_is_up && others.len() == SENTINELS - 1
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What `--replicaof` takes.
fn address(port: u16) -> String {
    format!("127.0.0.1 {port}")
}

/// Arguments of a replica of the server at `address`.
fn as_replica_of(address: &str) -> Vec<&str> {
    DATA.iter().copied().chain(["--replicaof", address]).collect()
}

/// Of names and values that take turns, the value of `name`.
fn value<'a>(row: &'a [String], name: &str) -> Option<&'a str> {
    row.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].as_str())
}

/// Asks the server at `port`.
async fn ask<T: FromRedisValue>(port: u16, command: &Cmd) -> RedisResult<T> {
    let client = Client::open(format!("redis://127.0.0.1:{port}/"))?;
    command.query_async(&mut client.get_multiplexed_async_connection().await?).await
}

/// Whether the replica at `port` has all that its primary has.
async fn in_step(port: u16) -> bool {
    let info: RedisResult<String> = ask(port, cmd("INFO").arg("replication")).await;
    info.is_ok_and(|info| info.contains("role:slave") && info.contains("master_link_status:up"))
}

async fn is_primary(port: u16) -> bool {
    let info: RedisResult<String> = ask(port, cmd("INFO").arg("replication")).await;
    info.is_ok_and(|info| info.contains("role:master"))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < give_up, "{what} does not come");
        sleep(PAUSE).await;
    }
}
