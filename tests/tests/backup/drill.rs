//! The whole of it: people speak, a worker hangs with a job in hand, the backup is made, the disk is lost.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use identity::{Clock, IdentityConfig, People, ProviderIdentity};
use redis::{aio::MultiplexedConnection, cmd};
use shared::bus::MemoryBus;
use tests::{
    redis_server::{APPEND_ONLY, RedisServer},
    session::start,
    speech::{demo, pcm},
    stack::Process,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{Duration, IN_USE, Installation, PATIENCE, StatusCode, THERE, have, opens, queues};

const COUNTER: &str = "drill:counter";

/// Somebody who writes to Redis and to the database without a pause, and has Redis rewrite its file again and again.
struct Writer {
    stop: Arc<AtomicBool>,
    counted: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(mut redis: MultiplexedConnection, people: People) -> Self {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&counted));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let now: i64 = cmd("INCR").arg(COUNTER).query_async(&mut redis).await.unwrap();
                count.store(now, Ordering::Relaxed);
                if now % 50 == 0 {
                    // Refused while the last one still goes on.
                    cmd("BGREWRITEAOF").exec_async(&mut redis).await.ok();
                }
                people.sign_in(&somebody(), "drill", "192.0.2.7").await.unwrap();
                sleep(Duration::from_millis(10)).await;
            }
        });
        Self { stop, counted, task }
    }

    fn counted(&self) -> i64 {
        self.counted.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

fn somebody() -> ProviderIdentity {
    ProviderIdentity {
        issuer: "https://id.example".to_owned(),
        subject: "1".to_owned(),
        verified_email: Some("ana@example.com".to_owned()),
        name: Some("Ana".to_owned()),
    }
}

async fn people(installation: &Installation) -> People {
    let config = IdentityConfig::at(&installation.env[0].1);
    People::open(&config, Vec::new(), Arc::new(MemoryBus::default()), Clock::default()).await.unwrap()
}

/// Until jobs wait and one is in the hands of a worker that does nothing with it.
async fn until_jobs_wait(redis: &mut MultiplexedConnection, worker: &Process) {
    let deadline = Instant::now() + PATIENCE;
    let mut hangs = false;
    loop {
        let (lag, pending) = queues::depth(redis).await;
        if hangs && pending > 0 && lag > 1 {
            return;
        }
        if !hangs && pending > 0 {
            worker.signal("STOP");
            hangs = true;
            sleep(Duration::from_millis(100)).await;
            if queues::depth(redis).await.1 == 0 {
                worker.signal("CONT");
                hangs = false;
            }
        }
        assert!(Instant::now() < deadline, "no jobs wait: {lag} and {pending}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_while_it_runs_and_destroyed_comes_back_whole() {
    if !have(&["sqlite3", "redis-check-aof"]) {
        return;
    }
    let mut redis = RedisServer::spawn_with(APPEND_ONLY).await;
    let data = queues::directory(&redis).await;
    let installation = Installation::on_sqlite().with_redis(&data);
    let (mut gateway, address) = installation.gateway(&redis.url()).await;
    let key = installation.make_key();
    let ana = people(&installation).await.sign_in(&somebody(), "laptop", "192.0.2.7").await.unwrap().person;
    let mut worker = Process::spawn("stt-worker", "stt-0", &[("REDIS_URL", &redis.url())]);
    worker.ready().await;

    // Somebody speaks, and the worker hangs in the middle of a job.
    let (mut sender, receiver) =
        client::open(&format!("ws://{address}/v1/stream"), Some(&key), start(&[])).await.unwrap();
    let speaks = tokio::spawn(async move {
        for frame in pcm(&demo().0).chunks(3200) {
            sender.audio(frame.to_vec()).await.ok();
            sleep(Duration::from_millis(20)).await;
        }
        sender
    });
    let mut connection = queues::connect(&redis).await;
    until_jobs_wait(&mut connection, &worker).await;
    // As in a crash: what Redis holds of it changes no more, so that it can be compared.
    gateway.signal("STOP");
    let (groups, in_hand) = (queues::groups(&mut connection).await, queues::in_hand(&mut connection).await);
    let depth = queues::depth(&mut connection).await;
    let (keys, all) = (installation.admin("keys list"), queues::everything(&mut connection).await);
    let sign_ins = people(&installation).await.sign_ins_of(&ana.id).await.unwrap().len();

    let writer = Writer::start(queues::connect(&redis).await, people(&installation).await);
    while writer.counted() < 10 {
        sleep(Duration::from_millis(5)).await;
    }
    let before = writer.counted();
    queues::written(&mut connection).await;
    let backup = installation.backup(&[]);
    let after = writer.counted();
    // What is in use is not written to, whatever is asked.
    installation.restore(&backup, &["--replace"]).refused(IN_USE, "subtide.db is in use by process");
    installation.restore(&backup, &["--replace", "--only", "redis"]).refused(IN_USE, "stop Redis first");
    writer.stop().await;

    // Everything stops, and the disk is lost.
    gateway.kill();
    worker.kill();
    redis.kill();
    drop((connection, speaks.await, receiver));
    fs::remove_dir_all(data.join("appendonlydir")).unwrap();
    for (file, _) in installation.state() {
        fs::remove_file(installation.state.path().join(file)).unwrap();
    }

    installation.restore(&backup, &[]).worked();
    installation.restore(&backup, &[]).refused(THERE, "there is already: subtide.db auth-secret");
    redis.restart().await;
    let mut connection = queues::connect(&redis).await;
    assert_eq!(queues::groups(&mut connection).await, groups);
    assert_eq!(queues::depth(&mut connection).await, depth);
    assert_eq!(queues::in_hand(&mut connection).await, in_hand);
    assert_eq!(queues::everything(&mut connection).await, all);
    let counter: i64 = cmd("GET").arg(COUNTER).query_async(&mut connection).await.unwrap();
    assert!((before..=after).contains(&counter), "{counter} is not between {before} and {after}");
    assert_eq!(installation.admin("keys list"), keys);
    let kept = people(&installation).await.sign_ins_of(&ana.id).await.unwrap().len();
    assert!(kept > sign_ins, "{kept} sign-ins after {sign_ins}: the newest are missing");

    // It works: the key opens the door, and another worker does what the one that died had in hand and what waited.
    let (_gateway, address) = installation.gateway(&redis.url()).await;
    assert_eq!(opens(&key, &address).await, StatusCode::OK);
    assert_eq!(opens("stk_another", &address).await, StatusCode::UNAUTHORIZED);
    let mut worker = Process::spawn("stt-worker", "stt-1", &[("REDIS_URL", &redis.url())]);
    worker.ready().await;
    let deadline = Instant::now() + PATIENCE;
    while queues::depth(&mut connection).await != (0, 0) {
        assert!(Instant::now() < deadline, "the jobs of the backup are not done");
        sleep(Duration::from_millis(50)).await;
    }
}
