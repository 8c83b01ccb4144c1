//! Access tokens of a trusted issuer, by its key set: rotation, made-up keys, an issuer that is away.

use std::time::Duration;

use identity::{Refused, Scopes, access::TrustedIssuer, oidc::jwks::trust};
use serde_json::{Value, json};
use tests::hostile_issuer::{HostileIssuer, MAX_AGE};

use super::desk::Desk;

async fn desk() -> (Desk, HostileIssuer) {
    let issuer = HostileIssuer::start().await;
    let scopes: Scopes = "stream".parse().unwrap();
    let trusted = TrustedIssuer { issuer: issuer.issuer(), audience: "captions".to_owned(), scopes, jwks_uri: None };
    let desk = Desk::without_provider(|clock| trust(&[trusted], clock).unwrap()).await;
    (desk, issuer)
}

fn token(desk: &Desk, issuer: &HostileIssuer) -> String {
    issuer.honest(&claims(desk, issuer))
}

fn claims(desk: &Desk, issuer: &HostileIssuer) -> Value {
    let now = desk.clock.now();
    json!({"iss": issuer.issuer(), "aud": "captions", "sub": "user-1", "iat": now, "exp": now + 600})
}

#[tokio::test]
async fn a_rotated_key_is_taken_after_exactly_one_fetch() {
    let (desk, issuer) = desk().await;
    assert!(desk.people.verify(&token(&desk, &issuer)).await.is_ok());
    desk.clock.advance(Duration::from_secs(61));
    issuer.rotate("key-2");
    let before = issuer.key_fetches();
    for _ in 0..100 {
        assert!(desk.people.verify(&token(&desk, &issuer)).await.is_ok());
    }
    let fetches = issuer.key_fetches() - before;
    println!("FIGURE jwks_fetches_after_rotation {fetches}");
    assert_eq!(fetches, 1);
}

#[tokio::test]
async fn ten_thousand_made_up_keys_cause_at_most_one_fetch_a_minute() {
    const MINUTES: u64 = 5;
    let (desk, issuer) = desk().await;
    assert!(desk.people.verify(&token(&desk, &issuer)).await.is_ok());
    let claims = claims(&desk, &issuer);
    let mut forged = 0;
    for i in 0..10_000_u64 {
        // One signature for all: it is the key that is not there.
        let token = issuer_less(&issuer, &format!("forged-{i}"), &claims);
        forged += u64::from(matches!(desk.people.verify(&token).await, Err(Refused::Invalid(_))));
        if i % 2_000 == 1_999 {
            desk.clock.advance(Duration::from_secs(60));
        }
    }
    let fetches = issuer.key_fetches();
    println!("FIGURE jwks_fetches_per_minute_for_unknown_keys {}", fetches as f64 / MINUTES as f64);
    assert_eq!(forged, 10_000);
    assert!((2..=MINUTES).contains(&fetches), "{fetches} fetches in {MINUTES} minutes");
}

/// A token that names `kid`, with a signature of nobody: signing ten thousand would take a minute.
fn issuer_less(issuer: &HostileIssuer, kid: &str, claims: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = json!({"alg": "RS256", "kid": kid, "typ": "JWT"});
    assert_ne!(issuer.kid(), kid);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&header), part(claims), URL_SAFE_NO_PAD.encode([7_u8; 256]))
}

#[tokio::test]
async fn an_issuer_that_is_down_for_an_hour_breaks_nothing() {
    let (desk, issuer) = desk().await;
    assert!(desk.people.verify(&token(&desk, &issuer)).await.is_ok());
    desk.clock.advance(Duration::from_secs(MAX_AGE));
    issuer.set_down(true);
    let mut broken = 0;
    for _ in 0..60 {
        desk.clock.advance(Duration::from_secs(60));
        broken += u32::from(desk.people.verify(&token(&desk, &issuer)).await.is_err());
    }
    println!("FIGURE refused_while_issuer_down {broken}");
    assert_eq!(broken, 0);
}
