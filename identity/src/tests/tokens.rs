//! Which access tokens get in: ours and those signed with `JWT_SECRET`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{ADDRESS, EMAIL, JWT_SECRET, Place, ana};
use crate::{
    Refused, Scope,
    access::{EXTERNAL_PREFIX, MAX_TOKEN_BYTES},
};

fn hs256(algorithm: Algorithm, claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_person_who_signs_in_gets_a_token_that_gets_in() {
    let place = Place::new();
    let people = place.people().await;
    let tokens = people.sign_in(&ana(), "laptop", ADDRESS).await.unwrap();
    let who = people.verify(&tokens.access_token).await.unwrap();
    assert_eq!((&who.subject, who.scopes.has(Scope::Stream)), (&tokens.person.id, true));
    assert!(!who.scopes.has(Scope::Admin) && !who.scopes.has(Scope::Batch));
    assert_eq!(who.expires, Some(place.clock.now() + tokens.expires_in));
    let claims = claims_of(&tokens.access_token);
    assert_eq!(who.family.as_deref(), claims["sid"].as_str());
    assert!(!claims.to_string().contains(EMAIL), "an e-mail address in a token");
    let again = people.sign_in(&ana(), "phone", ADDRESS).await.unwrap();
    assert_eq!(again.person, tokens.person, "one person twice");
    let debug = format!("{tokens:?} {people:?}");
    assert!(!debug.contains(&tokens.access_token) && !debug.contains(&tokens.refresh_token) && !debug.contains(EMAIL));
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_a_leeway() {
    let place = Place::new();
    let people = place.people().await;
    let token = people.sign_in(&ana(), "laptop", ADDRESS).await.unwrap().access_token;
    place.pass(600 + 5);
    people.verify(&token).await.unwrap();
    place.pass(30);
    assert_eq!(people.verify(&token).await, Err(Refused::Expired));
}

#[tokio::test]
async fn of_our_own_tokens_every_claim_is_needed() {
    let place = Place::new();
    let people = place.people().await;
    let now = place.clock.now();
    let whole = json!({"iss": "subtide", "aud": "gateway", "sub": "somebody", "sid": "s", "jti": "j", "scope": "stream",
        "iat": now, "exp": now + 600});
    let keys = &people.inner.keys;
    people.verify(&keys.sign(&whole).await.unwrap()).await.unwrap();
    for claim in ["iss", "aud", "sub", "sid", "jti", "scope", "iat", "exp"] {
        let mut less = whole.clone();
        less.as_object_mut().unwrap().remove(claim);
        let refused = people.verify(&keys.sign(&less).await.unwrap()).await;
        assert!(matches!(refused, Err(Refused::Invalid(_))), "without {claim}: {refused:?}");
    }
    let wrong = [
        ("iss", json!("somebody else")),
        ("iss", json!(["subtide"])),
        ("aud", json!("another")),
        ("aud", json!([])),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sid", json!(null)),
        ("jti", json!("")),
        ("scope", json!("stream root")),
        ("scope", json!(["stream"])),
        ("iat", json!(now + 3600)),
        ("nbf", json!(now + 3600)),
        ("exp", json!("tomorrow")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("sub", json!("x".repeat(200))),
    ];
    for (claim, value) in wrong {
        let mut other = whole.clone();
        other[claim] = value.clone();
        let refused = people.verify(&keys.sign(&other).await.unwrap()).await;
        assert!(matches!(refused, Err(Refused::Invalid(_))), "{claim}={value}: {refused:?}");
    }
    let mut long_ago = whole.clone();
    long_ago["exp"] = json!(now - 31);
    assert_eq!(people.verify(&keys.sign(&long_ago).await.unwrap()).await, Err(Refused::Expired));
    let mut one_of_two = whole.clone();
    one_of_two["aud"] = json!(["another", "gateway"]);
    people.verify(&keys.sign(&one_of_two).await.unwrap()).await.unwrap();
}

/// The token with another header.
fn with_header(token: &str, header: &Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

#[tokio::test]
async fn tampered_tokens_stay_out() {
    let place = Place::new();
    let people = place.people().await;
    let token = people.sign_in(&ana(), "laptop", ADDRESS).await.unwrap().access_token;
    let jwks = people.jwks().await.unwrap();
    let (kid, x) = (jwks["keys"][0]["kid"].clone(), jwks["keys"][0]["x"].as_str().unwrap().to_owned());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let claims = claims_of(&token);
    let good = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid});
    let mut more_scope = claims.clone();
    more_scope["scope"] = json!("stream admin");
    let more_scope = URL_SAFE_NO_PAD.encode(more_scope.to_string());
    let header_of = |field: &str, value: Value| {
        let mut header = good.clone();
        header[field] = value;
        with_header(&token, &header)
    };
    // Signed with our public key as if it were a shared secret.
    let mut confused = Header::new(Algorithm::HS256);
    confused.kid = kid.as_str().map(str::to_owned);
    let public = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(&x).unwrap());
    let public_text = EncodingKey::from_secret(x.as_bytes());
    let bad = [
        header_of("alg", json!("none")),
        header_of("alg", json!("None")),
        header_of("alg", json!("HS256")),
        header_of("alg", json!("RS256")),
        header_of("alg", json!("ES512")),
        header_of("alg", json!(null)),
        header_of("kid", json!("0000000000000000")),
        header_of("kid", json!("")),
        header_of("kid", json!(null)),
        header_of("kid", json!("k".repeat(300))),
        header_of("typ", json!("JWT")),
        header_of("typ", json!(null)),
        header_of("jku", json!("https://evil.example/keys")),
        header_of("x5u", json!("https://evil.example/cert")),
        header_of("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
        header_of("x5c", json!([])),
        header_of("crit", json!(["exp"])),
        with_header(&token, &json!([])),
        format!("{signed}."),
        format!("{signed}.{}", "A".repeat(86)),
        format!("{}.{more_scope}.{signature}", token.split('.').next().unwrap()),
        format!("{token}."),
        format!(" {token}"),
        signed.to_owned(),
        format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap()),
        jsonwebtoken::encode(&confused, &claims, &public).unwrap(),
        jsonwebtoken::encode(&confused, &claims, &public_text).unwrap(),
        "not a token".to_owned(),
        "..".to_owned(),
        "é.é.é".to_owned(),
        String::new(),
        "a".repeat(MAX_TOKEN_BYTES + 1),
        format!("{token}{}", "A".repeat(MAX_TOKEN_BYTES)),
    ];
    for token in bad {
        let refused = people.verify(&token).await;
        assert!(matches!(refused, Err(Refused::Invalid(_))), "{token}: {refused:?}");
    }
    people.verify(&token).await.unwrap();
}

#[tokio::test]
async fn a_token_of_another_installation_stays_out() {
    let (here, there) = (Place::new(), Place::new());
    let token = there.people().await.sign_in(&ana(), "laptop", ADDRESS).await.unwrap().access_token;
    assert!(matches!(here.people().await.verify(&token).await, Err(Refused::Invalid(_))));
}

#[tokio::test]
async fn a_good_shared_secret_token_gets_in_by_sub_or_user_id() {
    let place = Place::new();
    let people = place.people().await;
    let exp = place.clock.now() + 600;
    let by_sub = people.verify(&hs256(Algorithm::HS256, &json!({"sub": EMAIL, "exp": exp}), JWT_SECRET)).await.unwrap();
    let claims = json!({"user_id": EMAIL, "exp": f64::from(u32::try_from(exp).unwrap()) + 0.5});
    let by_user_id = people.verify(&hs256(Algorithm::HS256, &claims, JWT_SECRET)).await.unwrap();
    assert_eq!(by_sub, by_user_id);
    assert!(by_sub.subject.starts_with(EXTERNAL_PREFIX) && by_sub.subject.len() == 26, "{}", by_sub.subject);
    assert!(by_sub.subject.chars().all(|c| c.is_ascii_alphanumeric() || ":_-".contains(c)), "{}", by_sub.subject);
    assert_eq!((by_sub.family, by_sub.expires, by_sub.scopes.to_string().as_str()), (None, Some(exp), "stream"));
    let other = people.verify(&hs256(Algorithm::HS256, &json!({"sub": "bo", "exp": exp}), JWT_SECRET)).await.unwrap();
    assert_ne!(other.subject, by_user_id.subject);
    let scope = json!({"sub": "bo", "exp": exp, "scope": "openid batch admin"});
    let narrowed = people.verify(&hs256(Algorithm::HS256, &scope, JWT_SECRET)).await.unwrap();
    assert_eq!(narrowed.scopes.to_string(), "batch");
}

#[tokio::test]
async fn bad_shared_secret_tokens_stay_out() {
    let place = Place::new();
    let people = place.people().await;
    let exp = place.clock.now() + 600;
    let bad = [
        hs256(Algorithm::HS256, &json!({"sub": "a", "exp": exp}), "ffffffffffffffffffffffffffffffff"),
        hs256(Algorithm::HS384, &json!({"sub": "a", "exp": exp}), JWT_SECRET),
        hs256(Algorithm::HS512, &json!({"sub": "a", "exp": exp}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"sub": "a"}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"sub": "a", "exp": 1000}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"sub": "a", "exp": exp, "nbf": exp}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"sub": "a", "exp": exp, "iat": exp}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"exp": exp}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"sub": "", "exp": exp}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"sub": "a".repeat(257), "exp": exp}), JWT_SECRET),
        hs256(Algorithm::HS256, &json!({"sub": ["a"], "exp": exp}), JWT_SECRET),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ.".to_owned(),
    ];
    for token in bad {
        let refused = people.verify(&token).await;
        assert!(matches!(refused, Err(Refused::Invalid(_) | Refused::Expired)), "{token}: {refused:?}");
    }
}

#[tokio::test]
async fn the_audience_of_a_shared_secret_is_checked_where_one_is_set_and_none_taken_without_one() {
    let place = Place::new();
    let mut config = place.config();
    let exp = place.clock.now() + 600;
    let plain = hs256(Algorithm::HS256, &json!({"sub": "a", "exp": exp}), JWT_SECRET);
    let meant = hs256(Algorithm::HS256, &json!({"sub": "a", "exp": exp, "aud": "captions"}), JWT_SECRET);
    config.shared_secret.as_mut().unwrap().audience = Some("captions".to_owned());
    let strict = crate::People::open(&config, Vec::new(), place.bus.clone(), place.clock.clone()).await.unwrap();
    assert!(matches!(strict.verify(&plain).await, Err(Refused::Invalid(_))));
    strict.verify(&meant).await.unwrap();
    config.shared_secret = None;
    let without = crate::People::open(&config, Vec::new(), place.bus.clone(), place.clock.clone()).await.unwrap();
    assert!(matches!(without.verify(&meant).await, Err(Refused::Invalid(_))));
}
