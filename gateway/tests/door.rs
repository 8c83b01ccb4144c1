//! Who gets in and who does not, at real gateways: status, code, Retry-After, and what is counted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod house;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::SinkExt as _;
use gateway::GatewayConfig;
use house::{Answer, House, PATIENCE, SECRET, Town, ask, end_of, good_hs256, hs256, next_event, now};
use identity::Scope;
use serde_json::json;
use shared::{
    bus::{MemoryBus, Produce},
    jobs::{AUDIO_JOBS, STT_GROUP},
};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

const STREAM: &str = "/v1/stream";

/// Path, headers; status, code, and the reason that is counted.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, &'a str, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_is_told_why_before_the_101() {
    let town = Town::new().await;
    let gateway = town.gateway(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let own = |token: String| format!("Bearer {token}");
    let good = own(good_hs256("ana"));
    let admin = own(town.token("machine", &[Scope::Admin]).await);
    let expired = own(hs256(&json!({"sub": "ana", "exp": 1000}), SECRET));
    let (bearer, query) = ("Authorization", format!("{STREAM}?access_token=x"));
    let foreign = ("Origin", "https://evil.example");
    let cases: [Case<'_>; 9] = [
        (&query, vec![(bearer, &good)], 400, "bad_message", "token_in_url"),
        (STREAM, vec![(bearer, &good), foreign], 403, "forbidden", "origin"),
        (STREAM, vec![], 401, "auth_error", "auth"),
        (STREAM, vec![("Origin", "https://app.example")], 401, "auth_error", "auth"),
        (STREAM, vec![(bearer, "Basic abc")], 401, "auth_error", "auth"),
        (STREAM, vec![(bearer, "Bearer not.a.token")], 401, "auth_error", "auth"),
        (STREAM, vec![(bearer, &expired)], 401, "auth_error", "auth"),
        (STREAM, vec![(bearer, "Bearer stk_abc_def")], 401, "auth_error", "auth"),
        (STREAM, vec![(bearer, &admin)], 403, "forbidden", "scope"),
    ];
    for (path, headers, status, code, reason) in cases {
        let name = format!("gateway_refused_total{{reason=\"{reason}\"}}");
        let before = gateway.metric(&name);
        let answer = gateway.knock(path, &headers).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
        assert!(gateway.metric(&name) > before, "{reason} is counted");
    }
    let answer = gateway.get(STREAM, &[(bearer, &good)]).await;
    assert_eq!((answer.status, answer.code().as_str()), (426, "upgrade_required"), "{answer:?}");
    let answer = gateway.knock(STREAM, &[(bearer, &good), ("Origin", "https://app.example")]).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sign_in_only_this_machine_is_served() {
    let gateway = House::open(GatewayConfig::loopback(), Arc::new(MemoryBus::new())).await;
    let port = gateway.addr.port();
    let host = format!("evil.example:{port}");
    let answer = gateway.knock(STREAM, &[("Host", &host)]).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{answer:?}");
    assert_eq!(gateway.knock(STREAM, &[("Host", &format!("localhost:{port}"))]).await.status, 101);
    let answer = ask(gateway.addr, "POST", "/v1/ticket", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_share_the_places_of_a_person_and_of_all() {
    let town = Town::new().await;
    let few = |config: &mut GatewayConfig| {
        config.door.sessions_per_user = 3;
        config.max_sessions = 4;
    };
    let (one, two) = (town.gateway(few).await, town.gateway(few).await);
    let (ana, bo) = (good_hs256("ana"), good_hs256("bo"));
    let mut sockets = vec![one.session(&ana).await.unwrap(), two.session(&ana).await.unwrap()];
    let (third, started) = one.session_with(&ana, &[]).await.unwrap();
    sockets.push(third);
    let bearer = format!("Bearer {ana}");
    let refused = |answer: Answer, status: u16, code: &str| {
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
        assert!(answer.retry_after().is_some_and(|seconds| seconds > 0), "{answer:?}");
    };
    refused(two.knock(STREAM, &[("Authorization", &bearer)]).await, 429, "rate_limited");
    // Somebody else has a place, and then there is none for anybody.
    sockets.push(two.session(&bo).await.unwrap());
    refused(one.knock(STREAM, &[("Authorization", &format!("Bearer {bo}"))]).await, 503, "overloaded");
    // A session that comes back elsewhere while its first gateway still holds its place needs no second one.
    let resume = format!("subtide.v1, resume.{}", started["session"].as_str().unwrap());
    let headers = [("Authorization", bearer.as_str()), ("Sec-WebSocket-Protocol", resume.as_str())];
    let answer = two.knock(STREAM, &headers).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, "subtide.v1"), "{answer:?}");
    drop(answer);
    // But whoever says so to get a place for a new one is found out.
    let new = two.session_with(&ana, &[("sec-websocket-protocol", &resume)]).await.unwrap_err();
    assert!(new.contains("rate_limited"), "{new}");
    sockets[0].close(None).await.unwrap();
    let give_up = Instant::now() + PATIENCE;
    let back = loop {
        match two.session(&ana).await {
            Ok(socket) => break socket,
            Err(refused) => assert!(Instant::now() < give_up, "{refused}"),
        }
        sleep(Duration::from_millis(50)).await;
    };
    drop((back, sockets));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_an_address_are_counted_by_all_gateways() {
    let town = Town::new().await;
    let few = |config: &mut GatewayConfig| {
        config.door.connections_per_minute = 10;
        config.door.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let (one, two) = (town.gateway(few).await, town.gateway(few).await);
    let from = async |gateway: &House, address: &str| gateway.knock(STREAM, &[("CF-Connecting-IP", address)]).await;
    for n in 0..10 {
        let gateway = if n % 2 == 0 { &one } else { &two };
        // One customer of a provider has a whole network.
        assert_eq!(from(gateway, &format!("2001:db8::{n}")).await.status, 401);
    }
    for gateway in [&one, &two] {
        let answer = from(gateway, "2001:db8::ffff").await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{answer:?}");
        assert!(answer.retry_after().is_some_and(|seconds| (1..=6).contains(&seconds)), "{answer:?}");
        assert_eq!(from(gateway, "2001:db8:1::1").await.status, 401, "another network");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_a_ticket_once() {
    let town = Town::new().await;
    let page = "https://app.example";
    let gateway = town.gateway(|config| config.allowed_origins = vec![page.to_owned()]).await;
    let bearer = format!("Bearer {}", town.token("ana", &[Scope::Stream]).await);
    let post = async |headers: &[(&str, &str)]| ask(gateway.addr, "POST", "/v1/ticket", headers, "").await;
    assert_eq!(post(&[("Origin", page)]).await.status, 401);
    assert_eq!(post(&[("Authorization", &bearer)]).await.status, 403, "no page");
    assert_eq!(post(&[("Authorization", &bearer), ("Origin", "https://evil.example")]).await.status, 403);
    let issued = post(&[("Authorization", &bearer), ("Origin", page)]).await;
    assert_eq!((issued.status, issued.header("cache-control")), (200, "no-store"), "{issued:?}");
    let offer = format!("subtide.v1, ticket.{}", issued.json()["ticket"].as_str().unwrap());
    let knock = async |headers: &[(&str, &str)]| gateway.knock(STREAM, headers).await;
    assert_eq!(knock(&[("Sec-WebSocket-Protocol", &offer)]).await.status, 401, "no page");
    let headers = [("Sec-WebSocket-Protocol", offer.as_str()), ("Origin", page)];
    let answer = knock(&headers).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, "subtide.v1"), "{answer:?}");
    assert!(!format!("{answer:?}").contains(&offer[20..]), "the ticket is not echoed");
    assert_eq!(knock(&headers).await.status, 401, "twice");
    // Signed out between ticket and handshake.
    let issued = post(&[("Authorization", &bearer), ("Origin", page)]).await;
    let offer = format!("subtide.v1, ticket.{}", issued.json()["ticket"].as_str().unwrap());
    town.people.revocations().revoke_subject("ana").await.unwrap();
    assert_eq!(knock(&[("Sec-WebSocket-Protocol", &offer), ("Origin", page)]).await.status, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_captions_are_late_is_asked_to_come_later() {
    let town = Town::new().await;
    let gateway = town.gateway(|config| config.door.max_queue_age = Duration::from_millis(1500)).await;
    let token = good_hs256("ana");
    let socket = gateway.session(&token).await.unwrap();
    let _workers = town.bus.group_reader(AUDIO_JOBS, STT_GROUP, "asleep").await.unwrap();
    let job = Produce { stream: AUDIO_JOBS.into(), idempotency_key: "1".into(), payload: Bytes::new(), set: None };
    town.bus.produce(job).await.unwrap();
    let give_up = Instant::now() + PATIENCE;
    let bearer = format!("Bearer {token}");
    let refused = loop {
        let answer = gateway.knock(STREAM, &[("Authorization", &bearer)]).await;
        if answer.status != 101 {
            break answer;
        }
        assert!(Instant::now() < give_up, "nobody is refused");
        sleep(Duration::from_millis(200)).await;
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"), "{refused:?}");
    assert!(refused.retry_after().is_some_and(|seconds| seconds >= 2), "{refused:?}");
    let asked = Instant::now();
    let again = gateway.knock(STREAM, &[("Authorization", &bearer)]).await;
    println!("FIGURE refusal_when_overloaded_ms {:.1}", asked.elapsed().as_secs_f64() * 1000.0);
    assert_eq!(again.status, 503);
    assert!(gateway.metric("gateway_queue_waiting_seconds{group=\"stt\",stream=\"audio_jobs\"}") > 1.5);
    drop(socket);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_sign_in_ends_its_sessions_at_every_gateway() {
    let town = Town::new().await;
    let (one, two) = (town.gateway(|_| ()).await, town.gateway(|_| ()).await);
    let ana = town.token("ana", &[Scope::Stream]).await;
    let bo = town.token("bo", &[Scope::Stream]).await;
    let mut theirs = [one.session(&ana).await.unwrap(), two.session(&ana).await.unwrap()];
    let mut other = two.session(&bo).await.unwrap();
    let revoked = Instant::now();
    town.people.revocations().revoke_subject("ana").await.unwrap();
    for socket in &mut theirs {
        let (error, close) = end_of(socket).await;
        assert_eq!((error.unwrap()["code"].as_str(), close), (Some("auth_error"), 4401));
    }
    println!("FIGURE revocation_reaches_sockets_s {:.2}", revoked.elapsed().as_secs_f64());
    let answer = one.knock(STREAM, &[("Authorization", &format!("Bearer {ana}"))]).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    other.send(Message::text(r#"{"type":"stop"}"#)).await.unwrap();
    assert_eq!(next_event(&mut other).await.unwrap()["type"], "ended", "nobody else is harmed");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_s_quota_ends_a_session_and_keeps_the_next_one_out() {
    let town = Town::new().await;
    let gateway = town.gateway(|config| config.door.daily_quota = Some(Duration::from_secs(2))).await;
    let token = town.token("ana", &[Scope::Stream]).await;
    let bearer = format!("Bearer {token}");
    let mut socket = gateway.session(&token).await.unwrap();
    for _ in 0..3 {
        socket.send(Message::binary(vec![0; 32_000])).await.unwrap();
    }
    let (error, close) = end_of(&mut socket).await;
    let error = error.unwrap();
    assert_eq!((error["code"].as_str(), close), (Some("quota_exceeded"), 4429), "{error}");
    let answer = gateway.knock(STREAM, &[("Authorization", &bearer)]).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "quota_exceeded"), "{answer:?}");
    assert!(answer.retry_after().is_some_and(|seconds| seconds <= 86_400), "{answer:?}");
    let me = gateway.get("/v1/me", &[("Authorization", &bearer)]).await;
    let me = me.json();
    assert!(me["audio_today_ms"].as_u64().unwrap() >= 2000 && me["quota_ms"] == 2000, "{me}");
    assert_eq!((me["subject"].as_str(), me["scope"].as_str()), (Some("ana"), Some("stream")));
    assert!(me["expires"].as_u64().unwrap() > now());
    gateway.stop().await;
}

/// Sends `seconds` of silence at once, then `stop`; how long it took until `ended` came, and how much had been heard by then.
async fn flood(gateway: &House, token: &str, seconds: usize) -> (Duration, u64) {
    let mut socket = gateway.session(token).await.unwrap();
    let start = Instant::now();
    for _ in 0..seconds {
        socket.send(Message::binary(vec![0; 32_000])).await.unwrap();
    }
    socket.send(Message::text(r#"{"type":"stop"}"#)).await.unwrap();
    loop {
        let event = next_event(&mut socket).await.unwrap();
        if event["type"] == "ended" {
            return (start.elapsed(), event["audio_ms"].as_u64().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_faster_than_people_speak_waits_and_loses_nothing() {
    let town = Town::new().await;
    let gateway = town.gateway(|_| ()).await;
    let person = town.token("ana", &[Scope::Stream]).await;
    // Ten seconds are free, the last frame may overdraw, and the others come at 1.25 times real time.
    let (took, heard) = flood(&gateway, &person, 16).await;
    assert!(took >= Duration::from_millis(3900) && heard == 16_000, "{heard} ms in {took:?}");
    let machine = town.token("machine", &[Scope::Stream, Scope::Batch]).await;
    let (took, heard) = flood(&gateway, &machine, 16).await;
    println!("FIGURE sixteen_seconds_with_scope_batch_s {:.2}", took.as_secs_f64());
    assert_eq!(heard, 16_000);
    gateway.stop().await;
}
