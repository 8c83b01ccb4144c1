//! A Redis that answers, and refuses: each refusal brought about on a server of the test.

use std::time::Duration;

use bytes::Bytes;
use redis::{Client, Cmd, aio::MultiplexedConnection, cmd};
use shared::bus::{Bus, BusError, Effects, Finished, Produce, Publish, RedisBus};
use tests::redis_server::{APPEND_ONLY, RedisServer};
use tokio::time::{Instant, sleep};

const JOBS: &str = "jobs";
const GROUP: &str = "workers";
const TTL: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_millis(100);

fn job(n: usize) -> Produce {
    Produce { stream: JOBS.into(), idempotency_key: n.to_string(), payload: payload(n), set: None }
}

fn payload(n: usize) -> Bytes {
    Bytes::from(format!("payload {n}"))
}

async fn connect(server: &RedisServer) -> RedisBus {
    RedisBus::connect(&server.url()).await.unwrap()
}

/// A plain connection, past the bus.
async fn direct(server: &RedisServer) -> MultiplexedConnection {
    Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn config(server: &RedisServer, key: &str, value: &str) {
    cmd("CONFIG").arg("SET").arg(key).arg(value).exec_async(&mut direct(server).await).await.unwrap();
}

/// The same, for a connection without an end of its patience.
async fn patiently(server: &RedisServer, command: &Cmd) {
    let client = Client::open(server.url()).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    // It may be killed.
    command.exec_async(&mut connection).await.ok();
}

/// Tries until it works, as every service does.
async fn until_it_works<T>(mut attempt: impl AsyncFnMut() -> Result<T, BusError>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if error.retryable() && Instant::now() < give_up => sleep(A_WHILE).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until a server says so of its persistence.
async fn until_info(direct: &mut MultiplexedConnection, wanted: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let info: String = cmd("INFO").arg("persistence").query_async(direct).await.unwrap();
        if info.contains(wanted) {
            return;
        }
        assert!(Instant::now() < give_up, "{info}");
        sleep(A_WHILE).await;
    }
}

/// A refusal that passes: says `word`, and that trying again helps.
fn assert_passes(error: &BusError, word: &str) {
    assert!(error.retryable() && error.to_string().contains(word), "{error:?} does not say `{word}`");
}

#[tokio::test]
async fn loading() {
    let mut server = RedisServer::spawn_with(APPEND_ONLY).await;
    let bus = connect(&server).await;
    for n in 0..300 {
        bus.produce(job(n)).await.unwrap();
    }
    // Into a snapshot, for Redis answers more often while it loads one.
    let mut direct = direct(&server).await;
    cmd("BGREWRITEAOF").exec_async(&mut direct).await.unwrap();
    until_info(&mut direct, "aof_rewrite_in_progress:0").await;
    let slowly =
        [APPEND_ONLY, &["--loading-process-events-interval-bytes", "1024", "--key-load-delay", "10000"]].concat();
    server.begin_restart(&slowly);
    let give_up = Instant::now() + PATIENCE;
    loop {
        match bus.produce(job(300)).await {
            Err(error) if error.to_string().contains("loading") => {
                assert_passes(&error, "still loading");
                break;
            }
            Err(error) => assert!(error.retryable() && Instant::now() < give_up, "{error}"),
            Ok(_) => panic!("it was not seen loading"),
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(until_it_works(async || bus.produce(job(300)).await).await.is_some());
    assert!(until_it_works(async || bus.produce(job(299)).await).await.is_none(), "what was there is there");
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_and_a_primary_again() {
    let (server, other) = (RedisServer::spawn().await, RedisServer::spawn().await);
    let bus = connect(&server).await;
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    let blocked = tokio::spawn(async move {
        let read = reader.next(1, PATIENCE).await;
        (reader, read)
    });
    sleep(A_WHILE).await;
    let port = other.port().to_string();
    cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec_async(&mut direct(&server).await).await.unwrap();
    let (mut reader, read) = blocked.await.unwrap();
    assert!(read.unwrap_err().retryable(), "a blocked reader hears of it at once");
    assert_passes(&bus.produce(job(0)).await.unwrap_err(), "replica");
    cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut direct(&server).await).await.unwrap();
    until_it_works(async || bus.produce(job(0)).await).await;
    let jobs = until_it_works(async || reader.next(1, PATIENCE).await).await;
    assert_eq!(jobs[0].payload, payload(0));
}

#[tokio::test]
async fn too_few_replicas() {
    let server = RedisServer::spawn().await;
    let bus = connect(&server).await;
    bus.produce(job(0)).await.unwrap();
    config(&server, "min-replicas-to-write", "1").await;
    assert_passes(&bus.produce(job(1)).await.unwrap_err(), "NOREPLICAS");
    bus.get("key").await.unwrap();
    config(&server, "min-replicas-to-write", "0").await;
    assert!(bus.produce(job(1)).await.unwrap().is_some(), "the refused produce left no key behind");
}

#[tokio::test]
async fn a_disk_that_takes_nothing() {
    let server = RedisServer::spawn_with(&["--enable-protected-configs", "yes"]).await;
    let bus = connect(&server).await;
    let gone = tempfile::tempdir().unwrap();
    config(&server, "dir", &gone.path().display().to_string()).await;
    config(&server, "save", "3600 1000000").await;
    gone.close().unwrap();
    let mut direct = direct(&server).await;
    cmd("BGSAVE").exec_async(&mut direct).await.unwrap();
    until_info(&mut direct, "rdb_last_bgsave_status:err").await;
    assert_passes(&bus.produce(job(0)).await.unwrap_err(), "disk");
    config(&server, "stop-writes-on-bgsave-error", "no").await;
    assert!(bus.produce(job(0)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_script_that_does_not_end() {
    let server = RedisServer::spawn_with(&["--busy-reply-threshold", "10"]).await;
    let bus = connect(&server).await;
    let mut killer = direct(&server).await;
    let mut endless = cmd("EVAL");
    endless.arg("while true do end").arg(0);
    let ((), error) = tokio::join!(patiently(&server, &endless), async {
        let give_up = Instant::now() + PATIENCE;
        let error = loop {
            match bus.produce(job(0)).await {
                Err(error) if error.to_string().contains("BUSY") => break error,
                Err(error) => assert!(error.retryable(), "{error}"),
                Ok(_) => sleep(Duration::from_millis(5)).await,
            }
            assert!(Instant::now() < give_up);
        };
        cmd("SCRIPT").arg("KILL").exec_async(&mut killer).await.unwrap();
        error
    });
    assert_passes(&error, "BUSY");
    until_it_works(async || bus.produce(job(1)).await).await;
}

#[tokio::test]
async fn as_many_clients_as_it_takes() {
    let server = RedisServer::spawn().await;
    config(&server, "maxclients", "1").await;
    let first = until_it_works(async || RedisBus::connect(&server.url()).await).await;
    let error = RedisBus::connect(&server.url()).await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }), "a slot may become free: {error:?}");
    drop(first);
    until_it_works(async || RedisBus::connect(&server.url()).await).await;
}

#[tokio::test]
async fn everything_forgotten_groups_and_scripts_too() {
    let server = RedisServer::spawn().await;
    let bus = connect(&server).await;
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    bus.produce(job(0)).await.unwrap();
    let held = reader.next(1, PATIENCE).await.unwrap().remove(0);
    let mut direct = direct(&server).await;
    let blocked = tokio::spawn(async move { (reader.next(1, PATIENCE).await.unwrap(), reader) });
    sleep(A_WHILE).await;
    cmd("FLUSHALL").exec_async(&mut direct).await.unwrap();
    cmd("SCRIPT").arg("FLUSH").exec_async(&mut direct).await.unwrap();
    bus.produce(job(1)).await.unwrap();
    let (jobs, _reader) = blocked.await.unwrap();
    assert_eq!(jobs[0].payload, payload(1), "the group is there again");
    bus.renew_lease(JOBS, GROUP, "a", &[held.id]).await.unwrap();
    assert_eq!(bus.finish(&held, Effects::default()).await.unwrap(), Finished::LeaseLost);
}

#[tokio::test]
async fn full_takes_nothing_in_but_lets_readers_and_finishers_go_on() {
    let server = RedisServer::spawn().await;
    let bus = connect(&server).await;
    assert_eq!(bus.usage().await.unwrap().unwrap().share(), None, "no limit, no share");
    for n in 0..3 {
        bus.produce(job(n)).await.unwrap();
    }
    bus.route("events:s", "mailbox:g", TTL).await.unwrap();
    let mut mailbox = bus.mailbox("mailbox:g").await.unwrap();
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    config(&server, "maxmemory", "1000").await;
    assert!(bus.usage().await.unwrap().unwrap().share().unwrap() > 1.0);
    assert!(matches!(bus.produce(job(3)).await, Err(BusError::OutOfMemory)));
    // What was taken in is read, finished and told to the client, though there is no room.
    for job in reader.next(10, PATIENCE).await.unwrap() {
        let publish = vec![Publish { stream: "events:s".into(), payload: job.payload.clone(), ttl: TTL }];
        let effects = Effects { publish, ..Effects::default() };
        assert_eq!(bus.finish(&job, effects).await.unwrap(), Finished::Done);
    }
    // Somebody who starts now can do so too: else a full Redis would stay full.
    let mut late = bus.group_reader(JOBS, GROUP, "b").await.unwrap();
    assert!(late.next(1, A_WHILE).await.unwrap().is_empty());
    let mut told = 0;
    while told < 3 {
        told += mailbox.next(PATIENCE).await.unwrap().len();
    }
    bus.trim_acknowledged(JOBS).await.unwrap();
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap().pending, 0);
}
