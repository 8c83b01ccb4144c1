//! The life of signing keys.

use serde_json::Value;

use super::{ADDRESS, Place, ana};
use crate::{
    People, Refused,
    signing::{KeyState, PUBLISH_BEFORE},
};

fn kid_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn token(people: &People) -> String {
    people.sign_in(&ana(), "laptop", ADDRESS).await.unwrap().access_token
}

async fn published(people: &People) -> Vec<String> {
    let jwks = people.jwks().await.unwrap();
    let kids = jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned());
    kids.collect()
}

#[tokio::test]
async fn the_key_set_holds_public_halves_alone() {
    let place = Place::new();
    let jwks = place.people().await.jwks().await.unwrap();
    let key = jwks["keys"][0].as_object().unwrap();
    let mut fields: Vec<_> = key.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["alg", "crv", "kid", "kty", "use", "x"]);
    let text = |name: &str| key[name].as_str().unwrap();
    assert_eq!((text("kty"), text("crv"), text("alg"), text("use")), ("OKP", "Ed25519", "EdDSA", "sig"));
    assert!(serde_json::from_value::<jsonwebtoken::jwk::JwkSet>(jwks.clone()).is_ok_and(|set| set.keys.len() == 1));
    assert_ne!(key["x"], Value::Null);
}

#[tokio::test]
async fn gateways_on_one_database_share_their_keys() {
    let place = Place::new();
    let (one, other) = tokio::join!(place.people(), place.people());
    assert_eq!(published(&one).await.len(), 1);
    let at_one = token(&one).await;
    other.verify(&at_one).await.unwrap();
    assert_eq!(kid_of(&at_one), kid_of(&token(&other).await));
    drop((one, other));
    place.people().await.verify(&at_one).await.unwrap();
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_verifies_after_it_did() {
    let place = Place::new();
    let people = place.people().await;
    let first = token(&people).await;
    let next = people.rotate_signing_key().await.unwrap();
    assert_eq!(people.rotate_signing_key().await.unwrap(), next, "one waits already");
    let states = async || people.signing_keys().await.unwrap().iter().map(|key| key.state).collect::<Vec<_>>();
    assert_eq!(states().await, [KeyState::Next, KeyState::Current]);
    place.pass(PUBLISH_BEFORE.as_secs() - 10);
    assert_eq!(kid_of(&token(&people).await), kid_of(&first), "it signs before every cache knows it");
    assert_eq!(published(&people).await.len(), 2);
    place.pass(20);
    let second = token(&people).await;
    assert_eq!((kid_of(&second), states().await), (next, vec![KeyState::Current, KeyState::Previous]));
    people.verify(&first).await.unwrap();
    place.pass(2 * 3600);
    assert_eq!(states().await, [KeyState::Current, KeyState::Retired]);
    assert_eq!(published(&people).await, [kid_of(&second)]);
    assert_eq!(people.verify(&first).await, Err(Refused::Invalid("it was signed with a key that is not ours")));
}

#[tokio::test]
async fn a_key_is_rotated_after_ninety_days_by_itself() {
    let place = Place::new();
    let people = place.people().await;
    let first = token(&people).await;
    place.pass(89 * 24 * 3600);
    assert_eq!(kid_of(&token(&people).await), kid_of(&first));
    assert_eq!(published(&people).await.len(), 1);
    place.pass(24 * 3600);
    let at_the_change = token(&people).await;
    assert_eq!((kid_of(&at_the_change), published(&people).await.len()), (kid_of(&first), 2));
    place.pass(PUBLISH_BEFORE.as_secs() + 1);
    assert_ne!(kid_of(&token(&people).await), kid_of(&first));
    people.verify(&at_the_change).await.unwrap();
}

#[tokio::test]
async fn a_dropped_key_is_out_of_use_here_at_once_and_elsewhere_within_a_minute() {
    let place = Place::new();
    let (here, there) = (place.people().await, place.people().await);
    let old = token(&here).await;
    there.verify(&old).await.unwrap();
    assert!(here.drop_signing_key(&kid_of(&old)).await.unwrap());
    assert!(matches!(here.verify(&old).await, Err(Refused::Invalid(_))));
    assert!(!published(&here).await.contains(&kid_of(&old)));
    let new = token(&here).await;
    assert_ne!(kid_of(&new), kid_of(&old));
    place.pass(60);
    assert!(matches!(there.verify(&old).await, Err(Refused::Invalid(_))));
    there.verify(&new).await.unwrap();
    assert!(!here.drop_signing_key(&kid_of(&old)).await.unwrap());
    assert!(!here.drop_signing_key("unknown").await.unwrap());
}

#[tokio::test]
async fn the_key_that_waits_takes_over_from_one_that_is_dropped() {
    let place = Place::new();
    let people = place.people().await;
    let old = token(&people).await;
    let next = people.rotate_signing_key().await.unwrap();
    assert!(people.drop_signing_key(&kid_of(&old)).await.unwrap());
    assert_eq!(kid_of(&token(&people).await), next);
    assert_eq!(people.signing_keys().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_new_key_of_another_gateway_is_found_by_its_name_but_not_for_the_asking() {
    let place = Place::new();
    let (here, there) = (place.people().await, place.people().await);
    let old = token(&here).await;
    here.drop_signing_key(&kid_of(&old)).await.unwrap();
    let new = token(&here).await;
    place.pass(10);
    there.verify(&new).await.unwrap();
    // Whoever makes names up does not make us ask the database each time.
    here.drop_signing_key(&kid_of(&new)).await.unwrap();
    let newest = token(&here).await;
    assert!(matches!(there.verify(&newest).await, Err(Refused::Invalid(_))), "read again at once");
    place.pass(10);
    there.verify(&newest).await.unwrap();
}

#[tokio::test]
async fn while_the_database_is_away_known_keys_go_on_for_a_while() {
    let place = Place::new();
    let people = place.people().await;
    let minted = people
        .mint(&crate::people::MintRequest {
            subject: "robot".to_owned(),
            scopes: "stream".parse().unwrap(),
            life: std::time::Duration::from_secs(3600),
        })
        .await
        .unwrap();
    people.inner.database.close().await;
    people.verify(&minted).await.unwrap();
    place.pass(120);
    people.verify(&minted).await.unwrap();
    place.pass(600);
    assert_eq!(people.verify(&minted).await, Err(Refused::Unavailable));
}

#[tokio::test]
async fn another_auth_secret_makes_a_key_of_its_own_and_still_verifies() {
    let place = Place::new();
    let old = token(&place.people().await).await;
    let mut config = place.config();
    config.auth_secret = Some("another secret of thirty-two bytes".into());
    let people = People::open(&config, Vec::new(), place.bus.clone(), place.clock.clone()).await.unwrap();
    people.verify(&old).await.unwrap();
    let new = token(&people).await;
    assert_ne!(kid_of(&new), kid_of(&old));
    let opens: Vec<_> = people.signing_keys().await.unwrap().iter().map(|key| key.opens).collect();
    assert_eq!(opens, [true, false]);
}
