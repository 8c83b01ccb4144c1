//! Bad credentials, one after the other, at a real gateway: all are refused before the 101, and none makes it stumble.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod house;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use house::{House, SECRET, Town, ask, hs256, now};
use identity::{ProviderIdentity, Scope, Scopes, api_keys::NewApiKey};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

const PAGE: &str = "https://app.example";
/// Handshakes of the measurement, and how many a second.
const HANDSHAKES: usize = 300;
const A_SECOND: u64 = 100;

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// HS256 tokens with the right secret that say something wrong.
fn bad_claims() -> Vec<(String, String)> {
    let (soon, past) = (now() + 600, now() - 3600);
    let claims = [
        ("no exp", json!({"sub": "ana"})),
        ("exp is over", json!({"sub": "ana", "exp": past})),
        ("exp is text", json!({"sub": "ana", "exp": soon.to_string()})),
        ("exp is null", json!({"sub": "ana", "exp": null})),
        ("exp is negative", json!({"sub": "ana", "exp": -1})),
        ("exp is a list", json!({"sub": "ana", "exp": [soon]})),
        ("nbf to come", json!({"sub": "ana", "exp": soon, "nbf": soon})),
        ("iat to come", json!({"sub": "ana", "exp": soon, "iat": soon})),
        ("nobody", json!({"exp": soon})),
        ("empty sub", json!({"sub": "", "exp": soon})),
        ("empty user_id", json!({"user_id": "", "exp": soon})),
        ("sub is a number", json!({"sub": 7, "exp": soon})),
        ("sub is a list", json!({"sub": ["ana"], "exp": soon})),
        ("sub is long", json!({"sub": "a".repeat(300), "exp": soon})),
        ("claims are a list", json!(["ana", soon])),
        ("claims are text", json!("ana")),
        ("claims are nothing", json!(null)),
        ("unknown scope", json!({"sub": "ana", "exp": soon, "scope": "root"})),
        ("no scope that helps", json!({"sub": "ana", "exp": soon, "scope": "batch"})),
    ];
    claims.into_iter().map(|(name, claims)| (name.to_owned(), hs256(&claims, SECRET))).collect()
}

