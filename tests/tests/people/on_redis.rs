//! Two gateways on one Redis: who hears of a revocation, and what happens while Redis is away.

use std::{sync::Arc, time::Duration};

use identity::{
    Clock, IdentityConfig, People, Refused, Tokens,
    api_keys::NewApiKey,
    revocation::{Revocation, STREAM},
};
use shared::bus::{Bus, EntryId, RedisBus};
use tempfile::TempDir;
use tests::redis_server::{APPEND_ONLY, RedisServer};
use tokio::time::{sleep, timeout};

use super::{refresh, sign_in};

/// For what must come; never waited out by a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

struct Gateways {
    redis: RedisServer,
    one: People,
    other: People,
    clock: Clock,
    _directories: [TempDir; 2],
}

impl Gateways {
    /// One Redis, and the database is not what they hear of each other by: it is copied before the other starts.
    async fn spawn() -> (Self, Tokens) {
        let redis = RedisServer::spawn_with(APPEND_ONLY).await;
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let clock = Clock::default();
        let one = gateway(&redis, &first, &clock).await;
        let tokens = sign_in(&one).await;
        for file in std::fs::read_dir(first.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), second.path().join(file.file_name())).unwrap();
        }
        let other = gateway(&redis, &second, &clock).await;
        (Self { redis, one, other, clock, _directories: [first, second] }, tokens)
    }
}

async fn gateway(redis: &RedisServer, directory: &TempDir, clock: &Clock) -> People {
    let bus = RedisBus::connect(&redis.url()).await.unwrap();
    let config = IdentityConfig::at(&format!("sqlite:{}", directory.path().join("people.db").display()));
    People::open(&config, Vec::new(), Arc::new(bus), clock.clone()).await.unwrap()
}

/// Asks until the answer is `wanted`.
async fn becomes<T: PartialEq>(wanted: &T, ask: impl AsyncFn() -> T) {
    let asking = async {
        while ask().await != *wanted {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_token_ends_sockets_and_tokens_on_another_gateway() {
    let (gateways, first) = Gateways::spawn().await;
    let who = gateways.other.verify(&first.access_token).await.unwrap();
    let mut watch = gateways.other.revocations().watch(who.family.as_deref(), &who.subject);
    let second = refresh(&gateways.one, &first.refresh_token).await.unwrap();
    gateways.clock.advance(Duration::from_secs(11));
    assert_eq!(refresh(&gateways.one, &first.refresh_token).await.unwrap_err(), Refused::Revoked);
    // The handshake asks Redis itself; it does not wait for the poll.
    assert_eq!(gateways.other.verify(&second.access_token).await, Err(Refused::Revoked));
    let told = timeout(PATIENCE, watch.revoked()).await.unwrap();
    assert_eq!(told, Revocation::Family(who.family.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_sign_ins_wait_outside_and_live_ones_go_on() {
    let (mut gateways, tokens) = Gateways::spawn().await;
    let scopes = "stream".parse().unwrap();
    let new = NewApiKey { label: "archive".to_owned(), owner: "ana".to_owned(), scopes, expires: None };
    let key = gateways.one.create_api_key(new).await.unwrap().key;
    let who = gateways.other.verify(&tokens.access_token).await.unwrap();
    let mut watch = gateways.other.revocations().watch(who.family.as_deref(), &who.subject);

    gateways.redis.kill();
    assert_eq!(gateways.one.verify(&tokens.access_token).await, Err(Refused::Unavailable));
    assert_eq!(gateways.one.revocations().is_revoked(&who).await, Err(Refused::Unavailable));
    gateways.one.verify(&key).await.unwrap();
    assert_eq!(watch.revoked_now(), None);
    // Told to come again, and yet it is done here, and elsewhere as soon as Redis is back.
    assert_eq!(gateways.one.sign_out(&tokens.refresh_token).await, Err(Refused::Unavailable));
    assert_eq!(gateways.one.verify(&tokens.access_token).await, Err(Refused::Revoked));

    gateways.redis.restart().await;
    timeout(PATIENCE, watch.revoked()).await.unwrap();
    becomes(&Err(Refused::Revoked), async || gateways.other.verify(&tokens.access_token).await).await;
    let fresh = sign_in(&gateways.one).await;
    becomes(&true, async || gateways.one.verify(&fresh.access_token).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_redis_names_nobody() {
    let (gateways, tokens) = Gateways::spawn().await;
    gateways.one.sign_out_everywhere(&tokens.person.id).await.unwrap();
    let bus = RedisBus::connect(&gateways.redis.url()).await.unwrap();
    let entries = bus.range(STREAM, EntryId::START, LAST, 100).await.unwrap();
    assert_eq!(entries.len(), 2);
    let mut connection =
        redis::Client::open(gateways.redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert!(keys.len() >= 3, "{keys:?}");
    let text = format!("{keys:?} {entries:?}");
    let secrets = [tokens.access_token, tokens.refresh_token, tokens.person.email.unwrap(), super::ADDRESS.to_owned()];
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}");
    }
    for key in keys.iter().filter(|key| key.starts_with("revoked:")) {
        let ttl: i64 = redis::cmd("TTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!((600..=2 * 3600).contains(&ttl), "{key} lives for {ttl} s");
    }
}
