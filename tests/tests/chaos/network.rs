//! Networks that are slow, deaf, half closed or gone: between clients and gateway, and between every role and Redis.

use std::time::Duration;

use tests::{
    chaos::{
        proxy::{Proxy, Weather},
        town::{Shape, Town},
    },
    redis_server::{APPEND_ONLY, RedisServer},
};
use tokio::time::sleep;

use super::{
    crowd::{Crowd, Manner},
    kills::nothing_lost,
};

/// What comes, and for how long, milliseconds.
const SPELLS: [(Weather, u64); 6] = [
    (Weather::Slow(Duration::from_millis(80)), 1500),
    (Weather::Trickle(700), 1500),
    (Weather::HalfDeaf, 1200),
    (Weather::Deaf, 1200),
    (Weather::HalfClosed, 400),
    (Weather::Gone, 700),
];

async fn storm(proxy: &Proxy) {
    for (weather, length_ms) in SPELLS {
        sleep(Duration::from_millis(800)).await;
        proxy.spell(weather, Duration::from_millis(length_ms)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_before_the_gateway_costs_nobody_a_word() {
    let town = Town::spawn(&Shape::default()).await;
    let proxy = Proxy::spawn(town.gateways()[0]).await;
    let manner = Manner { seed: 7, sessions: 4, utterances: 9, ..Manner::default() };
    let crowd = Crowd::speak(&[format!("ws://{}/v1/stream", proxy.addr())], &manner);
    storm(&proxy).await;
    let outcome = crowd.hear().await;
    assert!(outcome.broken() >= 4, "nobody noticed");
    nothing_lost(&outcome, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_before_redis_costs_nobody_a_word() {
    let redis = RedisServer::spawn_with(APPEND_ONLY).await;
    let proxy = Proxy::spawn(([127, 0, 0, 1], redis.port()).into()).await;
    let shape = Shape { redis_url: Some(format!("redis://{}/", proxy.addr())), ..Shape::default() };
    let town = Town::beside(redis, &shape).await;
    let manner = Manner { seed: 8, sessions: 4, utterances: 9, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    storm(&proxy).await;
    nothing_lost(&crowd.hear().await, 0);
}
