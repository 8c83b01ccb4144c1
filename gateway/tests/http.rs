//! What every answer has in common, at a real gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod house;

use std::sync::Arc;

use gateway::{GatewayConfig, http::openapi};
use house::{House, PATIENCE, Town, ask, good_hs256};
use identity::OidcConfig;
use shared::{bus::MemoryBus, config::Env};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id_and_the_headers_that_keep_pages_safe() {
    let gateway = House::open(GatewayConfig::loopback(), Arc::new(MemoryBus::new())).await;
    let answer = gateway.get("/v1/openapi.json", &[("X-Request-ID", "my.id-7_x")]).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (200, "my.id-7_x"));
    let answer = gateway.get("/nothing", &[("X-Request-ID", "no good")]).await;
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-cache"),
        ("strict-transport-security", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_and_a_large_body_are_refused_in_the_same_words() {
    let gateway = House::open(GatewayConfig::loopback(), Arc::new(MemoryBus::new())).await;
    let answer = ask(gateway.addr, "DELETE", "/v1/me", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "bad_message"), "{answer:?}");
    assert!(answer.header("allow").contains("GET"));
    let answer = ask(gateway.addr, "POST", "/v1/ticket", &[("Content-Length", "65537")], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"), "{answer:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_list_may_ask_and_no_others() {
    let town = Town::new().await;
    let (page, url) = ("https://app.example", "https://captions.example");
    let gateway = town
        .gateway(|config| {
            config.allowed_origins = vec![page.to_owned()];
            config.public_url = Some(url.parse().unwrap());
        })
        .await;
    let preflight = async |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization"),
        ];
        ask(gateway.addr, "OPTIONS", "/v1/ticket", &headers, "").await
    };
    let allowed = preflight(page).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, page), "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-methods"), "GET,POST");
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    assert_eq!(preflight("https://evil.example").await.header("access-control-allow-origin"), "");
    assert_eq!(allowed.header("strict-transport-security"), "max-age=31536000");
    let bearer = format!("Bearer {}", good_hs256("ana"));
    let me = gateway.get("/v1/me", &[("Authorization", &bearer), ("Origin", page)]).await;
    assert_eq!((me.status, me.header("access-control-allow-origin")), (200, page), "{me:?}");
    let own = gateway.get("/v1/me", &[("Authorization", &bearer), ("Origin", url)]).await;
    assert_eq!((own.status, own.header("access-control-allow-origin")), (200, ""), "{own:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_nothing_is_cut() {
    let gateway = House::open(GatewayConfig::loopback(), Arc::new(MemoryBus::new())).await;
    let mut silent = TcpStream::connect(gateway.addr).await.unwrap();
    let mut slow = TcpStream::connect(gateway.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is cut").unwrap();
    }
    gateway.stop().await;
}

#[test]
fn the_description_in_docs_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let written: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let same = written == openapi::description();
    assert!(same, "run `cargo run -p gateway --example openapi > docs/openapi.json`");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_the_description_is_there() {
    let town = Town::new().await;
    let pairs = [
        ("OIDC_ISSUER", "https://id.example"),
        ("OIDC_CLIENT_ID", "subtide"),
        ("OIDC_CLIENT_SECRET", "secret"),
        ("PUBLIC_URL", "https://captions.example"),
        ("ALLOWED_EMAILS", "ana@example.com"),
    ];
    let mut env = Env::of(pairs);
    let oidc = OidcConfig::from_env(&mut env).map(Box::new);
    env.finish().unwrap();
    let gateway = town
        .gateway(|config| {
            config.admin = Some(([127, 0, 0, 1], 0).into());
            config.oidc = oidc;
        })
        .await;
    let description = openapi::description();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let addr = if path.starts_with("/admin") { gateway.admin.unwrap() } else { gateway.addr };
        if path == "/auth/login" {
            // It would ask the provider, which is not there.
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            let answer = ask(addr, &method.to_uppercase(), &path.replace("{id}", "x"), &[], "").await;
            assert!(![404, 405].contains(&answer.status), "{method} {path}: {answer:?}");
        }
    }
    gateway.stop().await;
}
