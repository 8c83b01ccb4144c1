//! A Redis behind sentinels fails over under a whole stack.

use std::time::{Duration, Instant};

use tests::{
    chaos::town::{Shape, Town},
    figure::figure,
    redis_server::RedisServer,
    sentinel::Sentinels,
};
use tokio::time::sleep;

use super::{
    crowd::{Crowd, Manner, Outcome},
    kills::nothing_lost,
};

/// A stretch without captions that begins so soon after a failover is its doing.
const DOING: Duration = Duration::from_secs(15);

/// A stack behind sentinels that fail over so often while so many sessions speak; and when.
async fn fail_over(times: usize, sessions: usize, utterances: usize) -> (Outcome, Vec<Instant>) {
    let mut sentinels = Sentinels::spawn().await;
    // The town's own Redis stands idle.
    let shape = Shape { redis_url: Some(sentinels.url()), ..Shape::default() };
    let town = Town::beside(RedisServer::spawn().await, &shape).await;
    let manner = Manner { seed: 12, sessions, utterances, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    let mut killed = Vec::new();
    for _ in 0..times {
        sleep(Duration::from_secs(6)).await;
        killed.push(Instant::now());
        sentinels.fail_over().await;
    }
    (crowd.hear().await, killed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_fails_over_costs_nobody_a_word() {
    let (outcome, _) = fail_over(1, 4, 10).await;
    nothing_lost(&outcome, 0);
    assert_eq!(outcome.broken(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes three minutes; cargo xtask prove faults runs it"]
async fn ten_failovers() {
    let (outcome, killed) = fail_over(10, 20, 120).await;
    let captions = outcome.caption_times();
    let silence = |at: &Instant| {
        let stretches = captions.windows(2).filter(|pair| pair[1] > *at && pair[0] < *at + DOING);
        stretches.map(|pair| (pair[1] - pair[0].max(*at)).as_secs_f64()).fold(0.0, f64::max)
    };
    figure("failovers", killed.len() as f64);
    figure("failover_utterances", outcome.utterances() as f64);
    figure("failover_max_seconds", killed.iter().map(silence).fold(0.0, f64::max));
    figure("failover_sockets_broken", outcome.broken() as f64);
    figure("failover_lost", outcome.lost() as f64);
    figure("failover_twice", outcome.twice() as f64);
    figure("failover_gaps", outcome.faults.gaps as f64);
    assert_eq!((outcome.lost(), outcome.twice()), (0, 0));
}
