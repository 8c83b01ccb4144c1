//! API keys, minted tokens, and what is written down.

use std::time::Duration;

use super::{ADDRESS, EMAIL, Place, ana};
use crate::{
    People, Refused, Scope, Scopes,
    api_keys::NewApiKey,
    database::Transcript,
    people::{MintError, MintRequest},
};

fn new_key(expires: Option<u64>) -> NewApiKey {
    let scopes = Scopes::of([Scope::Stream, Scope::Batch]);
    NewApiKey { label: "archive".to_owned(), owner: "ana".to_owned(), scopes, expires }
}

fn mint(subject: &str, seconds: u64) -> MintRequest {
    let life = Duration::from_secs(seconds);
    MintRequest { subject: subject.to_owned(), scopes: Scopes::of([Scope::Admin]), life }
}

#[tokio::test]
async fn an_api_key_gets_in_until_it_is_revoked() {
    let place = Place::new();
    let people = place.people().await;
    let made = people.create_api_key(new_key(None)).await.unwrap();
    assert!(made.key.starts_with(&format!("stk_{}_", made.id)));
    let who = people.verify(&made.key).await.unwrap();
    assert_eq!((who.subject.as_str(), who.family, who.expires), (format!("key:{}", made.id).as_str(), None, None));
    assert_eq!(who.scopes.to_string(), "stream batch");
    let listed = people.api_keys().await.unwrap();
    let secret = made.key.rsplit_once('_').unwrap().1;
    assert!(!format!("{listed:?} {made:?}").contains(secret), "a secret is kept or shown");
    assert!(people.revoke_api_key(&made.id).await.unwrap() && !people.revoke_api_key(&made.id).await.unwrap());
    assert_eq!(people.verify(&made.key).await, Err(Refused::Revoked));
}

#[tokio::test]
async fn an_api_key_ends_with_its_time_and_is_noted_once_a_minute() {
    let place = Place::new();
    let people = place.people().await;
    let made = people.create_api_key(new_key(Some(place.clock.now() + 100))).await.unwrap();
    let used = async || people.api_keys().await.unwrap()[0].last_used.unwrap();
    people.verify(&made.key).await.unwrap();
    let first = used().await;
    place.pass(50);
    people.verify(&made.key).await.unwrap();
    assert_eq!(used().await, first);
    place.pass(15);
    people.verify(&made.key).await.unwrap();
    assert!(used().await >= first + 60);
    place.pass(40);
    assert_eq!(people.verify(&made.key).await, Err(Refused::Expired));
}

#[tokio::test]
async fn what_is_no_api_key_stays_out() {
    let place = Place::new();
    let people = place.people().await;
    let made = people.create_api_key(new_key(None)).await.unwrap();
    let other = people.create_api_key(new_key(None)).await.unwrap();
    let secret = made.key.splitn(3, '_').nth(2).unwrap();
    let bad = [
        "stk_".to_owned(),
        "stk__".to_owned(),
        format!("stk_{}", made.id),
        format!("stk_{}_", made.id),
        format!("stk_{}_{secret}", other.id),
        format!("stk_0000000000000000_{secret}"),
        format!("{}x", made.key),
        made.key[..made.key.len() - 1].to_owned(),
        made.key.to_uppercase(),
        format!("stk_{}_{}", made.id, "A".repeat(43)),
        format!("stk_' OR 1=1 --_{secret}"),
    ];
    for key in bad {
        let refused = people.verify(&key).await;
        assert!(matches!(refused, Err(Refused::Invalid(_))), "{key}: {refused:?}");
    }
}

#[tokio::test]
async fn a_minted_token_gets_in_and_can_be_ended() {
    let place = Place::new();
    let people = place.people().await;
    let token = people.mint(&mint("robot-1", 60)).await.unwrap();
    let who = people.verify(&token).await.unwrap();
    assert_eq!((who.subject.as_str(), who.scopes.has(Scope::Admin)), ("robot-1", true));
    people.revoke_family(who.family.as_deref().unwrap()).await.unwrap();
    assert_eq!(people.verify(&token).await, Err(Refused::Revoked));
    for (subject, seconds) in [("", 60), (EMAIL, 60), ("a b", 60), ("a", 3601)] {
        let refused = people.mint(&mint(subject, seconds)).await;
        assert!(matches!(refused, Err(MintError::Subject | MintError::Life)), "{subject} {seconds}");
    }
}

