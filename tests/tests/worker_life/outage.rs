//! A Redis that comes and goes.

use std::time::Duration;

use shared::{
    bus::{Bus as _, Depth, RedisBus},
    jobs::{LEASE, MAX_DELIVERIES},
};
use tests::{
    figure::figure,
    redis_server::{APPEND_ONLY, RedisServer},
};
use tokio::time::{Instant, sleep};

use super::held::{GROUP, STREAM, go, produce, until, worker};

const JOBS: u32 = 4;

/// Two workers with jobs in hand while Redis is killed and comes back `times` times. Each time it is away for longer than
/// a lease, so that without care every outage would count against every job.
async fn flap(times: u32) {
    let mut redis = RedisServer::spawn_with(APPEND_ONLY).await;
    let (a, stop_a) = worker(&redis.url(), "a", Duration::ZERO).await;
    let (b, stop_b) = worker(&redis.url(), "b", Duration::ZERO).await;
    let bus = RedisBus::connect(&redis.url()).await.unwrap();
    produce(&bus, JOBS).await;
    until(|| a.begun() + b.begun() == JOBS).await;
    // Long enough to be on disk before the first kill.
    sleep(Duration::from_millis(1500)).await;
    for _ in 0..times {
        redis.kill();
        until(|| !a.is_ready() && !b.is_ready()).await;
        sleep(LEASE + Duration::from_millis(300)).await;
        redis.restart().await;
        until(|| a.is_ready() && b.is_ready()).await;
        // Time enough to look for the jobs of silent workers, which all of them have been.
        sleep(Duration::from_millis(1500)).await;
    }
    let (begun, let_go) = (a.begun() + b.begun(), Instant::now());
    go(&bus).await;
    until(|| a.done() + b.done() + a.given_up() + b.given_up() == JOBS).await;
    figure("outage_resumed_seconds", let_go.elapsed().as_secs_f64());
    figure("outage_given_up", f64::from(a.given_up() + b.given_up()));
    let most = a.most_deliveries().max(b.most_deliveries());
    figure("outage_most_deliveries", f64::from(most));
    assert!(begun > JOBS, "they were not hurt by it, so nothing was tested");
    assert_eq!((a.done() + b.done(), a.given_up() + b.given_up()), (JOBS, 0));
    assert!(most < MAX_DELIVERIES, "{most}: outages were counted as deliveries");
    assert_eq!(bus.depth(STREAM, GROUP).await.unwrap(), Depth::default());
    stop_a.cancel();
    stop_b.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_flaps_costs_no_job_its_deliveries() {
    flap(4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 2 minutes; cargo xtask prove faults runs it"]
async fn a_redis_that_flaps_for_a_minute_turns_no_good_job_into_a_gap() {
    flap(12).await;
}
