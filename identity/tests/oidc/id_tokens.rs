//! ID tokens: honest ones are taken, each lie is found out by the check that is there for it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{
    Clock, KeySet,
    oidc::{
        Failed,
        id_token::{Expected, Verified, verify},
        logins,
    },
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::hostile_issuer::HostileIssuer;

const CLIENT: &str = "subtide";
const NONCE: &str = "nonce-1";

struct Bench {
    issuer: HostileIssuer,
    keys: KeySet,
    clock: Clock,
}

impl Bench {
    async fn new() -> Self {
        let (issuer, clock) = (HostileIssuer::start().await, Clock::default());
        let keys = KeySet::of_issuer(&issuer.issuer(), clock.clone()).expect("a loopback issuer");
        Self { issuer, keys, clock }
    }

    fn claims(&self) -> Value {
        self.issuer.claims(CLIENT, NONCE, self.clock.now())
    }

    fn with(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[claim] = value;
        self.issuer.honest(&claims)
    }

    fn without(&self, claim: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().and_then(|claims| claims.remove(claim)).expect("a claim to leave out");
        self.issuer.honest(&claims)
    }

    fn with_header(&self, member: &str, value: Value) -> String {
        let mut header = self.issuer.header();
        header[member] = value;
        self.issuer.sign(&header, &self.claims())
    }

    async fn verify(&self, token: &str) -> Result<Verified, Failed> {
        let issuer = self.issuer.issuer();
        let expected = Expected { issuer: &issuer, client_id: CLIENT, nonce_hash: &logins::hash(NONCE) };
        verify(token, &self.keys, expected, &self.clock).await
    }
}

