//! A worker that is told to stop.

use std::time::Duration;

use shared::{
    bus::{Bus as _, Depth, RedisBus},
    health::probe,
    jobs::{AUDIO_JOBS, STT_GROUP},
};
use tests::{
    figure::figure,
    redis_server::RedisServer,
    stack::{Process, command, free_addr},
};
use tokio::time::{Instant, sleep};

use super::{
    held::{GROUP, STREAM, go, produce, until, worker},
    speech::{PATIENCE, Speaker},
    starting::signal,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_to_stop_finishes_what_it_has_and_leaves_the_group() {
    const UTTERANCES: u32 = 8;
    const NAME: &str = "leaves";
    let speaker = Speaker::new(RedisServer::spawn().await).await;
    let health = free_addr();
    let mut leaves = command("stt-worker");
    leaves.env("REDIS_URL", speaker.redis.url()).env("WORKER_NAME", NAME).env("HEALTH_PORT", health.port().to_string());
    // Two in hand at most: a slow machine, too, does them within the drain deadline.
    leaves.env("STT_MAX_BATCH", "1");
    let mut leaves = leaves.spawn().unwrap();
    while !probe(health).await.unwrap_or(false) {
        assert!(leaves.try_wait().unwrap().is_none(), "it ended before it was ready");
        sleep(Duration::from_millis(20)).await;
    }
    for number in 1..=UTTERANCES {
        speaker.speak(number).await;
    }
    while !speaker.holds(NAME).await {
        assert!(speaker.answers().await.len() < UTTERANCES as usize, "it was never seen with a job");
    }
    let told = Instant::now();
    signal(&leaves, "TERM");
    let status = tokio::task::spawn_blocking(move || leaves.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    figure("drain_seconds", told.elapsed().as_secs_f64());
    let names: Vec<_> = speaker.bus.members(AUDIO_JOBS, STT_GROUP).await.unwrap();
    assert!(names.is_empty(), "{names:?}");
    // What it had taken it has answered; what it had not, it left for others.
    let depth = speaker.bus.depth(AUDIO_JOBS, STT_GROUP).await.unwrap();
    assert_eq!((depth.pending, speaker.answers().await.len() as u64 + depth.lag), (0, u64::from(UTTERANCES)));
    let mut peer: Process = speaker.worker("peer");
    peer.ready().await;
    for number in 1..=UTTERANCES {
        assert!(!speaker.answer(number).await, "utterance {number} was lost");
    }
    assert_eq!(speaker.answers().await.len(), UTTERANCES as usize, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopping_worker_cannot_finish_is_taken_by_a_peer_without_waiting_for_a_lease() {
    const JOBS: u32 = 4;
    let redis = RedisServer::spawn().await;
    let bus = RedisBus::connect(&redis.url()).await.unwrap();
    let (slow, stop) = worker(&redis.url(), "slow", Duration::ZERO).await;
    produce(&bus, JOBS).await;
    until(|| slow.begun() == JOBS).await;
    let told = Instant::now();
    stop.cancel();
    // No job here has been silent for so long: who finds some finds what was handed back.
    let long = PATIENCE * 60;
    let mut taken = Vec::new();
    while taken.len() < JOBS as usize {
        assert!(told.elapsed() < PATIENCE, "{} of {JOBS} were handed back", taken.len());
        taken.extend(bus.reclaim(STREAM, GROUP, "finder", long, JOBS as usize).await.unwrap().deliveries);
    }
    figure("hand_back_seconds", told.elapsed().as_secs_f64());
    let as_found: Vec<_> = taken.iter().map(|job| (job.id, job.deliveries - 1)).collect();
    bus.hand_back(STREAM, GROUP, "finder", &as_found).await.unwrap();
    let (peer, _stop) = worker(&redis.url(), "peer", PATIENCE).await;
    go(&bus).await;
    until(|| peer.done() == JOBS).await;
    assert_eq!((slow.done(), peer.most_deliveries()), (0, 2), "each was begun twice and done once");
    assert_eq!(bus.depth(STREAM, GROUP).await.unwrap(), Depth::default());
}
