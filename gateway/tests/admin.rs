//! The operators' port.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod house;

use std::time::Duration;

use bytes::Bytes;
use house::{Answer, House, PATIENCE, Town, ask, end_of, good_hs256};
use identity::{ProviderIdentity, Scope};
use serde_json::Value;
use shared::{
    bus::Produce,
    jobs::{AUDIO_JOBS, STT_GROUP},
};
use tokio::time::{Instant, sleep};

async fn admin(gateway: &House, method: &str, path: &str, token: &str) -> Answer {
    ask(gateway.admin.unwrap(), method, path, &[("Authorization", &format!("Bearer {token}"))], "").await
}

async fn with_port(town: &Town) -> House {
    town.gateway(|config| config.admin = Some(([127, 0, 0, 1], 0).into())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_demands_the_scope_admin_and_none_is_on_the_client_port() {
    let town = Town::new().await;
    let gateway = with_port(&town).await;
    let token = town.token("ana", &[Scope::Stream]).await;
    let operator = town.token("operator", &[Scope::Admin]).await;
    for path in ["/admin/sessions", "/admin/users", "/admin/usage", "/admin/health", "/admin/nothing", "/"] {
        let answer = ask(gateway.admin.unwrap(), "GET", path, &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "auth_error"), "{path}: {answer:?}");
        for weak in [&token, &good_hs256("ana")] {
            let answer = admin(&gateway, "GET", path, weak).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{path}: {answer:?}");
        }
        let bearer = format!("Bearer {operator}");
        let answer = gateway.get(path, &[("Authorization", &bearer)]).await;
        assert_eq!(answer.status, 404, "{path} on the client port: {answer:?}");
    }
    assert_eq!(admin(&gateway, "GET", "/admin/nothing", &operator).await.status, 404);
    assert_eq!(admin(&gateway, "GET", "/admin/usage?day=yesterday", &operator).await.status, 400);
    assert_eq!(admin(&gateway, "DELETE", "/admin/sessions/x", &operator).await.status, 400);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_all_gateways_are_listed_and_can_be_closed() {
    let town = Town::new().await;
    let (one, two) = (with_port(&town).await, town.gateway(|_| ()).await);
    let operator = town.token("operator", &[Scope::Admin]).await;
    let token = town.token("ana", &[Scope::Stream]).await;
    let (_first, _) = one.session_with(&token, &[]).await.unwrap();
    let (mut second, started) = two.session_with(&token, &[]).await.unwrap();
    let id = started["session"].as_str().unwrap();
    let listed = admin(&one, "GET", "/admin/sessions", &operator).await.json();
    assert_eq!((listed["count"].as_u64(), listed["sessions"].as_array().unwrap().len()), (Some(2), 2), "{listed}");
    let mine = |listed: &Value| listed["sessions"].as_array().unwrap().iter().find(|s| s["session"] == id).cloned();
    let session = mine(&listed).unwrap();
    assert_eq!((session["subject"].as_str(), session["audio_ms"].as_u64()), (Some("ana"), Some(0)), "{session}");
    assert!(!listed.to_string().contains("127.0.0.1"));
    assert_eq!(admin(&one, "DELETE", &format!("/admin/sessions/{id}"), &operator).await.status, 202);
    let (error, close) = end_of(&mut second).await;
    assert_eq!((error.unwrap()["code"].as_str(), close), (Some("forbidden"), 4403));
    let give_up = Instant::now() + PATIENCE;
    while mine(&admin(&one, "GET", "/admin/sessions", &operator).await.json()).is_some() {
        assert!(Instant::now() < give_up, "the closed session is still listed");
        sleep(Duration::from_millis(50)).await;
    }
    one.session(&token).await.expect("its token is still good");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_queues_are_told() {
    let town = Town::new().await;
    let gateway = with_port(&town).await;
    let operator = town.token("operator", &[Scope::Admin]).await;
    let who = ProviderIdentity {
        issuer: "https://id.example".to_owned(),
        subject: "1".to_owned(),
        verified_email: Some("ana@example.com".to_owned()),
        name: None,
    };
    let tokens = town.people.sign_in(&who, "test", "192.0.2.1").await.unwrap();
    let users = admin(&gateway, "GET", "/admin/users", &operator).await.json();
    assert_eq!((users[0]["email"].as_str(), users[0]["disabled"].as_bool()), (Some("ana@example.com"), Some(false)));
    let mut socket = gateway.session(&tokens.access_token).await.unwrap();
    let path = format!("/admin/users/{}/sign-out", users[0]["id"].as_str().unwrap());
    assert_eq!(admin(&gateway, "POST", &path, &operator).await.status, 202);
    assert_eq!(end_of(&mut socket).await.1, 4401);
    assert_eq!(admin(&gateway, "POST", "/admin/users/nobody/sign-out", &operator).await.status, 404);
    town.people.used("ana", 1500).await;
    let usage = admin(&gateway, "GET", "/admin/usage", &operator).await.json();
    assert_eq!((usage[0]["subject"].as_str(), usage[0]["audio_ms"].as_i64()), (Some("ana"), Some(1500)), "{usage}");
    let _workers = town.bus.group_reader(AUDIO_JOBS, STT_GROUP, "a").await.unwrap();
    let job = Produce { stream: AUDIO_JOBS.into(), idempotency_key: "1".into(), payload: Bytes::new(), set: None };
    town.bus.produce(job).await.unwrap();
    let health = admin(&gateway, "GET", "/admin/health", &operator).await.json();
    let queue = &health["queues"][0];
    assert_eq!((queue["stream"].as_str(), queue["waiting"].as_u64()), (Some(AUDIO_JOBS), Some(1)), "{health}");
    assert_eq!((health["database"].as_bool(), health["dead_letters"].as_u64()), (Some(true), Some(0)), "{health}");
    gateway.stop().await;
}
