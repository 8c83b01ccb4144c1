//! More is said than can be heard, and then the workers return.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::AsyncCommands as _;
use shared::jobs::AUDIO_JOBS;
use tests::{
    chaos::{
        plan::Whom,
        town::{Shape, Town},
    },
    figure::figure,
};
use tokio::time::sleep;

use super::{
    crowd::{Crowd, Manner, percentile},
    held::connection,
};

/// The workers are away for so long.
const AWAY: Duration = Duration::from_secs(30);
/// What is captioned later than this after their return is captioned as always.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Age of the oldest job that nobody has read, seconds.
async fn oldest(redis: &mut redis::aio::MultiplexedConnection) -> f64 {
    let groups: redis::streams::StreamInfoGroupsReply = redis.xinfo_groups(AUDIO_JOBS).await.unwrap_or_default();
    let Some(group) = groups.groups.first() else { return 0.0 };
    let after = format!("({}", group.last_delivered_id);
    let next: redis::streams::StreamRangeReply =
        redis.xrange_count(AUDIO_JOBS, after, "+", 1).await.unwrap_or_default();
    let Some(entry) = next.ids.first() else { return 0.0 };
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(redis).await.unwrap();
    let ms: u64 = entry.id.split('-').next().unwrap_or_default().parse().unwrap();
    (seconds * 1000 + micros / 1000).saturating_sub(ms) as f64 / 1000.0
}

/// How long a newcomer waits until it is turned away, milliseconds, and whether it is told when to come back.
async fn turned_away(url: &str) -> Option<(f64, bool)> {
    let asked = Instant::now();
    let answer = reqwest::Client::new()
        .get(url)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send()
        .await
        .ok()?;
    let ms = asked.elapsed().as_secs_f64() * 1000.0;
    (answer.status() == 503).then(|| (ms, answer.headers().contains_key("retry-after")))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes; cargo xtask prove faults runs it"]
async fn overload() {
    // Each worker answers four a second at most: a third of what ten sessions want.
    let shape = Shape { speech: 2, translation: 1, delay_ms: 500, at_once: 2, ..Shape::default() };
    let mut town = Town::spawn(&shape).await;
    let manner = Manner { seed: 9, sessions: 20, utterances: 60, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    sleep(Duration::from_secs(5)).await;
    (0..2).map(Whom::Speech).for_each(|whom| town.vacate(whom));
    let mut redis = connection(&town.redis.url()).await;
    let (gone, mut age, mut refusals, mut told) = (Instant::now(), 0.0_f64, Vec::new(), true);
    let url = format!("http://{}/v1/stream", town.gateways()[0]);
    while gone.elapsed() < AWAY {
        age = age.max(oldest(&mut redis).await);
        if gone.elapsed() > Duration::from_secs(15) {
            for (ms, retry_after) in join_all((0..4).map(|_| turned_away(&url))).await.into_iter().flatten() {
                refusals.push(ms);
                told &= retry_after;
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
    (0..2).map(Whom::Speech).for_each(|whom| town.refill(whom));
    town.ready().await;
    let returned = Instant::now();
    while returned.elapsed() < CATCH_UP {
        age = age.max(oldest(&mut redis).await);
        sleep(Duration::from_millis(500)).await;
    }
    let outcome = crowd.hear().await;
    let stats: String = redis::cmd("INFO").arg("stats").query_async(&mut redis).await.unwrap();
    let evicted =
        stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse().ok()).unwrap_or(f64::NAN);
    let late = outcome.caption_seconds().into_iter().filter(|(at, _)| *at > returned + CATCH_UP);
    figure("overload_queue_age_max_seconds", age);
    figure("overload_refusals", refusals.len() as f64);
    figure("overload_refusal_max_ms", refusals.into_iter().fold(0.0, f64::max));
    figure("overload_evictions", evicted);
    figure("overload_lost", outcome.lost() as f64);
    figure("overload_gaps", outcome.faults.gaps as f64);
    figure("overload_p95_after_seconds", percentile(late.map(|(_, seconds)| seconds).collect(), 0.95));
    assert!(told, "a refusal did not say when to come back");
    assert_eq!((outcome.lost(), outcome.twice()), (0, 0));
}