fn encoded(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

#[tokio::test]
async fn an_honest_token_is_taken() {
    let bench = Bench::new().await;
    let verified = bench.verify(&bench.issuer.honest(&bench.claims())).await.expect("an honest token");
    assert_eq!(verified.who.issuer, bench.issuer.issuer());
    assert_eq!(verified.who.subject, "person-1");
    assert_eq!(verified.who.verified_email.as_deref(), Some("ann@example.com"));
    assert_eq!(verified.who.name.as_deref(), Some("Ann Example"));
    let now = bench.clock.now();
    let good = [
        ("one of a list", bench.with("aud", json!([CLIENT]))),
        ("azp is ours", bench.with("azp", json!(CLIENT))),
        ("ended, within the leeway", bench.with("exp", json!(now - 25))),
        ("a clock that is fast", bench.with("iat", json!(now + 25))),
        ("ten minutes old", bench.with("iat", json!(now - 600))),
        ("a date with a fraction", bench.with("exp", json!((now + 300) as f64 + 0.5))),
        ("without typ", bench.issuer.sign(&json!({"alg": "RS256", "kid": bench.issuer.kid()}), &bench.claims())),
    ];
    for (what, token) in good {
        assert!(bench.verify(&token).await.is_ok(), "{what}: {:?}", bench.verify(&token).await);
    }
    let mut shared = bench.claims();
    (shared["aud"], shared["azp"]) = (json!(["other", CLIENT]), json!(CLIENT));
    assert!(bench.verify(&bench.issuer.honest(&shared)).await.is_ok());
}

#[tokio::test]
async fn forged_signatures_and_headers_are_refused() {
    let bench = Bench::new().await;
    let (kid, claims, honest) = (bench.issuer.kid(), bench.claims(), bench.issuer.honest(&bench.claims()));
    let none = |alg: &str| format!("{}.", encoded(&json!({"alg": alg, "kid": kid, "typ": "JWT"}), &claims));
    let modulus = bench.issuer.public_key()["n"].as_str().expect("a modulus").to_owned();
    let hs256 = |secret: &[u8]| {
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(secret)).expect("HS256 signs")
    };
    let stranger = HostileIssuer::start().await;
    let (message, signature) = honest.rsplit_once('.').expect("a signature");
    let swapped = {
        let (mut other, header) = (claims.clone(), json!({"alg": "RS256", "kid": kid, "typ": "JWT"}));
        other["sub"] = json!("person-2");
        format!("{}.{signature}", encoded(&header, &other))
    };
    let cases = [
        ("alg none", none("none"), "id_token_header"),
        ("alg None", none("None"), "id_token_header"),
        ("RS256 without a signature", none("RS256"), "id_token_signature"),
        ("HS256 with the public key", hs256(bench.issuer.public_key().to_string().as_bytes()), "id_token_algorithm"),
        ("HS256 with the modulus", hs256(modulus.as_bytes()), "id_token_algorithm"),
        ("HS256 with nothing", hs256(b""), "id_token_algorithm"),
        ("another's key", stranger.sign(&bench.issuer.header(), &claims), "id_token_signature"),
        ("RS384 in the header", bench.with_header("alg", json!("RS384")), "id_token_algorithm"),
        ("ES256 in the header", bench.with_header("alg", json!("ES256")), "id_token_algorithm"),
        ("PS256 in the header", bench.with_header("alg", json!("PS256")), "id_token_algorithm"),
        ("an unknown kid", bench.with_header("kid", json!("key-2")), "id_token_unknown_key"),
        ("a kid of a key of no use", bench.with_header("kid", json!("odd")), "id_token_unknown_key"),
        ("an empty kid", bench.with_header("kid", json!("")), "id_token_unknown_key"),
        ("no kid", bench.issuer.sign(&json!({"alg": "RS256"}), &claims), "id_token_unknown_key"),
        ("jku", bench.with_header("jku", json!(stranger.issuer() + "/keys")), "id_token_header"),
        ("x5u", bench.with_header("x5u", json!(stranger.issuer() + "/keys")), "id_token_header"),
        ("x5c", bench.with_header("x5c", json!(["MIIB"])), "id_token_header"),
        (
            "jwk",
            stranger.sign(&json!({"alg": "RS256", "kid": kid, "jwk": stranger.public_key()}), &claims),
            "id_token_header",
        ),
        ("crit", bench.with_header("crit", json!(["b64"])), "id_token_header"),
        ("zip", bench.with_header("zip", json!("DEF")), "id_token_header"),
        ("an access token", bench.with_header("typ", json!("at+jwt")), "id_token_type"),
        ("a logout token", bench.with_header("typ", json!("logout+jwt")), "id_token_type"),
        ("a cut signature", honest[..honest.len() - 4].to_owned(), "id_token_signature"),
        ("no signature at all", message.to_owned(), "id_token_header"),
        ("other claims", swapped, "id_token_signature"),
        ("nothing", String::new(), "id_token_header"),
        ("no token", "hello".to_owned(), "id_token_header"),
        ("dots", "...".to_owned(), "id_token_header"),
        ("too large", bench.with("name", json!("x".repeat(20_000))), "id_token_too_large"),
    ];
    refused(&bench, &cases).await;
}

