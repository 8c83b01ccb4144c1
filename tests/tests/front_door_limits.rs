//! The limits of two gateways on one Redis: exact together, and still there, each on its own, while Redis is away.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../gateway/tests/house/mod.rs"]
mod house;

use std::{sync::Arc, time::Duration};

use house::{Town, ask, good_hs256};
use shared::bus::RedisBus;
use tests::redis_server::RedisServer;
use tokio::time::{Instant, sleep};

const STREAM: &str = "/v1/stream";
/// Longer than the gateway leaves a Redis alone that was away.
const A_WHILE: Duration = Duration::from_millis(1500);
const MEASURED_FOR: Duration = Duration::from_secs(8);
const A_MINUTE: u32 = 240;

async fn town(redis: &RedisServer) -> Town {
    Town::on(Arc::new(RedisBus::connect(&redis.url()).await.unwrap())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_let_in_as_many_as_one_limit_says() {
    let redis = RedisServer::spawn().await;
    let town = town(&redis).await;
    let gateways = [
        town.gateway(|config| config.door.connections_per_minute = A_MINUTE).await,
        town.gateway(|config| config.door.connections_per_minute = A_MINUTE).await,
    ];
    let address = "192.0.2.7".parse().unwrap();
    let start = Instant::now();
    let hammer = gateways.each_ref().map(|gateway| {
        let door = Arc::clone(&gateway.door);
        tokio::spawn(async move {
            let mut let_in = 0_u32;
            while start.elapsed() < MEASURED_FOR {
                let_in += u32::from(door.limits().connect(address).await.is_ok());
                sleep(Duration::from_millis(2)).await;
            }
            let_in
        })
    });
    let mut let_in = 0;
    for hammer in hammer {
        let_in += hammer.await.unwrap();
    }
    let wanted = f64::from(A_MINUTE) * (1.0 + start.elapsed().as_secs_f64() / 60.0);
    let share = f64::from(let_in) / wanted;
    println!("FIGURE shared_rate_share {share:.3}");
    assert!((0.95..=1.05).contains(&share), "{let_in} of {wanted:.0}");
    for gateway in gateways {
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_gateway_limits_on_its_own_and_sign_in_is_closed() {
    let mut redis = RedisServer::spawn().await;
    let town = town(&redis).await;
    let gateway = town.gateway(|config| config.door.connections_per_minute = 5).await;
    let bearer = format!("Bearer {}", good_hs256("ana"));
    let knock = async || gateway.knock(STREAM, &[("Authorization", &bearer)]).await;
    for _ in 0..5 {
        assert_eq!(knock().await.status, 101);
    }
    assert_eq!(knock().await.status, 429);
    assert_eq!(
        ask(gateway.addr, "POST", "/auth/refresh", &[], "").await.status,
        404,
        "no provider, but no limit either"
    );
    assert!(gateway.metric("gateway_limits_local") < 0.5);
    redis.kill();
    for n in 0..5 {
        let asked = Instant::now();
        let answer = knock().await;
        assert_eq!(answer.status, 101, "{n}: {answer:?}");
        println!("FIGURE handshake_without_redis_ms_{n} {:.0}", asked.elapsed().as_secs_f64() * 1000.0);
    }
    let answer = knock().await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{answer:?}");
    assert!(gateway.metric("gateway_limits_local") > 0.5);
    let answer = ask(gateway.addr, "POST", "/auth/refresh", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"), "{answer:?}");
    assert!(answer.retry_after().is_some(), "{answer:?}");
    redis.restart().await;
    sleep(A_WHILE).await;
    assert_eq!(knock().await.status, 101, "a Redis that forgot everything gives a new bucket");
    assert!(gateway.metric("gateway_limits_local") < 0.5);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_can_only_be_read_is_away_until_it_can_be_written_to() {
    let redis = RedisServer::spawn().await;
    let town = town(&redis).await;
    let gateway = town.gateway(|config| config.door.connections_per_minute = 5).await;
    let mut other = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut primary = async |host: &str, port: &str| {
        let told: Result<(), _> = redis::cmd("REPLICAOF").arg(host).arg(port).query_async(&mut other).await;
        told.unwrap();
    };
    let bearer = format!("Bearer {}", good_hs256("ana"));
    let knock = async || gateway.knock(STREAM, &[("Authorization", &bearer)]).await;
    assert_eq!(knock().await.status, 101);
    assert!(gateway.metric("gateway_limits_local") < 0.5);
    // Of nobody: it takes no writes any more.
    primary("127.0.0.1", "1").await;
    assert_eq!(knock().await.status, 101);
    for _ in 0..4 {
        assert!(gateway.metric("gateway_limits_local") > 0.5, "that the queues can be read is not enough");
        sleep(A_WHILE / 2).await;
    }
    primary("NO", "ONE").await;
    sleep(A_WHILE).await;
    assert!(gateway.metric("gateway_limits_local") < 0.5, "nobody need come for it to be seen");
    gateway.stop().await;
}
