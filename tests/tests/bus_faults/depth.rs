//! How long a queue is, after Redis forgot how much of it was read.

use std::time::Duration;

use bytes::Bytes;
use redis::{Client, InfoDict, aio::MultiplexedConnection, cmd, streams::StreamInfoGroupsReply};
use shared::bus::{Bus, Effects, Finished, GroupReader, Produce, RedisBus};
use tests::redis_server::{APPEND_ONLY, RedisServer};
use tokio::time::sleep;

const JOBS: &str = "jobs";
const GROUP: &str = "workers";
const PAUSE: Duration = Duration::from_millis(20);

async fn produce(bus: &RedisBus, jobs: std::ops::Range<u32>) {
    for n in jobs {
        let (idempotency_key, payload) = (format!("job{n}"), Bytes::from_static(b"{}"));
        bus.produce(Produce { stream: JOBS.into(), idempotency_key, payload, set: None }).await.unwrap().unwrap();
    }
}

async fn finish(bus: &RedisBus, reader: &mut dyn GroupReader, count: usize) {
    let jobs = reader.next(count, Duration::from_secs(5)).await.unwrap();
    assert_eq!(jobs.len(), count);
    for job in jobs {
        assert_eq!(bus.finish(&job, Effects::default()).await.unwrap(), Finished::Done);
    }
    bus.trim_acknowledged(JOBS).await.unwrap();
}

/// What Redis tells whoever asks it, such as a scaler.
async fn lag_of_redis(redis: &mut MultiplexedConnection) -> Option<usize> {
    let groups: StreamInfoGroupsReply = cmd("XINFO").arg("GROUPS").arg(JOBS).query_async(redis).await.unwrap();
    groups.groups[0].lag
}

async fn connection(server: &RedisServer) -> MultiplexedConnection {
    Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_as_long_as_it_is_though_redis_forgot_what_was_read() {
    let mut server = RedisServer::spawn_with(APPEND_ONLY).await;
    let bus = RedisBus::connect(&server.url()).await.unwrap();
    let mut reader = bus.group_reader(JOBS, GROUP, "w").await.unwrap();
    produce(&bus, 0..10).await;
    finish(&bus, &mut *reader, 10).await;
    // What was read until then is written down; how much was read after it is not.
    let mut redis = connection(&server).await;
    cmd("BGREWRITEAOF").exec_async(&mut redis).await.unwrap();
    loop {
        let about: InfoDict = cmd("INFO").arg("persistence").query_async(&mut redis).await.unwrap();
        let get = |name: &str| about.get::<u32>(name).unwrap_or(1);
        if get("aof_rewrite_in_progress") + get("aof_rewrite_scheduled") == 0 {
            break;
        }
        sleep(PAUSE).await;
    }
    produce(&bus, 10..40).await;
    finish(&bus, &mut *reader, 30).await;
    drop(reader);
    server.restart().await;

    let mut redis = connection(&server).await;
    let bus = RedisBus::connect(&server.url()).await.unwrap();
    let told = lag_of_redis(&mut redis).await;
    if told == Some(0) {
        eprintln!("this Redis remembers what was read; there is nothing to mend");
    }
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap().lag, 0, "Redis says {told:?}");
    produce(&bus, 40..43).await;
    sleep(PAUSE).await;
    let depth = bus.depth(JOBS, GROUP).await.unwrap();
    assert_eq!(depth.lag, 3);
    assert!(depth.waiting > Duration::ZERO);
    bus.trim_acknowledged(JOBS).await.unwrap();
    assert_eq!(lag_of_redis(&mut redis).await, Some(3), "and whoever else asks is told so, too");
    let mut reader = bus.group_reader(JOBS, GROUP, "w").await.unwrap();
    finish(&bus, &mut *reader, 3).await;
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap().lag, 0);
    assert_eq!(lag_of_redis(&mut redis).await, Some(0));
}