#[tokio::test]
async fn claims_that_do_not_hold_are_refused() {
    let bench = Bench::new().await;
    let now = bench.clock.now();
    let twice = bench.claims().to_string().replacen('{', "{\"sub\":\"person-0\",", 1);
    let twice = bench.issuer.sign_text(&bench.issuer.header().to_string(), &twice);
    let mut foreign_party = bench.claims();
    (foreign_party["aud"], foreign_party["azp"]) = (json!([CLIENT, "other"]), json!("other"));
    let mut cases = vec![
        ("another issuer", bench.with("iss", json!("https://accounts.google.com")), "id_token_issuer"),
        ("a slash more", bench.with("iss", json!(bench.issuer.issuer() + "/")), "id_token_issuer"),
        ("Google's short name", bench.with("iss", json!("accounts.google.com")), "id_token_issuer"),
        ("another client", bench.with("aud", json!("other")), "id_token_audience"),
        ("our client's beginning", bench.with("aud", json!("subtid")), "id_token_audience"),
        ("another client in a list", bench.with("aud", json!(["other"])), "id_token_audience"),
        ("nobody", bench.with("aud", json!([])), "id_token_audience"),
        ("two, and no azp", bench.with("aud", json!([CLIENT, "other"])), "id_token_audience"),
        ("two, azp is the other", bench.issuer.honest(&foreign_party), "id_token_audience"),
        ("azp is another", bench.with("azp", json!("other")), "id_token_authorised_party"),
        ("ended", bench.with("exp", json!(now - 31)), "id_token_expired"),
        ("ended in 1970", bench.with("exp", json!(0)), "id_token_expired"),
        ("from the future", bench.with("iat", json!(now + 40)), "id_token_future"),
        ("not yet good", bench.with("nbf", json!(now + 40)), "id_token_future"),
        ("eleven minutes old", bench.with("iat", json!(now - 660)), "id_token_old"),
        ("another nonce", bench.with("nonce", json!("nonce-2")), "id_token_nonce"),
        ("an empty nonce", bench.with("nonce", json!("")), "id_token_nonce"),
        ("nobody's subject", bench.with("sub", json!("")), "id_token_subject"),
        ("a subject without end", bench.with("sub", json!("x".repeat(256))), "id_token_subject"),
        ("a subject that is no ASCII", bench.with("sub", json!("pérson")), "id_token_subject"),
        ("a date in words", bench.with("exp", json!("tomorrow")), "id_token_claims"),
        ("a date before time", bench.with("exp", json!(-1)), "id_token_claims"),
        ("a date without end", bench.with("exp", json!(1e300)), "id_token_claims"),
        ("a number for a subject", bench.with("sub", json!(1)), "id_token_claims"),
        ("two subjects", twice, "id_token_claims"),
        ("no claims", bench.issuer.sign(&bench.issuer.header(), &json!([])), "id_token_claims"),
        ("no JSON", bench.issuer.sign_text(&bench.issuer.header().to_string(), "hello"), "id_token_claims"),
    ];
    for claim in ["iss", "aud", "sub", "exp", "iat", "nonce"] {
        cases.push(("a claim less", bench.without(claim), "id_token_claims"));
    }
    refused(&bench, &cases).await;
    let good = bench.issuer.honest(&bench.claims());
    bench.clock.advance(Duration::from_secs(340));
    assert_eq!(bench.verify(&good).await, Err(Failed::Token("id_token_expired")), "good once, and ended by now");
}

/// Every one, with its word.
async fn refused(bench: &Bench, cases: &[(&str, String, &'static str)]) {
    let mut wrong = Vec::new();
    for (what, token, word) in cases {
        let outcome = bench.verify(token).await.map(|_| ());
        if outcome != Err(Failed::Token(word)) {
            wrong.push(format!("{what}: {outcome:?}, not {word}"));
        }
    }
    assert!(wrong.is_empty(), "of {}:\n  {}", cases.len(), wrong.join("\n  "));
    println!("FIGURE bad_id_tokens_refused {}", cases.len());
}

#[tokio::test]
async fn an_address_counts_only_where_the_provider_verified_it() {
    let bench = Bench::new().await;
    let mut text = bench.claims();
    text["email_verified"] = json!("true");
    let email = async |token: String| bench.verify(&token).await.expect("an honest token").who.verified_email;
    assert_eq!(email(bench.issuer.honest(&text)).await.as_deref(), Some("ann@example.com"));
    for unverified in [
        bench.with("email_verified", json!(false)),
        bench.with("email_verified", json!("false")),
        bench.with("email_verified", json!("yes")),
        bench.without("email_verified"),
        bench.without("email"),
        bench.with("email", json!("no address")),
        bench.with("email", json!("ann@exam\nple.com")),
    ] {
        assert_eq!(email(unverified).await, None);
    }
}
