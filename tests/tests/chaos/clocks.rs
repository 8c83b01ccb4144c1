//! Clocks that are set while somebody speaks: Redis's, by which entries are named and leases are counted, and everybody else's.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tests::{
    chaos::town::{Shape, Town},
    redis_server::RedisServer,
    stack::free_addr,
};
use tokio::time::sleep;

use super::{
    crowd::{Crowd, Manner},
    kills::nothing_lost,
};

/// The library of Debian's package `faketime`.
fn library() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH)
}

/// What a process must be told so that its wall clock, and no other, is what the file says.
fn settings(file: &Path) -> Vec<(String, String)> {
    let library = library();
    let pairs = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Whether clocks can be set here; says so where not.
fn can_be_set() -> bool {
    let there = Path::new(&library()).is_file();
    assert!(there || std::env::var_os("CI").is_none(), "{} is not here", library());
    if !there {
        eprintln!("skipped: clocks cannot be set here; install Debian's package `faketime`");
    }
    there
}

/// A `redis-server` with a clock of its own.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn spawn(directory: &Path, clock: &Path) -> Self {
        let port = free_addr().port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]).arg(directory);
        command.envs(settings(clock)).stdin(Stdio::null()).stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), port }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_set_cost_nobody_a_word() {
    if !can_be_set() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (of_redis, of_others) = (directory.path().join("redis-clock"), directory.path().join("clock"));
    for clock in [&of_redis, &of_others] {
        fs::write(clock, "+0").unwrap();
    }
    let redis = Redis::spawn(directory.path(), &of_redis);
    sleep(Duration::from_millis(500)).await;
    let redis_url = Some(format!("redis://127.0.0.1:{}/", redis.port));
    let shape = Shape { redis_url, env: settings(&of_others), ..Shape::default() };
    // The town's own Redis stands idle.
    let town = Town::beside(RedisServer::spawn().await, &shape).await;
    let manner = Manner { seed: 14, sessions: 4, utterances: 11, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    // Forth by more than a lease, back by more than that; an hour for those who do not count leases.
    for (clock, offset) in
        [(&of_redis, "+5"), (&of_others, "+3600"), (&of_redis, "-20"), (&of_others, "-3600"), (&of_redis, "+0")]
    {
        sleep(Duration::from_secs(2)).await;
        fs::write(clock, offset).unwrap();
    }
    let outcome = crowd.hear().await;
    nothing_lost(&outcome, 0);
    assert_eq!(outcome.broken(), 0);
}
