//! Sign-ins at an issuer that lies: none gets in, and none breaks the server.

use std::time::Duration;

use serde_json::{Value, json};
use tests::hostile_issuer::HostileIssuer;

use super::desk::{CLIENT, Desk, Started};

/// What the issuer answers to a code.
type Lie = fn(&HostileIssuer, &Value, u64) -> String;

fn with(issuer: &HostileIssuer, claims: &Value, claim: &str, value: Value) -> String {
    let mut claims = claims.clone();
    claims[claim] = value;
    issuer.honest(&claims)
}

async fn finish(desk: &Desk, issuer: &HostileIssuer, lie: Lie) -> (u16, String) {
    let started = desk.start().await;
    let now = desk.clock.now();
    let claims = issuer.claims(CLIENT, &started.nonce, now);
    issuer.answers_with_id_token(&lie(issuer, &claims, now));
    outcome(desk, &started).await
}

async fn outcome(desk: &Desk, started: &Started) -> (u16, String) {
    let answer = desk.post("/auth/finish", &started.finish("code-1")).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn no_lie_of_an_issuer_lets_anybody_in() {
    let (desk, issuer) = Desk::hostile().await;
    let (status, body) = finish(&desk, &issuer, |issuer, claims, _| issuer.honest(claims)).await;
    assert_eq!(status, 200, "the honest one: {body}");
    let lies: [(&str, Lie); 16] = [
        ("nonce", |issuer, claims, _| with(issuer, claims, "nonce", json!("guess"))),
        ("issuer", |issuer, claims, _| with(issuer, claims, "iss", json!("https://accounts.google.com"))),
        ("audience", |issuer, claims, _| with(issuer, claims, "aud", json!("another"))),
        ("two audiences", |issuer, claims, _| with(issuer, claims, "aud", json!([CLIENT, "another"]))),
        ("authorised party", |issuer, claims, _| with(issuer, claims, "azp", json!("another"))),
        ("expired", |issuer, claims, now| with(issuer, claims, "exp", json!(now - 60))),
        ("from the future", |issuer, claims, now| with(issuer, claims, "iat", json!(now + 60))),
        ("old", |issuer, claims, now| with(issuer, claims, "iat", json!(now - 700))),
        ("no subject", |issuer, claims, _| with(issuer, claims, "sub", json!(null))),
        ("unknown key", |issuer, claims, _| issuer.sign(&json!({"alg": "RS256", "kid": "key-9"}), claims)),
        ("no key", |issuer, claims, _| issuer.sign(&json!({"alg": "RS256"}), claims)),
        ("alg none", |issuer, claims, _| {
            let signed = issuer.sign(&json!({"alg": "none", "kid": issuer.kid()}), claims);
            signed.rsplit_once('.').map(|(message, _)| format!("{message}.")).unwrap()
        }),
        ("HS256 with the public key", |issuer, claims, _| {
            let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
            header.kid = Some(issuer.kid());
            let secret = issuer.public_key()["n"].as_str().unwrap().to_owned();
            jsonwebtoken::encode(&header, claims, &jsonwebtoken::EncodingKey::from_secret(secret.as_bytes())).unwrap()
        }),
        ("a key of its own", |issuer, claims, _| {
            issuer.sign(&json!({"alg": "RS256", "kid": issuer.kid(), "jwk": issuer.public_key()}), claims)
        }),
        ("no token", |_, _, _| "not.a.token".to_owned()),
        ("nothing", |_, _, _| String::new()),
    ];
    for (what, lie) in &lies {
        let (status, body) = finish(&desk, &issuer, *lie).await;
        assert_eq!(status, 401, "{what}: {body}");
        assert!(
            body.contains("auth_error") && !body.contains("key-9") && !body.contains("another\""),
            "{what}: {body}"
        );
    }
    println!("FIGURE hostile_sign_ins_refused {}", lies.len());
}

#[tokio::test]
async fn a_rotated_key_of_the_provider_signs_people_in_after_one_fetch() {
    let (desk, issuer) = Desk::hostile().await;
    assert_eq!(finish(&desk, &issuer, |issuer, claims, _| issuer.honest(claims)).await.0, 200);
    desk.clock.advance(Duration::from_secs(61));
    issuer.rotate("key-2");
    for _ in 0..3 {
        assert_eq!(finish(&desk, &issuer, |issuer, claims, _| issuer.honest(claims)).await.0, 200);
    }
    assert_eq!((issuer.key_fetches(), issuer.discovery_fetches()), (2, 1));
}

#[tokio::test]
async fn a_provider_that_is_down_is_said_to_be_and_is_back_when_it_is() {
    let (desk, issuer) = Desk::hostile().await;
    let started = desk.start().await;
    issuer.set_down(true);
    let (status, body) = outcome(&desk, &started).await;
    assert_eq!(status, 503, "{body}");
    let answer = desk.post("/auth/finish", &started.finish("code-1")).await;
    assert_eq!(answer.status(), 401, "that sign-in is over");
    issuer.set_down(false);
    assert_eq!(finish(&desk, &issuer, |issuer, claims, _| issuer.honest(claims)).await.0, 200);
}

#[tokio::test]
async fn a_provider_that_does_not_know_us_is_our_own_fault() {
    let (desk, issuer) = Desk::hostile().await;
    let started = desk.start().await;
    issuer.answers_with(axum::http::StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}));
    let (status, body) = outcome(&desk, &started).await;
    assert_eq!(status, 500);
    assert!(body.contains("not set up correctly"), "{body}");
}
