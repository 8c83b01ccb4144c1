//! What is revoked, and who hears of it.

use std::time::Duration;

use tokio::time::timeout;

use super::{ADDRESS, Place, ana};
use crate::{People, Principal, Refused, revocation::Revocation, revocation::Watch};

/// For what must come; never waited out by a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn signed_in(people: &People) -> (crate::Tokens, Principal) {
    let tokens = people.sign_in(&ana(), "laptop", ADDRESS).await.unwrap();
    let who = people.verify(&tokens.access_token).await.unwrap();
    (tokens, who)
}

fn watch(people: &People, who: &Principal) -> Watch {
    people.revocations().watch(who.family.as_deref(), &who.subject)
}

async fn heard(watch: &mut Watch) -> Revocation {
    timeout(PATIENCE, watch.revoked()).await.unwrap()
}

#[tokio::test]
async fn signing_out_ends_tokens_and_sockets_everywhere_and_no_other_sign_in() {
    let place = Place::new();
    let (here, there) = (place.people().await, place.people().await);
    let (tokens, who) = signed_in(&here).await;
    let (others, other) = signed_in(&here).await;
    let (mut at_here, mut at_there, still) = (watch(&here, &who), watch(&there, &who), watch(&there, &other));
    here.sign_out(&tokens.refresh_token).await.unwrap();
    let family = Revocation::Family(who.family.clone().unwrap());
    assert_eq!((heard(&mut at_here).await, heard(&mut at_there).await), (family.clone(), family));
    for people in [&here, &there] {
        assert_eq!(people.verify(&tokens.access_token).await, Err(Refused::Revoked));
        assert_eq!(people.refresh(&tokens.refresh_token, ADDRESS).await.unwrap_err(), Refused::Revoked);
        people.verify(&others.access_token).await.unwrap();
    }
    assert_eq!(still.revoked_now(), None);
    here.sign_out(&tokens.refresh_token).await.unwrap();
    here.sign_out("srt_unknown").await.unwrap();
    here.sign_out("nonsense").await.unwrap();
}

#[tokio::test]
async fn whoever_begins_to_watch_too_late_hears_of_it_all_the_same() {
    let place = Place::new();
    let people = place.people().await;
    let (tokens, who) = signed_in(&people).await;
    people.sign_out(&tokens.refresh_token).await.unwrap();
    heard(&mut watch(&people, &who)).await;
    assert_eq!(people.revocations().is_revoked(&who).await, Ok(true));
}

#[tokio::test]
async fn a_gateway_that_starts_later_knows_what_was_revoked() {
    let place = Place::new();
    let people = place.people().await;
    let (tokens, _) = signed_in(&people).await;
    people.sign_out(&tokens.refresh_token).await.unwrap();
    drop(people);
    // Another process: the bus of the first is gone.
    let later = Place { bus: std::sync::Arc::new(shared::bus::MemoryBus::default()), ..place };
    assert_eq!(later.people().await.verify(&tokens.access_token).await, Err(Refused::Revoked));
}

#[tokio::test]
async fn programs_on_one_database_hear_of_each_other_without_a_common_bus() {
    let place = Place::new();
    let gateway = place.people().await;
    let (tokens, who) = signed_in(&gateway).await;
    let mut watch = watch(&gateway, &who);
    let bus = std::sync::Arc::new(shared::bus::MemoryBus::default());
    let operator = People::open(&place.config(), Vec::new(), bus, place.clock.clone()).await.unwrap();
    operator.sign_out_everywhere(&who.subject).await.unwrap();
    heard(&mut watch).await;
    assert_eq!(gateway.verify(&tokens.access_token).await, Err(Refused::Revoked));
}

#[tokio::test]
async fn signing_out_everywhere_ends_what_there_was_and_not_what_comes() {
    let place = Place::new();
    let people = place.people().await;
    let (first, who) = signed_in(&people).await;
    let (second, _) = signed_in(&people).await;
    place.pass(1);
    assert!(people.sign_out_everywhere(&who.subject).await.unwrap());
    assert!(!people.sign_out_everywhere("nobody").await.unwrap());
    for tokens in [&first, &second] {
        assert_eq!(people.verify(&tokens.access_token).await, Err(Refused::Revoked));
        assert_eq!(people.refresh(&tokens.refresh_token, ADDRESS).await.unwrap_err(), Refused::Revoked);
    }
    place.pass(1);
    let (_, again) = signed_in(&people).await;
    assert_eq!(people.revocations().is_revoked(&again).await, Ok(false));
}

#[tokio::test]
async fn somebody_who_is_disabled_is_out_until_they_are_enabled() {
    let place = Place::new();
    let people = place.people().await;
    let (tokens, who) = signed_in(&people).await;
    let mut watch = watch(&people, &who);
    assert!(people.disable(&who.subject).await.unwrap() && !people.disable("nobody").await.unwrap());
    heard(&mut watch).await;
    assert_eq!(people.verify(&tokens.access_token).await, Err(Refused::Revoked));
    assert!(matches!(people.sign_in(&ana(), "laptop", ADDRESS).await, Err(Refused::Forbidden(_))));
    assert!(people.list("", 10).await.unwrap()[0].disabled);
    place.pass(1);
    assert!(people.enable(&who.subject).await.unwrap());
    signed_in(&people).await;
}

#[tokio::test]
async fn a_session_is_closed_and_its_token_stays_good() {
    let place = Place::new();
    let people = place.people().await;
    let (tokens, who) = signed_in(&people).await;
    let (mut one, mut other) = (watch(&people, &who), watch(&people, &who));
    one.session("one");
    other.session("other");
    people.revocations().close_session("one").await.unwrap();
    assert_eq!(heard(&mut one).await, Revocation::Session("one".to_owned()));
    assert_eq!(other.revoked_now(), None);
    people.verify(&tokens.access_token).await.unwrap();
}

#[tokio::test]
async fn a_revoked_api_key_ends_its_sessions() {
    let place = Place::new();
    let (here, there) = (place.people().await, place.people().await);
    let new = crate::api_keys::NewApiKey {
        label: "archive".to_owned(),
        owner: "ana".to_owned(),
        scopes: "stream".parse().unwrap(),
        expires: None,
    };
    let made = here.create_api_key(new).await.unwrap();
    let who = there.verify(&made.key).await.unwrap();
    let mut watch = watch(&there, &who);
    here.revoke_api_key(&made.id).await.unwrap();
    assert_eq!(heard(&mut watch).await, Revocation::Subject(who.subject.clone()));
    assert_eq!(there.revocations().is_revoked(&who).await, Ok(true));
}
