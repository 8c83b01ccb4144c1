//! Access tokens of trusted issuers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};

use super::Place;
use crate::{
    People, Refused, Scope, Scopes,
    access::{KeySource, Trust, TrustedIssuer, external_subject},
};

const ISSUER: &str = "https://backend.example";

/// An issuer with one key.
#[derive(Debug)]
struct Issuer {
    pair: Ed25519KeyPair,
    asked: AtomicUsize,
}

#[async_trait]
impl KeySource for Issuer {
    async fn key(&self, kid: &str) -> Result<(Algorithm, DecodingKey), Refused> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if kid != "one" {
            return Err(Refused::Invalid("no such key"));
        }
        Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(self.pair.public_key().as_ref())))
    }
}

impl Issuer {
    fn sign(&self, algorithm: Algorithm, kid: &str, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        let der = self.pair.to_pkcs8v1().unwrap();
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(der.as_ref())).unwrap()
    }
}

fn trust(issuer: &Arc<Issuer>, scopes: Scopes) -> Trust {
    let (name, audience) = (ISSUER.to_owned(), "captions".to_owned());
    Trust { issuer: TrustedIssuer { issuer: name, audience, scopes, jwks_uri: None }, keys: issuer.clone() }
}

async fn place(scopes: Scopes) -> (Place, Arc<Issuer>, People) {
    let place = Place::new();
    let issuer = Arc::new(Issuer { pair: Ed25519KeyPair::generate().unwrap(), asked: AtomicUsize::new(0) });
    let people = place.people_trusting(vec![trust(&issuer, scopes)]).await;
    (place, issuer, people)
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_gets_in_under_an_opaque_name() {
    let (place, issuer, people) = place(Scopes::of([Scope::Stream, Scope::Batch])).await;
    let exp = place.clock.now() + 60;
    let claims = json!({"iss": ISSUER, "aud": ["other", "captions"], "sub": "ana@example.com", "exp": exp});
    let who = people.verify(&issuer.sign(Algorithm::EdDSA, "one", &claims)).await.unwrap();
    assert_eq!(who.subject, external_subject(ISSUER, "ana@example.com"));
    assert_eq!((who.family, who.expires, who.scopes.to_string().as_str()), (None, Some(exp), "stream"));
    assert_ne!(external_subject(ISSUER, "ana"), external_subject("https://other.example", "ana"));
}

#[tokio::test]
async fn admin_is_given_only_where_the_issuer_may() {
    let claims =
        |exp: u64| json!({"iss": ISSUER, "aud": "captions", "sub": "a", "exp": exp, "scope": "admin stream x"});
    for (most, given) in [("stream batch", "stream"), ("stream admin", "stream admin"), ("batch", "")] {
        let (place, issuer, people) = place(most.parse().unwrap()).await;
        let token = issuer.sign(Algorithm::EdDSA, "one", &claims(place.clock.now() + 60));
        assert_eq!(people.verify(&token).await.unwrap().scopes.to_string(), given);
    }
}

#[tokio::test]
async fn what_a_trusted_issuer_did_not_sign_for_us_stays_out() {
    let (place, issuer, people) = place(Scopes::of([Scope::Stream])).await;
    let exp = place.clock.now() + 60;
    let good = json!({"iss": ISSUER, "aud": "captions", "sub": "a", "exp": exp});
    let other = Issuer { pair: Ed25519KeyPair::generate().unwrap(), asked: AtomicUsize::new(0) };
    let mut bad = vec![issuer.sign(Algorithm::EdDSA, "two", &good), other.sign(Algorithm::EdDSA, "one", &good)];
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("elsewhere")),
        ("aud", json!(null)),
        ("sub", json!("")),
        ("exp", json!(null)),
        ("iat", json!(exp)),
        // A name of ours in a token of theirs is tried with our keys.
        ("iss", json!("subtide")),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        bad.push(issuer.sign(Algorithm::EdDSA, "one", &claims));
    }
    for token in bad {
        let refused = people.verify(&token).await;
        assert!(matches!(refused, Err(Refused::Invalid(_))), "{token}: {refused:?}");
    }
    let asked = issuer.asked.load(Ordering::SeqCst);
    let evil = other.sign(Algorithm::EdDSA, "one", &json!({"iss": "https://evil.example", "exp": exp}));
    assert!(people.verify(&evil).await.is_err());
    assert_eq!(issuer.asked.load(Ordering::SeqCst), asked, "an issuer was asked about another's token");
}
