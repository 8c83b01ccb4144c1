//! What only a server can do: refuse, die, come back, be full, want a password.

use ::redis::{Client, aio::MultiplexedConnection, cmd};
use shared::{
    bus::BusError,
    jobs::{AUDIO_JOBS, STT_GROUP},
};
use tests::{redis_server::APPEND_ONLY, stack::repository};

use super::*;

async fn connect(server: &RedisServer) -> RedisBus {
    RedisBus::connect(&server.url()).await.unwrap()
}

/// A plain connection, past the bus.
async fn direct(server: &RedisServer) -> MultiplexedConnection {
    Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Tries again until it works, as a service does.
async fn until_it_works<T>(mut attempt: impl AsyncFnMut() -> Result<T, BusError>) -> T {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if error.retryable() && tokio::time::Instant::now() < give_up => sleep(A_WHILE).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_refused_connection_names_the_server_but_no_password() {
    let mut server = RedisServer::spawn().await;
    server.kill();
    let url = format!("redis://user:hunter2@127.0.0.1:{}/", server.port());
    let error = RedisBus::connect(&url).await.unwrap_err();
    assert!(error.retryable());
    let shown = format!("{error} {error:?}");
    assert!(shown.contains(&format!("redis://127.0.0.1:{}/", server.port())), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_said_without_its_password() {
    for url in ["http://user:hunter2@host/", "redis://user:hunter2@host:port/", "redis://:hunter2", "hunter2"] {
        let error = RedisBus::connect(url).await.unwrap_err();
        assert!(matches!(error, BusError::Url { .. }) && !error.retryable(), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_an_error_where_tls_is_asked_for() {
    let server = RedisServer::spawn().await;
    let error = RedisBus::connect(&server.url().replace("redis:", "rediss:")).await.unwrap_err();
    assert!(matches!(error, BusError::Unreachable { .. }) && error.to_string().contains("rediss://"), "{error:?}");
}

#[tokio::test]
async fn a_password_lets_in_and_is_shown_nowhere() {
    let server = RedisServer::spawn_with(&["--requirepass", "hunter2"]).await;
    let with = |password: &str| format!("redis://{password}127.0.0.1:{}/", server.port());
    for wrong in [":hunter3@", ""] {
        let error = RedisBus::connect(&with(wrong)).await.unwrap_err();
        assert!(matches!(error, BusError::Url { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter3"));
    }
    let bus = RedisBus::connect(&with(":hunter2@")).await.unwrap();
    let reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    let mailbox = bus.mailbox("box").await.unwrap();
    let shown = format!("{bus:?} {reader:?} {mailbox:?}");
    assert!(shown.contains(&with("")) && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn nothing_is_lost_when_redis_is_killed_and_comes_back() {
    let mut server = RedisServer::spawn_with(APPEND_ONLY).await;
    let bus = connect(&server).await;
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    let mut mailbox = bus.mailbox("box").await.unwrap();
    bus.route("events", "box", TTL).await.unwrap();
    produce(&bus, 0..2).await;
    let held = reader.next(1, PATIENCE).await.unwrap().remove(0);
    for _ in 0..2 {
        // A blocked read of the mailbox, and a read of a job that may or may not reach us.
        until_it_works(async || mailbox.next(A_WHILE).await).await;
        let reading = tokio::spawn(async move {
            drop(reader.next(1, NO_WAIT).await);
            reader
        });
        server.kill();
        reader = reading.await.unwrap();
        assert!(matches!(bus.ping().await, Err(BusError::Unreachable { .. })));
        assert!(matches!(reader.next(1, NO_WAIT).await, Err(BusError::Unreachable { .. })));
        assert!(until_error(&mut *mailbox).await.retryable());
        server.restart().await;
        until_it_works(async || bus.ping().await).await;
        assert!(until_it_works(async || bus.produce(job(0)).await).await.is_none(), "the key is remembered");
    }
    let rest = until_it_works(async || reader.next(5, A_WHILE).await).await;
    let taken_over = bus.reclaim(JOBS, GROUP, "b", NO_WAIT, 5).await.unwrap().deliveries;
    // Job 1 went to the read that the kill may have cut off, or is read only now: either way it is there.
    let mut found: Vec<Bytes> = rest.iter().chain(&taken_over).map(|job| job.payload.clone()).collect();
    found.sort();
    found.dedup();
    assert_eq!(found, [payload(0), payload(1)]);
    let effects = Effects { publish: vec![event("events", 9)], ..Effects::default() };
    assert_eq!(bus.finish(&held, effects).await.unwrap(), Finished::Done);
    assert_eq!(until_it_works(async || mailbox.next(PATIENCE).await).await[0].payload, payload(9));
}

async fn until_error(mailbox: &mut dyn MailboxReader) -> BusError {
    loop {
        match mailbox.next(PATIENCE).await {
            Ok(mails) => assert!(mails.is_empty()),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn readers_go_on_after_a_redis_that_forgot_everything() {
    let mut server = RedisServer::spawn().await;
    let bus = connect(&server).await;
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    produce(&bus, 0..1).await;
    server.restart().await;
    until_it_works(async || bus.produce(job(1)).await).await;
    let jobs = until_it_works(async || reader.next(5, PATIENCE).await).await;
    assert_eq!(jobs.iter().map(|job| job.payload.clone()).collect::<Vec<_>>(), [payload(1)]);
}

#[tokio::test]
async fn a_job_that_was_deleted_is_reported_lost() {
    let server = RedisServer::spawn().await;
    let bus = connect(&server).await;
    produce(&bus, 0..3).await;
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    let jobs = reader.next(2, PATIENCE).await.unwrap();
    let ids = bus.range(JOBS, jobs[1].id, LAST, 1).await.unwrap();
    let mut direct = direct(&server).await;
    for id in [jobs[0].id, ids[0].id] {
        cmd("XDEL").arg(JOBS).arg(id.to_string()).exec_async(&mut direct).await.unwrap();
    }
    let depth = bus.depth(JOBS, GROUP).await.unwrap();
    assert_eq!((depth.lag, depth.pending), (0, 2), "a lag that Redis does not know is counted");
    let reclaimed = bus.reclaim(JOBS, GROUP, "b", NO_WAIT, 5).await.unwrap();
    assert_eq!(reclaimed.lost, [jobs[0].id]);
    assert_eq!(reclaimed.deliveries.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[1].id]);
}

#[tokio::test]
async fn a_full_redis_takes_no_job_but_lets_accepted_work_finish() {
    let server = RedisServer::spawn().await;
    let bus = connect(&server).await;
    produce(&bus, 0..1).await;
    let leased = lease(&bus, "a").await;
    let mut direct = direct(&server).await;
    cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").exec_async(&mut direct).await.unwrap();
    assert!(matches!(bus.produce(job(1)).await, Err(BusError::OutOfMemory)));
    assert!(matches!(bus.append("audio", payload(0), TTL).await, Err(BusError::OutOfMemory)));
    let effects = Effects { publish: vec![event("events", 0)], ..Effects::default() };
    assert_eq!(bus.finish(&leased, effects).await.unwrap(), Finished::Done);
    cmd("CONFIG").arg("SET").arg("maxmemory").arg("0").exec_async(&mut direct).await.unwrap();
    assert_eq!(payloads(&bus, "events").await, [payload(0)]);
    assert!(bus.produce(job(1)).await.unwrap().is_some(), "the refused produce left no key behind");
}

#[tokio::test]
async fn a_gateway_may_take_old_jobs_out_of_the_queue_even_of_a_full_redis() {
    let server = RedisServer::spawn().await;
    let mut direct = direct(&server).await;
    let users = std::fs::read_to_string(repository().join("infra/redis/users.acl")).unwrap();
    let rights = users.lines().find_map(|line| line.strip_prefix("user gateway ")).unwrap();
    let rights = rights.replace("#{gateway}", ">password");
    cmd("ACL")
        .arg("SETUSER")
        .arg("gateway")
        .arg(rights.split(' ').collect::<Vec<_>>())
        .exec_async(&mut direct)
        .await
        .unwrap();
    let url = server.url().replace("://", "://gateway:password@");
    let gateway = RedisBus::connect(&url).await.unwrap();
    drop(connect(&server).await.group_reader(AUDIO_JOBS, STT_GROUP, "a").await.unwrap());
    for n in 0..3 {
        gateway.produce(Produce { stream: AUDIO_JOBS.to_owned(), ..job(n) }).await.unwrap();
    }
    cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").exec_async(&mut direct).await.unwrap();
    assert_eq!(gateway.expire(AUDIO_JOBS, STT_GROUP, Duration::ZERO).await.unwrap(), 3);
    assert_eq!(gateway.trim_acknowledged(AUDIO_JOBS).await.unwrap(), 3);
}

#[tokio::test]
async fn a_read_that_was_given_up_takes_no_later_job() {
    let server = RedisServer::spawn().await;
    let bus = connect(&server).await;
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    assert!(tokio::time::timeout(A_WHILE, reader.next(1, PATIENCE)).await.is_err());
    let mut direct = direct(&server).await;
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let clients: String = cmd("CLIENT").arg("LIST").query_async(&mut direct).await.unwrap();
        if !clients.contains("cmd=xreadgroup") {
            break;
        }
        assert!(tokio::time::Instant::now() < give_up, "the abandoned read is still parked in Redis");
        sleep(Duration::from_millis(10)).await;
    }
    produce(&bus, 0..1).await;
    assert_eq!(reader.next(1, PATIENCE).await.unwrap()[0].payload, payload(0));
}

#[tokio::test]
async fn a_command_tried_again_because_its_reply_was_late_happens_once() {
    let server = RedisServer::spawn_with(&["--enable-debug-command", "yes"]).await;
    let bus = connect(&server).await;
    bus.append("audio", payload(0), TTL).await.unwrap();
    for n in 1..3 {
        // Longer than the bus waits for a reply: the command is in the server's socket when the next attempt is made.
        let mut direct = direct(&server).await;
        let stall = tokio::spawn(async move { cmd("DEBUG").arg("SLEEP").arg(2.5).exec_async(&mut direct).await });
        sleep(A_WHILE).await;
        let (appended, produced) = tokio::join!(bus.append("audio", payload(n), TTL), bus.produce(job(n)));
        let newest = bus.range("audio", EntryId::START, LAST, 10).await.unwrap().pop().unwrap();
        assert_eq!((newest.id, newest.payload), (appended.unwrap(), payload(n)));
        produced.unwrap();
        drop(stall.await);
    }
    assert_eq!(payloads(&bus, "audio").await, [0, 1, 2].map(payload));
    assert_eq!(payloads(&bus, JOBS).await, [1, 2].map(payload));
}
