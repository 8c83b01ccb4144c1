//! A worker dies in the middle of a job, and nobody notices.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use redis::AsyncCommands;
use shared::jobs::{AUDIO_JOBS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS};
use tests::{
    session::{check, start, stream},
    speech::{demo, pcm},
    stack::{Process, Stack},
};
use tokio::time::{Instant, sleep};

/// Names of the consumers that hold a job of `group` at this moment.
async fn holders(redis: &mut redis::aio::MultiplexedConnection, stream: &str, group: &str) -> Vec<String> {
    let pending: redis::streams::StreamPendingReply = redis.xpending(stream, group).await.unwrap();
    match pending {
        redis::streams::StreamPendingReply::Data(data) => data.consumers.into_iter().map(|c| c.name).collect(),
        _ => Vec::new(),
    }
}

/// Waits until a worker of `workers` holds a job, stops it so that it cannot finish, makes sure that it still holds
/// it, and kills it. Returns who it was.
async fn kill_mid_job(redis_url: &str, jobs: (&str, &str), workers: &mut Vec<Process>) -> String {
    let client = redis::Client::open(redis_url).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let holding = holders(&mut redis, jobs.0, jobs.1).await;
        if let Some(index) = workers.iter().position(|w| holding.contains(&w.name)) {
            workers[index].signal("STOP");
            sleep(Duration::from_millis(20)).await;
            if holders(&mut redis, jobs.0, jobs.1).await.contains(&workers[index].name) {
                let mut victim = workers.remove(index);
                victim.kill();
                return victim.name.clone();
            }
            workers[index].signal("CONT");
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("no worker was ever seen with a job of {}", jobs.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_stt_workers_dies_mid_job_and_every_final_comes_once_and_in_order() {
    let mut stack = Stack::spawn(3, 1).await;
    let (wav, _) = demo();
    let pcm = pcm(&wav);
    let (url, redis_url) = (stack.url(), stack.redis.url());
    let kill = async {
        sleep(Duration::from_secs(3)).await;
        kill_mid_job(&redis_url, (AUDIO_JOBS, STT_GROUP), &mut stack.stt).await
    };
    let (events, killed) = tokio::join!(stream(&url, start(&["es"]), &pcm, 1.5), kill);
    assert_eq!(stack.stt.len(), 2, "{killed} is gone");
    let texts = check(&events, &["es"]);
    assert!(!texts["caption"].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_translation_workers_dies_mid_job_and_every_translation_comes_once() {
    let mut stack = Stack::spawn(1, 2).await;
    let (wav, _) = demo();
    let pcm = pcm(&wav);
    let (url, redis_url) = (stack.url(), stack.redis.url());
    let kill = async {
        sleep(Duration::from_secs(3)).await;
        kill_mid_job(&redis_url, (TRANSLATION_JOBS, MT_GROUP), &mut stack.mt).await
    };
    let (events, killed) = tokio::join!(stream(&url, start(&["es"]), &pcm, 1.5), kill);
    assert_eq!(stack.mt.len(), 1, "{killed} is gone");
    let texts = check(&events, &["es"]);
    assert!(!texts["es"].is_empty());
}
