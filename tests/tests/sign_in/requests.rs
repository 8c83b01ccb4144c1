//! What the routes take and what they answer, whoever asks.

use gateway::http::sign_in::SignIn;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};
use reqwest::{Client, Response, header};
use serde_json::{Value, json};
use tests::oidc_provider::Browser;

use super::desk::{CLIENT, Desk, listener, serve};

async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: Value = answer.json().await.unwrap();
    assert!(!body["message"].as_str().unwrap().is_empty());
    (status, body["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn bodies_are_bounded_json_of_known_fields() {
    let (desk, _issuer) = Desk::hostile().await;
    let http = Client::new();
    for path in ["/auth/start", "/auth/finish", "/auth/refresh", "/auth/logout"] {
        let send = async |kind: &str, body: String| {
            let request = http.post(desk.url(path)).header(header::CONTENT_TYPE, kind).body(body);
            refusal(request.send().await.unwrap()).await
        };
        let bad = (400, "bad_message".to_owned());
        let canary = json!({"code_challenge": "canary", "port": 1, "canary": 1}).to_string();
        assert_eq!(send("application/json", canary).await, bad, "{path}: an unknown field");
        assert_eq!(send("application/json", "[".to_owned()).await, bad, "{path}: no JSON");
        assert_eq!(send("text/plain", json!({"refresh_token": "x"}).to_string()).await, bad, "{path}: a foreign form");
        assert_eq!(send("application/x-www-form-urlencoded", "refresh_token=x".to_owned()).await, bad, "{path}");
        let large = json!({"refresh_token": "x".repeat(9_000)}).to_string();
        assert_eq!(send("application/json", large).await, (413, "too_large".to_owned()), "{path}");
    }
    for path in ["/auth/start", "/auth/finish"] {
        let answer = http.post(desk.url(path)).send().await.unwrap();
        assert_eq!(refusal(answer).await, (400, "bad_message".to_owned()), "{path}: no body");
    }
    let challenge = "x".repeat(43);
    for body in [
        json!({"code_challenge": challenge, "port": 0}),
        json!({"code_challenge": challenge, "port": 65_536}),
        json!({"code_challenge": challenge, "port": "80"}),
        json!({"code_challenge": "short", "port": 4321}),
        json!({"code_challenge": challenge, "port": 4321, "device": "x".repeat(65)}),
        json!({"code_challenge": challenge, "port": 4321, "redirect_uri": "https://evil.example"}),
        json!({"port": 4321}),
    ] {
        assert_eq!(refusal(desk.post("/auth/start", &body).await).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn tokens_that_are_none_are_refused_and_never_a_fault() {
    let (desk, _issuer) = Desk::hostile().await;
    let long = "x".repeat(4_000);
    for token in ["", "x", "srt_", "srt_x", "stk_1_2", "srt_\u{0}", "' OR 1=1 --", &long] {
        let body = json!({"refresh_token": token});
        assert_eq!(refusal(desk.post("/auth/refresh", &body).await).await, (401, "auth_error".to_owned()), "{token}");
        assert_eq!(desk.post("/auth/logout", &body).await.status(), 204, "{token}");
    }
    let nobody = Browser::new().post(&desk.url("/auth/refresh"), Some(&desk.origin), None).await;
    assert_eq!(refusal(nobody).await, (401, "auth_error".to_owned()));
}

#[tokio::test]
async fn our_tokens_verify_with_the_keys_we_publish() {
    let (desk, issuer) = Desk::hostile().await;
    let started = desk.start().await;
    issuer.answers_with_id_token(&issuer.honest(&issuer.claims(CLIENT, &started.nonce, desk.clock.now())));
    let tokens: Value = desk.post("/auth/finish", &started.finish("code-1")).await.json().await.unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    let answer = reqwest::get(desk.url("/.well-known/jwks.json")).await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
    let keys: JwkSet = answer.json().await.unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["gateway"]);
    rules.set_issuer(&[&desk.origin]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims =
        decode::<Value>(token, &DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap(), &rules).unwrap().claims;
    assert_eq!(claims["sub"], tokens["person"]["id"]);
    assert!(!claims.to_string().contains("ann@example.com"), "no e-mail in a token");
}

#[tokio::test]
async fn a_page_is_told_whether_there_is_sign_in() {
    let (desk, _issuer) = Desk::hostile().await;
    let config: Value = reqwest::get(desk.url("/auth/config")).await.unwrap().json().await.unwrap();
    assert_eq!(config, json!({"sign_in": true, "provider": "127.0.0.1", "ways": ["browser", "native"]}));

    let desk = Desk::without_provider(|_| Vec::new()).await;
    let config: Value = reqwest::get(desk.url("/auth/config")).await.unwrap().json().await.unwrap();
    assert_eq!(config, json!({"sign_in": false, "provider": null, "ways": []}));
    for path in ["/auth/start", "/auth/finish", "/auth/refresh", "/auth/logout"] {
        assert_eq!(refusal(desk.post(path, &json!({})).await).await, (404, "not_found".to_owned()), "{path}");
    }
    for path in ["/auth/login", "/auth/callback?code=x"] {
        assert_eq!(refusal(reqwest::get(desk.url(path)).await.unwrap()).await.0, 404, "{path}");
    }
    assert_eq!(reqwest::get(desk.url("/.well-known/jwks.json")).await.unwrap().status(), 200);

    let (listener, origin) = listener().await;
    serve(listener, SignIn::default());
    let config: Value = reqwest::get(format!("{origin}/auth/config")).await.unwrap().json().await.unwrap();
    assert_eq!(config["sign_in"], false);
    assert_eq!(reqwest::get(format!("{origin}/.well-known/jwks.json")).await.unwrap().status(), 404);
}
