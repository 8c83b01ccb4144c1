//! Redis dies, stands still, is full.

use std::time::{Duration, Instant};

use tests::{
    chaos::{
        plan::{Deed, Whom},
        town::{Shape, Town},
    },
    figure::figure,
};
use tokio::time::sleep;

use super::{
    crowd::{Crowd, Manner},
    held::connection,
    kills::nothing_lost,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_twice_and_stands_still_costs_nobody_a_word() {
    let mut town = Town::spawn(&Shape::default()).await;
    let manner = Manner { seed: 3, sessions: 4, utterances: 9, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    for deed in [Deed::Kill, Deed::Freeze(Duration::from_secs(2)), Deed::Kill] {
        sleep(Duration::from_secs(2)).await;
        town.suffer(Whom::Redis, deed).await;
    }
    nothing_lost(&crowd.hear().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full_for_a_while_costs_nobody_a_word() {
    let town = Town::spawn(&Shape::default()).await;
    let manner = Manner { seed: 4, sessions: 4, utterances: 8, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    sleep(Duration::from_secs(3)).await;
    let mut redis = connection(&town.redis.url()).await;
    let set = |limit: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(limit);
        set
    };
    // Less than it holds: every write that needs room is refused.
    let () = set("1mb").query_async(&mut redis).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    let () = set("0").query_async(&mut redis).await.unwrap();
    nothing_lost(&crowd.hear().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes three minutes; cargo xtask prove faults runs it"]
async fn twenty_redis_kills() {
    let mut town = Town::spawn(&Shape::default()).await;
    let manner = Manner { seed: 6, sessions: 20, utterances: 100, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    let mut answered = Vec::new();
    for _ in 0..20 {
        sleep(Duration::from_secs(6)).await;
        town.suffer(Whom::Redis, Deed::Kill).await;
        answered.push(Instant::now());
    }
    let outcome = crowd.hear().await;
    let captions = outcome.caption_times();
    let next =
        |at: &Instant| captions.iter().find(|caption| *caption > at).map(|caption| (*caption - *at).as_secs_f64());
    let longest = answered.iter().map(|at| next(at).unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
    figure("redis_kills", answered.len() as f64);
    figure("redis_kill_utterances", outcome.utterances() as f64);
    figure("redis_kill_lost", outcome.lost() as f64);
    figure("redis_kill_twice", outcome.twice() as f64);
    figure("redis_kill_gaps", outcome.faults.gaps as f64);
    figure("redis_kill_sockets_broken", outcome.broken() as f64);
    figure("redis_kill_caption_max_seconds", longest);
    assert_eq!((outcome.lost(), outcome.twice()), (0, 0));
}
