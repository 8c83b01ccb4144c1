//! What is shown at the door: the good, and everything else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{AUDIENCE, House, PAGE, SHARED_SECRET, now};

/// One thing to show.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

fn shown(name: impl Into<String>, path: &str, headers: &[(&'static str, String)]) -> Shown {
    Shown { name: name.into(), path: path.to_owned(), headers: headers.to_vec() }
}

fn bearer(name: impl Into<String>, token: &str) -> Shown {
    shown(name, "/v1/stream", &[("Authorization", format!("Bearer {token}"))])
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with this header, signed with HMAC and this secret.
fn hmac(header: &Value, claims: &Value, secret: &[u8], algorithm: Algorithm) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn hs256(claims: &Value) -> String {
    hmac(&json!({"alg": "HS256", "typ": "JWT"}), claims, SHARED_SECRET.as_bytes(), Algorithm::HS256)
}

fn claims(house: &House) -> Value {
    json!({"iss": house.issuer.issuer(), "aud": AUDIENCE, "sub": "eva", "iat": now(), "exp": now() + 300})
}

/// A good token of the trusted issuer's, signed with the key of this name.
pub(super) fn external(house: &House, kid: &str) -> String {
    house.issuer.sign(&json!({"alg": "RS256", "kid": kid, "typ": "JWT"}), &claims(house))
}

/// `claims` with some changed; `null` takes one away.
fn with(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// Posts to the gateway's ticket window.
async fn ticket(house: &House, token: &str, origin: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", house.ports[0])).await.unwrap();
    let request = format!(
        "POST /v1/ticket HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nOrigin: {origin}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        house.ports[0]
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body = &body[body.find('{').unwrap_or_else(|| panic!("{answer}"))..=body.rfind('}').unwrap()];
    let ticket = serde_json::from_str::<Value>(body).unwrap();
    ticket["ticket"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn page(name: &str, ticket: &str, origin: &str) -> Shown {
    let offer = format!("subtide.v1, ticket.{ticket}");
    shown(name, "/v1/stream", &[("Origin", origin.to_owned()), ("Sec-WebSocket-Protocol", offer)])
}

/// What must get in.
pub(super) async fn good(house: &House) -> Vec<Shown> {
    let tokens = house.sign_in("ana").await;
    vec![
        bearer("our token", &tokens.access_token),
        bearer("the trusted issuer's", &external(house, &house.issuer.kid())),
        bearer("a shared secret's", &hs256(&json!({"user_id": "fay", "exp": now() + 60}))),
        page("a ticket", &ticket(house, &tokens.access_token, PAGE).await, PAGE),
    ]
}

/// What must not.
pub(super) async fn bad(house: &House) -> Vec<Shown> {
    let tokens = house.sign_in("ana").await;
    let mut bad = of_the_request(&tokens.access_token);
    bad.extend(of_our_tokens(house, &tokens.access_token, &tokens.refresh_token).await);
    bad.extend(of_the_shared_secret());
    bad.extend(of_the_issuer(house));
    bad.extend(of_tickets(house, &tokens.access_token).await);
    bad
}

fn of_the_request(good: &str) -> Vec<Shown> {
    let header = |name: &str, value: &str| shown(name, "/v1/stream", &[("Authorization", value.to_owned())]);
    let query = |name: &str, path: &str| shown(name, path, &[("Authorization", format!("Bearer {good}"))]);
    vec![
        shown("nothing", "/v1/stream", &[]),
        header("an empty header", ""),
        header("no token", "Bearer"),
        header("an empty token", "Bearer "),
        header("another scheme", "Basic YW5hOnNlY3JldA=="),
        header("a token without scheme", good),
        header("two tokens", &format!("Bearer {good}, Bearer {good}")),
        header("a space within", &format!("Bearer {} {}", &good[..20], &good[20..])),
        header("not a token", "Bearer nonsense"),
        header("dots", "Bearer ..."),
        header("three empty parts", "Bearer .."),
        header("much too long", &format!("Bearer {}", "a".repeat(7000))),
        shown("a token in the URL", &format!("/v1/stream?token={good}"), &[]),
        shown("an access token in the URL", &format!("/v1/stream?access_token={good}"), &[]),
        query("a token in the URL beside a good one", "/v1/stream?token=x"),
        shown("a ticket in the URL", "/v1/stream?ticket=x", &[]),
        shown(
            "a foreign page",
            "/v1/stream",
            &[("Authorization", format!("Bearer {good}")), ("Origin", "https://evil.example".to_owned())],
        ),
        shown(
            "no page's origin",
            "/v1/stream",
            &[("Authorization", format!("Bearer {good}")), ("Origin", "null".to_owned())],
        ),
        shown(
            "an origin that begins like a good one",
            "/v1/stream",
            &[("Authorization", format!("Bearer {good}")), ("Origin", format!("{PAGE}.evil.example"))],
        ),
        shown(
            "two headers",
            "/v1/stream",
            &[("Authorization", format!("Bearer {good}x")), ("Authorization", format!("Bearer {good}"))],
        ),
        shown("a cookie", "/v1/stream", &[("Cookie", format!("token={good}"))]),
    ]
}

async fn of_our_tokens(house: &House, good: &str, refresh: &str) -> Vec<Shown> {
    let parts: Vec<&str> = good.split('.').collect();
    let decode = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (header, claims) = (decode(parts[0]), decode(parts[1]));
    let rest = |header: &Value, claims: &Value| format!("{}.{}.{}", encode(header), encode(claims), parts[2]);
    let keys = house.people.jwks().await.unwrap();
    let public = keys["keys"][0]["x"].as_str().unwrap().to_owned();
    let changed =
        |name: &str, changes: &Value| bearer(format!("ours, {name}"), &rest(&header, &with(&claims, changes)));
    let headed = |name: &str, changes: &Value| bearer(format!("ours, {name}"), &rest(&with(&header, changes), &claims));
    let hs = with(&header, &json!({"alg": "HS256"}));
    let mut flipped = parts[2].to_owned();
    let last = if flipped.starts_with('A') { "B" } else { "A" };
    flipped.replace_range(..1, last);
    vec![
        bearer("ours, a flipped signature", &format!("{}.{}.{flipped}", parts[0], parts[1])),
        bearer("ours, no signature", &format!("{}.{}.", parts[0], parts[1])),
        bearer("ours, two parts", &format!("{}.{}", parts[0], parts[1])),
        bearer("ours, four parts", &format!("{good}.{}", parts[2])),
        changed("somebody else", &json!({"sub": "00000000-0000-4000-8000-000000000000"})),
        changed("more scopes", &json!({"scope": "stream admin batch"})),
        changed("another sign-in", &json!({"sid": "00000000-0000-4000-8000-000000000000"})),
        changed("longer good", &json!({"exp": now() + 86_400})),
        headed("unsigned", &json!({"alg": "none"})),
        headed("another key", &json!({"kid": "another"})),
        headed("no key", &json!({"kid": null})),
        headed("another type", &json!({"typ": "JWT"})),
        bearer("ours, HMAC with the public key", &hmac(&hs, &claims, public.as_bytes(), Algorithm::HS256)),
        bearer(
            "ours, HMAC with the public key's bytes",
            &hmac(&hs, &claims, &URL_SAFE_NO_PAD.decode(&public).unwrap(), Algorithm::HS256),
        ),
        bearer(
            "ours, signed by the trusted issuer",
            &house.issuer.sign(&with(&header, &json!({"alg": "RS256"})), &claims),
        ),
        bearer("a refresh token", refresh),
        bearer("an API key nobody made", &format!("stk_{}_{}", "0".repeat(16), "0".repeat(43))),
        bearer("a piece of an API key", "stk_"),
    ]
}

fn of_the_shared_secret() -> Vec<Shown> {
    let good = json!({"sub": "fay", "exp": now() + 60});
    let changed = |name: &str, changes: &Value| bearer(format!("shared, {name}"), &hs256(&with(&good, changes)));
    let headed = |name: &str, header: Value, algorithm: Algorithm| {
        bearer(format!("shared, {name}"), &hmac(&header, &good, SHARED_SECRET.as_bytes(), algorithm))
    };
    vec![
        bearer(
            "shared, another secret",
            &hmac(&json!({"alg": "HS256"}), &good, b"another secret of more than thirty-two bytes", Algorithm::HS256),
        ),
        bearer("shared, unsigned", &format!("{}.{}.", encode(&json!({"alg": "none"})), encode(&good))),
        headed("HS384", json!({"alg": "HS384"}), Algorithm::HS384),
        headed("HS512", json!({"alg": "HS512"}), Algorithm::HS512),
        headed("said to be RS256", json!({"alg": "RS256"}), Algorithm::HS256),
        headed("a critical header", json!({"alg": "HS256", "crit": ["exp"]}), Algorithm::HS256),
        changed("no end", &json!({"exp": null})),
        changed("expired", &json!({"exp": now() - 60})),
        changed("an end that is no number", &json!({"exp": "tomorrow"})),
        changed("not yet", &json!({"nbf": now() + 300})),
        changed("nobody", &json!({"sub": null})),
        changed("an empty somebody", &json!({"sub": ""})),
        changed("a somebody that is no text", &json!({"sub": 7})),
    ]
}

fn of_the_issuer(house: &House) -> Vec<Shown> {
    let good = claims(house);
    let header = house.issuer.header();
    let changed =
        |name: &str, changes: &Value| bearer(format!("issuer, {name}"), &house.issuer.honest(&with(&good, changes)));
    let headed = |name: &str, changes: &Value| {
        bearer(format!("issuer, {name}"), &house.issuer.sign(&with(&header, changes), &good))
    };
    let key = house.issuer.public_key();
    let public = key["n"].as_str().unwrap();
    vec![
        changed("another issuer", &json!({"iss": "https://evil.example"})),
        changed("no issuer", &json!({"iss": null})),
        changed("another audience", &json!({"aud": "somebody-else"})),
        changed("no audience", &json!({"aud": null})),
        changed("no end", &json!({"exp": null})),
        changed("expired", &json!({"exp": now() - 60, "iat": now() - 360})),
        changed("not yet", &json!({"nbf": now() + 300})),
        changed("nobody", &json!({"sub": null})),
        changed("from the future", &json!({"iat": now() + 600, "exp": now() + 900})),
        headed("an unknown key", &json!({"kid": "unknown"})),
        headed("no key", &json!({"kid": null})),
        headed("unsigned", &json!({"alg": "none"})),
        headed("RS512", &json!({"alg": "RS512"})),
        headed("a key of its own", &json!({"jwk": key})),
        headed("a key from elsewhere", &json!({"jku": "https://evil.example/keys"})),
        headed("a certificate from elsewhere", &json!({"x5u": "https://evil.example/cert"})),
        headed("a critical header", &json!({"crit": ["b64"], "b64": false})),
        bearer(
            "issuer, HMAC with the public key",
            &hmac(&with(&header, &json!({"alg": "HS256"})), &good, public.as_bytes(), Algorithm::HS256),
        ),
        bearer("issuer, claims that are no JSON", &house.issuer.sign_text(&header.to_string(), "{\"sub\":")),
        bearer("issuer, a header that is no JSON", &house.issuer.sign_text("{", &good.to_string())),
    ]
}

async fn of_tickets(house: &House, token: &str) -> Vec<Shown> {
    let used = ticket(house, token, PAGE).await;
    let shown_once = page("a ticket", &used, PAGE);
    let (status, head) = house.handshake(&shown_once.path, &shown_once.headers).await;
    assert_eq!(status, 101, "{head}");
    let of_another_page = ticket(house, token, PAGE).await;
    let without_page = ticket(house, token, PAGE).await;
    let offer = format!("subtide.v1, ticket.{without_page}");
    let alone = ticket(house, token, PAGE).await;
    vec![
        page("a ticket used before", &used, PAGE),
        page("a ticket of another page", &of_another_page, &format!("http://127.0.0.1:{}", house.ports[0])),
        page("a ticket nobody issued", &URL_SAFE_NO_PAD.encode([7; 32]), PAGE),
        page("an empty ticket", "", PAGE),
        page("a token as a ticket", token, PAGE),
        shown("a ticket without a page", "/v1/stream", &[("Sec-WebSocket-Protocol", offer)]),
        shown(
            "a ticket without the protocol",
            "/v1/stream",
            &[("Origin", PAGE.to_owned()), ("Sec-WebSocket-Protocol", format!("ticket.{alone}"))],
        ),
    ]
}