/// Tokens whose signature or header is wrong. `ours` is a good one of ours, `key` the public key that goes with it.
fn forgeries(ours: &str, key: &Value) -> Vec<(String, String)> {
    let good = json!({"sub": "ana", "exp": now() + 600});
    let x = key["x"].as_str().unwrap();
    let [header, claims, signature] = ours.split('.').collect::<Vec<_>>().try_into().unwrap();
    let ed_header = decoded(header);
    let kid = ed_header["kid"].clone();
    let signed = |header: &Value| format!("{}.{}.{signature}", part(header), claims);
    let unsigned = |alg: &str| format!("{}.{}.", part(&json!({"alg": alg, "typ": "JWT"})), part(&good));
    let with =
        |alg: Algorithm, secret: &[u8]| encode(&Header::new(alg), &good, &EncodingKey::from_secret(secret)).unwrap();
    let mac = |header: Value, secret: &[u8]| {
        let body = format!("{}.{}", part(&header), part(&decoded(claims)));
        let key = EncodingKey::from_secret(secret);
        let tag = jsonwebtoken::crypto::sign(body.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{body}.{tag}")
    };
    let changed = |name: &str, value: Value| {
        let mut changed = decoded(claims);
        changed[name] = value;
        format!("{header}.{}.{signature}", part(&changed))
    };
    let header_with = |name: &str, value: Value| {
        let mut header = ed_header.clone();
        header[name] = value;
        signed(&header)
    };
    let theirs = with(Algorithm::HS256, SECRET.as_bytes());
    let (theirs_body, theirs_tag) = theirs.rsplit_once('.').unwrap();
    let list = [
        ("another secret", with(Algorithm::HS256, b"ffffffffffffffffffffffffffffffff")),
        ("an empty secret", with(Algorithm::HS256, b"")),
        ("HS384", with(Algorithm::HS384, SECRET.as_bytes())),
        ("HS512", with(Algorithm::HS512, SECRET.as_bytes())),
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg NONE", unsigned("NONE")),
        ("alg empty", unsigned("")),
        ("alg hs256", unsigned("hs256")),
        ("alg RS256 without a key", format!("{}.{}.{theirs_tag}", part(&json!({"alg": "RS256"})), part(&good))),
        ("signature removed", format!("{theirs_body}.")),
        ("signature cut", format!("{theirs_body}.{}", &theirs_tag[..20])),
        ("signature prolonged", format!("{theirs}AAAA")),
        ("signature of another token", format!("{theirs_body}.{signature}")),
        ("header and signature swapped", format!("{theirs_tag}.{theirs_body}")),
        ("EdDSA key as HS256 secret", mac(json!({"alg": "HS256", "kid": kid}), x.as_bytes())),
        ("EdDSA key bytes as HS256 secret", mac(json!({"alg": "HS256"}), &URL_SAFE_NO_PAD.decode(x).unwrap())),
        ("EdDSA header over HMAC", mac(ed_header.clone(), SECRET.as_bytes())),
        ("unknown kid", header_with("kid", json!("unknown"))),
        ("kid is a path", header_with("kid", json!("../../../../dev/null"))),
        ("kid is a question to a database", header_with("kid", json!("' OR '1'='1"))),
        ("kid is a number", header_with("kid", json!(7))),
        ("kid is long", header_with("kid", json!("k".repeat(2000)))),
        ("no kid", signed(&json!({"alg": "EdDSA", "typ": "at+jwt"}))),
        ("jku", header_with("jku", json!("https://evil.example/keys"))),
        ("x5u", header_with("x5u", json!("https://evil.example/cert"))),
        ("jwk", header_with("jwk", key.clone())),
        ("crit", header_with("crit", json!(["exp"]))),
        ("typ JWT", header_with("typ", json!("JWT"))),
        ("typ of an ID token", header_with("typ", json!("id+jwt"))),
        ("more scope", changed("scope", json!("stream admin"))),
        ("longer life", changed("exp", json!(now() + 100_000))),
        ("another sub", changed("sub", json!("bo"))),
        ("another aud", changed("aud", json!("everybody"))),
        ("another iss", changed("iss", json!("https://evil.example"))),
        ("another sid", changed("sid", json!("0"))),
    ];
    list.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

/// What is no token at all.
fn nonsense(key: &str) -> Vec<(String, String)> {
    let (id, _) = key.rsplit_once('_').unwrap();
    let list = [
        ("one part", "abc".to_owned()),
        ("two parts", "a.b".to_owned()),
        ("four parts", "a.b.c.d".to_owned()),
        ("five parts", "a.b.c.d.e".to_owned()),
        ("empty parts", "..".to_owned()),
        ("not base64", "!!.??.**".to_owned()),
        ("not JSON", "YWJj.YWJj.YWJj".to_owned()),
        ("braces", "e30.e30.e30".to_owned()),
        ("five kibibytes", "a".repeat(5 * 1024)),
        ("a refresh token", format!("srt_{}", "a".repeat(43))),
        ("an unknown API key", format!("stk_{}_{}", "0".repeat(12), "a".repeat(43))),
        ("an API key without a secret", format!("{id}_")),
        ("an API key with another secret", format!("{id}_{}", "a".repeat(43))),
        ("an API key in capitals", key.to_uppercase()),
        ("the prefix of an API key", "stk_".to_owned()),
    ];
    list.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

/// Credentials that were good once, or are good for something else.
async fn spent(town: &Town) -> Vec<(String, String)> {
    let who = |subject: &str| ProviderIdentity {
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
        verified_email: None,
        name: None,
    };
    let people = &town.people;
    let signed_out = people.sign_in(&who("1"), "test", "192.0.2.1").await.unwrap();
    people.sign_out(&signed_out.refresh_token).await.unwrap();
    let disabled = people.sign_in(&who("2"), "test", "192.0.2.1").await.unwrap();
    people.disable(&disabled.person.id).await.unwrap();
    let reused = people.sign_in(&who("3"), "test", "192.0.2.1").await.unwrap();
    let second = people.refresh(&reused.refresh_token, "192.0.2.1").await.unwrap();
    people.refresh(&second.refresh_token, "192.0.2.1").await.unwrap();
    people.refresh(&reused.refresh_token, "192.0.2.1").await.unwrap_err();
    let key = make_key(town).await;
    people.revoke_api_key(key.split('_').nth(1).unwrap()).await.unwrap();
    vec![
        ("signed out".to_owned(), signed_out.access_token),
        ("disabled".to_owned(), disabled.access_token),
        ("refresh token used twice".to_owned(), second.access_token),
        ("revoked API key".to_owned(), key),
        ("scope admin".to_owned(), town.token("operator", &[Scope::Admin]).await),
        ("scope batch".to_owned(), town.token("machine", &[Scope::Batch]).await),
    ]
}

async fn make_key(town: &Town) -> String {
    let scopes = Scopes::of([Scope::Stream]);
    let new = NewApiKey { label: "test".to_owned(), owner: "test".to_owned(), scopes, expires: None };
    town.people.create_api_key(new).await.unwrap().key
}

/// Headers and addresses that are wrong around a good token.
async fn wrong_places(gateway: &House, good: &str) -> Vec<(String, String, Vec<(String, String)>)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let bearer = pair("Authorization", &format!("Bearer {good}"));
    let mut cases = Vec::new();
    let mut add = |name: &str, path: &str, headers: Vec<(String, String)>| {
        cases.push((name.to_owned(), path.to_owned(), headers));
    };
    let stream = "/v1/stream";
    for (name, value) in [
        ("Basic", format!("Basic {good}")),
        ("no scheme", good.to_owned()),
        ("scheme alone", "Bearer".to_owned()),
        ("nothing after the scheme", "Bearer ".to_owned()),
        ("two tokens", format!("Bearer {good} {good}")),
        ("token in quotes", format!("Bearer \"{good}\"")),
        ("token and more", format!("Bearer {good}, Basic abc")),
    ] {
        add(name, stream, vec![pair("Authorization", &value)]);
    }
    add("two headers", stream, vec![bearer.clone(), bearer.clone()]);
    add("cookie", stream, vec![pair("Cookie", &format!("access_token={good}"))]);
    add("another header", stream, vec![pair("X-API-Key", good)]);
    for query in ["token", "access_token", "Access_Token", "%74oken", "a=b&token", "ticket", "api_key"] {
        add(query, &format!("{stream}?{query}={good}"), vec![]);
        add(query, &format!("{stream}?{query}={good}"), vec![bearer.clone()]);
    }
    for origin in [
        "null",
        "https://evil.example",
        "http://app.example",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "https://sub.app.example",
        "https://APP.example/",
    ] {
        add(origin, stream, vec![bearer.clone(), pair("Origin", origin)]);
    }
    let headers = [("Authorization", bearer.1.as_str()), ("Origin", PAGE)];
    let ticket =
        ask(gateway.addr, "POST", "/v1/ticket", &headers, "").await.json()["ticket"].as_str().unwrap().to_owned();
    let offer = |offer: &str| pair("Sec-WebSocket-Protocol", offer);
    let page = pair("Origin", PAGE);
    for (name, protocols) in [
        ("ticket alone", format!("ticket.{ticket}")),
        ("two tickets", format!("subtide.v1, ticket.{ticket}, ticket.{ticket}")),
        ("empty ticket", "subtide.v1, ticket.".to_owned()),
        ("unknown ticket", format!("subtide.v1, ticket.{}", "A".repeat(43))),
        ("token as ticket", format!("subtide.v1, ticket.{good}")),
        ("token as protocol", format!("subtide.v1, {good}")),
    ] {
        add(name, stream, vec![offer(&protocols), page.clone()]);
    }
    let whole = offer(&format!("subtide.v1, ticket.{ticket}"));
    add("ticket of no page", stream, vec![whole.clone()]);
    add("ticket as Bearer", stream, vec![pair("Authorization", &format!("Bearer {ticket}"))]);
    add("ticket of another page", stream, vec![whole.clone(), pair("Origin", &format!("http://{}", gateway.addr))]);
    add("ticket tried before", stream, vec![whole, page]);
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_credential_is_refused_before_the_101() {
    let town = Town::new().await;
    let gateway = town
        .gateway(|config| {
            config.allowed_origins = vec![PAGE.to_owned()];
            config.door.connections_per_minute = 100_000;
        })
        .await;
    let good = town.token("ana", &[Scope::Stream]).await;
    let jwks = town.people.jwks().await.unwrap();
    let kid = decoded(good.split('.').next().unwrap())["kid"].clone();
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap();
    let mut bearers = bad_claims();
    bearers.extend(forgeries(&good, key));
    bearers.extend(nonsense(&make_key(&town).await));
    bearers.extend(spent(&town).await);
    let bearer = |token: String| vec![("Authorization".to_owned(), format!("Bearer {token}"))];
    let mut cases: Vec<_> =
        bearers.into_iter().map(|(name, token)| (name, "/v1/stream".to_owned(), bearer(token))).collect();
    cases.push(("nothing".to_owned(), "/v1/stream".to_owned(), vec![]));
    cases.extend(wrong_places(&gateway, &good).await);
    let mut let_in = Vec::new();
    for (name, path, headers) in &cases {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = gateway.knock(path, &headers).await;
        if ![400, 401, 403].contains(&answer.status) {
            let_in.push(format!("{name}: {}", answer.status));
            continue;
        }
        let text = format!("{} {:?}", answer.body, answer.headers);
        assert!(!headers.iter().any(|(_, value)| value.len() > 20 && text.contains(value)), "{name} is echoed: {text}");
    }
    println!("FIGURE bad_credentials {}", cases.len());
    println!("FIGURE bad_credentials_refused {}", cases.len() - let_in.len());
    println!("FIGURE bad_credentials_5xx {}", let_in.iter().filter(|case| case.contains(": 5")).count());
    assert!(let_in.is_empty() && cases.len() >= 60, "of {}: {let_in:?}", cases.len());
    let answer = gateway.knock("/v1/stream", &[("Authorization", &format!("Bearer {good}"))]).await;
    assert_eq!(answer.status, 101, "the good one is good: {answer:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_decided_quickly() {
    let town = Town::new().await;
    let gateway = town
        .gateway(|config| {
            config.door.connections_per_minute = 1_000_000;
            config.door.sessions_per_user = 100_000;
            config.max_sessions = 100_000;
        })
        .await;
    let bearer = format!("Bearer {}", town.token("ana", &[Scope::Stream]).await);
    let mut pace = interval(Duration::from_millis(1000 / A_SECOND));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut times = Vec::new();
    for n in 0..HANDSHAKES {
        pace.tick().await;
        let token = if n % 2 == 0 { bearer.as_str() } else { "Bearer not.a.token" };
        let asked = Instant::now();
        let answer = gateway.knock("/v1/stream", &[("Authorization", token)]).await;
        times.push(asked.elapsed());
        assert_eq!(answer.status, if n % 2 == 0 { 101 } else { 401 });
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!("FIGURE handshake_p50_ms {:.2}", at(0.5));
    println!("FIGURE handshake_p99_ms {:.2}", at(0.99));
    gateway.stop().await;
}
