//! A Redis that is away, or hangs: nobody waits for it again and again, and nobody storms it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use shared::bus::{Bus, BusError, GroupReader, MailboxReader, RedisBus};
use tests::redis_server::RedisServer;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

const PATIENCE: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_millis(100);

/// Counts who comes, and leads them to Redis, or while the door is shut sends everybody away.
async fn doorman(listener: TcpListener, redis: u16, mut open: watch::Receiver<bool>, came: Arc<AtomicU32>) {
    let mut inside = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut guest, _) = accepted.unwrap();
                came.fetch_add(1, Ordering::Relaxed);
                if *open.borrow() {
                    inside.spawn(async move {
                        let mut redis = TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
                        // Ends when one of them does, or when the door is shut.
                        copy_bidirectional(&mut guest, &mut redis).await.ok();
                    });
                }
            }
            changed = open.changed() => {
                changed.unwrap();
                if !*open.borrow_and_update() {
                    inside.shutdown().await;
                }
            }
        }
    }
}

async fn until_it_answers(bus: &RedisBus) {
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = bus.ping().await {
        assert!(error.retryable() && Instant::now() < give_up, "{error}");
        sleep(A_WHILE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_without_a_pause_makes_a_few_connections_a_second() {
    let server = RedisServer::spawn().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let came = Arc::new(AtomicU32::new(0));
    let (door, open) = watch::channel(true);
    let doorman = tokio::spawn(doorman(listener, server.port(), open, Arc::clone(&came)));
    let bus = RedisBus::connect(&url).await.unwrap();
    let mut group: Box<dyn GroupReader> = bus.group_reader("jobs", "workers", "a").await.unwrap();
    let mut mailbox: Box<dyn MailboxReader> = bus.mailbox("mailbox:g").await.unwrap();
    door.send(false).unwrap();
    while bus.ping().await.is_ok() {}
    came.store(0, Ordering::Relaxed);
    let mut asking = JoinSet::new();
    let begin = Instant::now();
    let over = begin + Duration::from_secs(4);
    // As impatient as can be: each asks again as soon as it is refused.
    for _ in 0..16 {
        let bus = bus.clone();
        asking.spawn(async move {
            while Instant::now() < over {
                assert!(matches!(bus.ping().await, Err(BusError::Unreachable { .. })));
                tokio::task::yield_now().await;
            }
        });
    }
    asking.spawn(async move {
        while Instant::now() < over {
            assert!(group.next(1, A_WHILE).await.unwrap_err().retryable());
            tokio::task::yield_now().await;
        }
    });
    asking.spawn(async move {
        while Instant::now() < over {
            match mailbox.next(A_WHILE).await {
                Ok(mails) => assert!(mails.is_empty()),
                Err(error) => assert!(error.retryable(), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    });
    asking.join_all().await;
    let seconds = begin.elapsed().as_secs_f64();
    let a_second = f64::from(came.load(Ordering::Relaxed)) / seconds;
    // Two a second are expected of all together, and a little more in the first second.
    assert!(a_second <= 6.0, "{a_second:.1} connections a second");
    assert!(came.load(Ordering::Relaxed) > 0, "nobody tries any more");
    door.send(true).unwrap();
    until_it_answers(&bus).await;
    doorman.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_waited_for_by_one_not_by_all() {
    let server = RedisServer::spawn().await;
    let bus = RedisBus::connect(&server.url()).await.unwrap();
    server.signal("STOP");
    // The first find it out.
    while bus.ping().await.is_ok() {}
    let begin = Instant::now();
    let mut refused = 0;
    for _ in 0..200 {
        let error = bus.ping().await.unwrap_err();
        assert!(error.retryable(), "{error}");
        refused += 1;
    }
    // One after another, each tried three times with a patience of seconds, they would take a quarter of an hour.
    assert!(begin.elapsed() < PATIENCE, "{refused} took {:?}", begin.elapsed());
    server.signal("CONT");
    until_it_answers(&bus).await;
}
