//! The keys of an issuer: how often it is asked, and what happens while it is away.

use std::{sync::Arc, time::Duration};

use identity::{Clock, KeySet, Refused};
use serde_json::json;

use crate::hostile_issuer::{HostileIssuer, MAX_AGE};

async fn bench() -> (HostileIssuer, KeySet, Clock) {
    let (issuer, clock) = (HostileIssuer::start().await, Clock::default());
    let keys = KeySet::of_issuer(&issuer.issuer(), clock.clone()).expect("a loopback issuer");
    (issuer, keys, clock)
}

fn is_unknown(outcome: &Result<(jsonwebtoken::Algorithm, jsonwebtoken::DecodingKey), Refused>) -> bool {
    matches!(outcome, Err(Refused::Invalid(_)))
}

#[tokio::test]
async fn a_rotated_key_is_taken_after_exactly_one_fetch() {
    let (issuer, keys, clock) = bench().await;
    assert!(keys.key("key-1").await.is_ok());
    assert_eq!((issuer.key_fetches(), keys.fetches()), (1, 1));
    clock.advance(Duration::from_secs(61));
    issuer.rotate("key-2");
    for _ in 0..100 {
        assert!(keys.key("key-2").await.is_ok());
    }
    assert_eq!((issuer.key_fetches(), issuer.discovery_fetches()), (2, 1));
    assert!(is_unknown(&keys.key("key-1").await), "the old key is gone from the set");
    assert_eq!(issuer.key_fetches(), 2, "and is no reason to ask again at once");
    println!("FIGURE key_fetches_after_rotation {}", issuer.key_fetches() - 1);
}

#[tokio::test]
async fn ten_thousand_unknown_keys_cause_at_most_one_fetch_a_minute() {
    const MINUTES: u64 = 10;
    let (issuer, keys, clock) = bench().await;
    keys.key("key-1").await.expect("the issuer's own key");
    for i in 0..10_000_u64 {
        assert!(is_unknown(&keys.key(&format!("forged-{i}")).await));
        if i % 1_000 == 999 {
            clock.advance(Duration::from_secs(60));
        }
    }
    let fetches = issuer.key_fetches();
    assert!(fetches <= MINUTES, "{fetches} fetches in {MINUTES} minutes");
    assert!(fetches > 1, "after a minute somebody may ask again, and did");
    println!("FIGURE key_fetches_a_minute_for_unknown_keys {}", fetches as f64 / MINUTES as f64);
}

#[tokio::test]
async fn many_at_once_who_miss_a_key_ask_once() {
    let (issuer, keys, clock) = bench().await;
    keys.key("key-1").await.expect("the issuer's own key");
    clock.advance(Duration::from_secs(61));
    issuer.rotate("key-2");
    let keys = Arc::new(keys);
    let tasks: Vec<_> = (0..200)
        .map(|i| {
            let keys = Arc::clone(&keys);
            tokio::spawn(async move { keys.key(if i % 2 == 0 { "key-2" } else { "forged" }).await.is_ok() })
        })
        .collect();
    let mut good = 0;
    for task in tasks {
        good += usize::from(task.await.expect("a task that ends"));
    }
    assert_eq!((good, issuer.key_fetches()), (100, 2));
}

#[tokio::test]
async fn an_issuer_that_is_down_for_an_hour_breaks_nothing() {
    let (issuer, keys, clock) = bench().await;
    keys.key("key-1").await.expect("the issuer's own key");
    clock.advance(Duration::from_secs(MAX_AGE - 10));
    issuer.set_down(true);
    let requests = || issuer.key_fetches() + issuer.discovery_fetches();
    let before = requests();
    for _ in 0..360 {
        clock.advance(Duration::from_secs(10));
        assert!(keys.key("key-1").await.is_ok());
        assert!(is_unknown(&keys.key("forged").await));
    }
    let asked = requests() - before;
    assert!((5..=70).contains(&asked), "asked {asked} times in an hour: the breaker is there for that");
    issuer.set_down(false);
    issuer.rotate("key-2");
    clock.advance(Duration::from_secs(61));
    assert!(keys.key("key-2").await.is_ok(), "back again");
    clock.advance(Duration::from_secs(MAX_AGE + 25 * 3600));
    issuer.set_down(true);
    assert_eq!(keys.key("key-2").await.err(), Some(Refused::Unavailable), "not for ever");
}

#[tokio::test]
async fn an_issuer_that_was_never_up_is_not_asked_by_everybody() {
    let (issuer, keys, clock) = bench().await;
    issuer.set_down(true);
    for _ in 0..100 {
        assert_eq!(keys.key("key-1").await.err(), Some(Refused::Unavailable));
    }
    assert_eq!(issuer.discovery_fetches(), 1);
    issuer.set_down(false);
    clock.advance(Duration::from_secs(5));
    assert!(keys.key("key-1").await.is_ok());
}

#[tokio::test]
async fn a_document_that_is_not_the_issuer_s_own_is_not_believed() {
    for (member, value) in [
        ("issuer", json!("https://accounts.google.com")),
        ("jwks_uri", json!("http://example.com/keys")),
        ("jwks_uri", json!("file:///etc/passwd")),
        ("token_endpoint", json!("http://10.0.0.1/token")),
        ("code_challenge_methods_supported", json!(["plain"])),
        ("jwks_uri", json!(null)),
    ] {
        let (issuer, keys, _) = bench().await;
        issuer.discovery_says(member, value.clone());
        assert_eq!(keys.key("key-1").await.err(), Some(Refused::Unavailable), "{member}: {value}");
        assert_eq!(issuer.key_fetches(), 0);
    }
}

#[tokio::test]
async fn redirects_are_not_followed_and_large_answers_not_read() {
    for path in ["/moved", "/huge", "/nothing", "/token"] {
        let issuer = HostileIssuer::start().await;
        let keys = KeySet::of_url(&(issuer.issuer() + path), Clock::default()).expect("a loopback address");
        assert_eq!(keys.key("key-1").await.err(), Some(Refused::Unavailable), "{path}");
        assert_eq!(issuer.key_fetches(), 0);
    }
    let issuer = HostileIssuer::start().await;
    let keys = KeySet::of_url(&(issuer.issuer() + "/keys"), Clock::default()).expect("a loopback address");
    assert!(keys.key("key-1").await.is_ok(), "the address of the keys will do");
}