fn said(text: &str) -> Transcript<'_> {
    Transcript { session: "s", subject: "a", utterance: 1, language: "en", target: Some("es"), text }
}

#[tokio::test]
async fn nothing_that_was_said_is_kept_unless_it_says_for_how_long() {
    let place = Place::new();
    let people = place.people().await;
    assert!(!people.keep_transcript(said("spoken canary")).await.unwrap());
    assert_eq!(people.transcripts().await.unwrap(), 0);
    let mut config = place.config();
    config.transcript_retention = Some(Duration::from_secs(3600));
    let keeping = People::open(&config, Vec::new(), place.bus.clone(), place.clock.clone()).await.unwrap();
    assert!(keeping.keep_transcript(said("hello")).await.unwrap());
    place.pass(3000);
    assert!(keeping.keep_transcript(said("again")).await.unwrap());
    place.pass(1000);
    keeping.forget_old().await.unwrap();
    assert_eq!(keeping.transcripts().await.unwrap(), 1);
    // Who keeps nothing from now on, forgets what was kept before.
    place.pass(1);
    people.forget_old().await.unwrap();
    assert_eq!(people.transcripts().await.unwrap(), 0);
    assert!(!format!("{:?}", said("spoken canary")).contains("canary"));
}

#[tokio::test]
async fn the_audit_tells_what_happened_and_nothing_that_is_secret() {
    let place = Place::new();
    let people = place.people().await.for_request("request-7");
    let tokens = people.sign_in(&ana(), "laptop", ADDRESS).await.unwrap();
    people.sign_in_failed("wrong_state", ADDRESS).await;
    people.refresh("srt_unknown", ADDRESS).await.unwrap_err();
    people.sign_out(&tokens.refresh_token).await.unwrap();
    people.refresh(&tokens.refresh_token, "198.51.100.1").await.unwrap_err();
    let audit = people.audit_log(100).await.unwrap();
    let told: Vec<_> = audit.iter().rev().map(|row| (row.what.as_str(), row.outcome.as_str())).collect();
    let expected = [
        ("sign_in", "ok"),
        ("sign_in", "wrong_state"),
        ("refresh", "unknown"),
        ("sign_out", "ok"),
        ("refresh", "revoked"),
    ];
    assert_eq!(told, expected);
    assert_eq!(audit[4].person.as_deref(), Some(tokens.person.id.as_str()));
    assert!(audit.iter().all(|row| row.request.as_deref() == Some("request-7")));
    assert_eq!(audit[4].address, audit[3].address);
    assert_ne!(audit[4].address, audit[0].address);
    let text = format!("{audit:?}");
    for secret in [ADDRESS, EMAIL, &tokens.access_token, &tokens.refresh_token] {
        assert!(!text.contains(secret), "{secret}");
    }
    place.pass(91 * 24 * 3600);
    people.forget_old().await.unwrap();
    assert!(people.audit_log(100).await.unwrap().is_empty());
}

#[tokio::test]
async fn usage_adds_up_by_day_and_waits_for_the_database() {
    let place = Place::new();
    let people = place.people().await;
    people.used("a", 1000).await;
    people.used("a", 500).await;
    people.used("b", 7).await;
    assert_eq!((people.used_today("a").await.unwrap(), people.used_today("nobody").await.unwrap()), (1500, 0));
    let rows = people.usage_of(None).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.audio_ms).collect::<Vec<_>>(), [1500, 7]);
    place.pass(24 * 3600);
    assert_eq!(people.used_today("a").await.unwrap(), 0);
    assert_eq!(people.usage_of(Some(&rows[0].day)).await.unwrap(), rows);
    people.inner.database.close().await;
    people.used("a", 40).await;
    people.used("a", 2).await;
    let waiting: Vec<_> = people.inner.unwritten.lock().unwrap().values().copied().collect();
    assert_eq!(waiting, [42]);
}
