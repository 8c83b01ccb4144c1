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

/// Speech workers; eight answers a second each.
const WORKERS: usize = 6;
/// So long one of them is left. The sessions want 24 answers a second: half of what all workers can, three times what one can.
const SHORT: Duration = Duration::from_secs(15);
/// So long none is there: longer than anybody wants a job (210 s), so that something must bound the queue's age.
const AWAY: Duration = Duration::from_secs(240);
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

/// Jobs that the gateway took out of the queues.
async fn expired(town: &Town) -> f64 {
    let gateway = town.process(Whom::Gateway(0)).unwrap();
    let told = reqwest::get(format!("http://{}/metrics", gateway.health())).await.unwrap().text().await.unwrap();
    let values = told.lines().filter(|line| line.starts_with("gateway_jobs_expired_total{"));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[derive(Default)]
struct Seen {
    age: f64,
    refusals: Vec<f64>,
    untold: usize,
}

impl Seen {
    /// Looks at the queue, and with `knock` at the door, every half second for so long.
    async fn watch(&mut self, town: &Town, knock: bool, length: Duration) {
        let mut redis = connection(&town.redis.url()).await;
        let (begun, url) = (Instant::now(), format!("http://{}/v1/stream", town.gateways()[0]));
        while begun.elapsed() < length {
            self.age = self.age.max(oldest(&mut redis).await);
            if knock {
                for (ms, retry_after) in join_all((0..4).map(|_| turned_away(&url))).await.into_iter().flatten() {
                    self.refusals.push(ms);
                    self.untold += usize::from(!retry_after);
                }
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes six minutes; cargo xtask prove faults runs it"]
async fn overload() {
    let shape = Shape { speech: WORKERS, translation: 3, delay_ms: 500, at_once: 4, ..Shape::default() };
    let mut town = Town::spawn(&shape).await;
    let manner = Manner { seed: 9, sessions: 10, utterances: 200, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    let mut seen = Seen::default();
    seen.watch(&town, false, Duration::from_secs(5)).await;
    (1..WORKERS).map(Whom::Speech).for_each(|whom| town.vacate(whom));
    seen.watch(&town, false, SHORT).await;
    town.vacate(Whom::Speech(0));
    let settled = Duration::from_secs(15);
    seen.watch(&town, false, settled).await;
    seen.watch(&town, true, AWAY - settled).await;
    (0..WORKERS).map(Whom::Speech).for_each(|whom| town.refill(whom));
    town.ready().await;
    let returned = Instant::now();
    seen.watch(&town, false, CATCH_UP).await;
    let (expired, outcome) = (expired(&town).await, crowd.hear().await);
    let mut redis = connection(&town.redis.url()).await;
    let stats: String = redis::cmd("INFO").arg("stats").query_async(&mut redis).await.unwrap();
    let evicted =
        stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse().ok()).unwrap_or(f64::NAN);
    let late = outcome.caption_seconds().into_iter().filter(|(at, _)| *at > returned + CATCH_UP);
    let late: Vec<f64> = late.map(|(_, seconds)| seconds).collect();
    figure("overload_queue_age_max_seconds", seen.age);
    figure("overload_expired", expired);
    figure("overload_refusals", seen.refusals.len() as f64);
    figure("overload_refusal_max_ms", seen.refusals.into_iter().fold(0.0, f64::max));
    figure("overload_evictions", evicted);
    figure("overload_lost", outcome.lost() as f64);
    figure("overload_gaps", outcome.faults.gaps as f64);
    figure("overload_captions_after", late.len() as f64);
    figure("overload_p95_after_seconds", percentile(late, 0.95));
    assert_eq!(seen.untold, 0, "refusals that did not say when to come back");
    assert!(expired > 0.0, "nothing was old enough to leave the queue");
    assert_eq!((outcome.lost(), outcome.twice()), (0, 0));
}
