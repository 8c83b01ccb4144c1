//! Bad input: a clear error that names the cause, the right close code, no panic, and nobody else harmed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{process::Output, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shared::wire::{ClientMessage, Event, ServerMessage};
use tests::{
    session::{PATIENCE, check, collect, start, stream},
    speech::{demo, pcm},
    stack::{Process, command, free_addr},
};
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::CloseFrame},
};

/// The all-in-one server with the models that ship.
async fn server() -> (Process, String) {
    let addr = free_addr();
    let port = addr.port().to_string();
    let mut server = Process::spawn("subtide serve", "subtide", &[("GATEWAY_PORT", &port), ("ENABLE_AUTH", "false")]);
    server.ready().await;
    (server, format!("ws://{addr}/v1/stream"))
}

fn good_start() -> Message {
    Message::text(serde_json::to_string(&ClientMessage::Start(start(&[]))).unwrap())
}

/// Sends `frames` and returns the error event and the close frame that came back.
async fn provoke(url: &str, frames: Vec<Message>) -> (Value, CloseFrame) {
    let (mut socket, _) = connect_async(url).await.unwrap();
    for frame in frames {
        // The gateway may have closed already; what it said is what counts.
        drop(socket.send(frame).await);
    }
    let mut error = None;
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("the gateway answers").expect("a close frame comes") {
            Ok(Message::Text(text)) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                if event["type"] == "error" {
                    error = Some(event);
                }
            }
            Ok(Message::Close(frame)) => return (error.expect("an error event before the close"), frame.unwrap()),
            Ok(_) => {}
            Err(broken) => panic!("{broken} instead of a close frame"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_client_is_named_and_harms_nobody_else() {
    let (_server, url) = server().await;
    let (wav, _) = demo();
    let pcm = pcm(&wav);
    let honest = tokio::spawn({
        let (url, pcm) = (url.clone(), pcm.clone());
        async move { stream(&url, start(&["es"]), &pcm, 2.0).await }
    });
    let start_with = |change: fn(&mut Value)| {
        let mut start = serde_json::to_value(ClientMessage::Start(start(&[]))).unwrap();
        change(&mut start);
        Message::text(start.to_string())
    };
    let faults: Vec<(Vec<Message>, &str, u16, &str)> = vec![
        (vec![Message::text("hello")], "bad_message", 4400, "cannot be read"),
        (vec![Message::text(r#"{"type":"shout"}"#)], "bad_message", 4400, "shout"),
        (vec![start_with(|s| s["volume"] = json!(3))], "bad_message", 4400, "volume"),
        (vec![start_with(|s| s["source"] = json!("not a tag"))], "bad_message", 4400, "not a tag"),
        (vec![start_with(|s| s["targets"] = json!(vec!["es"; 17]))], "bad_message", 4400, "17 targets"),
        (vec![start_with(|s| s["audio"]["sample_rate"] = json!(4000))], "invalid_audio", 4400, "4000"),
        (vec![start_with(|s| s["audio"]["sample_rate"] = json!(192_000))], "invalid_audio", 4400, "192000"),
        (vec![start_with(|s| s["audio"]["channels"] = json!(6))], "invalid_audio", 4400, "6"),
        (vec![Message::binary(vec![0; 320])], "bad_order", 4400, "start"),
        (vec![Message::text(r#"{"type":"stop"}"#)], "bad_order", 4400, "start"),
        (vec![good_start(), good_start()], "bad_order", 4400, "second `start`"),
        (vec![good_start(), Message::binary(vec![0; 321])], "invalid_audio", 4400, "321 bytes"),
        (vec![good_start(), Message::binary(vec![0; 65 * 1024])], "too_large", 1009, "66560 bytes"),
        (vec![good_start(), Message::binary(vec![0; 200 * 1024])], "too_large", 1009, "204800 bytes"),
        (vec![good_start(), Message::text("x".repeat(65 * 1024))], "too_large", 1009, "66560 bytes"),
    ];
    for (frames, code, close, named) in faults {
        let (error, frame) = provoke(&url, frames).await;
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().contains(named), "{error} does not name {named}");
        assert_eq!(u16::from(frame.code), close, "{error}");
        assert_eq!(error["trace_id"].as_str().unwrap().len(), 32);
    }
    // So much that the gateway does not even read it all: the connection is cut, at the latest then.
    let (mut flood, _) = connect_async(&url).await.unwrap();
    flood.send(good_start()).await.unwrap();
    drop(flood.send(Message::binary(vec![0; 8 * 1024 * 1024])).await);
    let cut = async { while let Some(Ok(_)) = flood.next().await {} };
    timeout(PATIENCE, cut).await.expect("the gateway cuts off who floods it");
    let texts = check(&honest.await.unwrap(), &["es"]);
    assert!(!texts["caption"].is_empty(), "the session beside them was captioned");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_refused_with_a_status_before_the_socket_opens() {
    let (_server, url) = server().await;
    let mut foreign = url.as_str().into_client_request().unwrap();
    foreign.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    let refused = connect_async(foreign).await.expect_err("a foreign page stays out");
    assert!(refused.to_string().contains("403"), "{refused}");
    let addr = free_addr();
    let secret = "0123456789abcdef0123456789abcdef";
    let port = addr.port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let people = format!("sqlite:{}", directory.path().join("people.db").display());
    let env = [
        ("GATEWAY_PORT", port.as_str()),
        ("JWT_SECRET", secret),
        ("ENABLE_AUTH", "true"),
        ("DATABASE_URL", people.as_str()),
    ];
    let mut guarded = Process::spawn("subtide serve", "guarded", &env);
    guarded.ready().await;
    let url = format!("ws://{addr}/v1/stream");
    let refused = connect_async(&url).await.expect_err("nobody gets in without a token");
    assert!(refused.to_string().contains("401"), "{refused}");
    let refused = client::open(&url, Some("not.a.token"), start(&[])).await.expect_err("nor with a wrong one");
    assert!(format!("{refused:?}").contains("401"), "{refused:?}");
    let expires = std::time::SystemTime::now() + Duration::from_secs(60);
    let exp = expires.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token =
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &json!({"sub": "ana", "exp": exp}), &key).unwrap();
    let (mut sender, receiver) = client::open(&url, Some(&token), start(&[])).await.unwrap();
    sender.say(&ClientMessage::Stop {}).await.unwrap();
    let events: Vec<Event> = collect(receiver).await;
    assert!(matches!(events[0].message, ServerMessage::Started { .. }));
}

fn run(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let (program, arguments) = arguments.split_first().unwrap();
    let health = free_addr().port().to_string();
    let port = free_addr().port().to_string();
    let mut command = command(program);
    command.args(arguments).env("HEALTH_PORT", health).env("GATEWAY_PORT", port).envs(env.iter().copied());
    command.output().unwrap()
}

/// That a program ended with `code` and named every one of `named` on standard error, without a panic.
fn assert_refused(output: &Output, code: i32, named: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for name in named {
        assert!(said.contains(name), "`{name}` is not named in: {said}");
    }
}

#[test]
fn a_cut_wav_is_captioned_as_far_as_it_goes_and_reported() {
    let (wav, _) = demo();
    let directory = tempfile::tempdir().unwrap();
    let cut = directory.path().join("cut.wav");
    let bytes = std::fs::read(&wav).unwrap();
    std::fs::write(&cut, &bytes[..44 + 16_000 * 2 * 8]).unwrap();
    let output = run(&["subtide", "caption", cut.to_str().unwrap(), "--from", "en"], &[]);
    assert_refused(&output, 1, &["cut.wav", "cut short", "8.0s"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains('['), "what was there is captioned");
    let header_only = directory.path().join("header.wav");
    std::fs::write(&header_only, &bytes[..20]).unwrap();
    let output = run(&["subtide", "caption", header_only.to_str().unwrap()], &[]);
    assert_refused(&output, 1, &["header.wav", "no sound file"]);
    let output = run(&["subtide", "caption", "/nonexistent.wav"], &[]);
    assert_refused(&output, 1, &["/nonexistent.wav", "cannot be opened"]);
}

#[test]
fn a_model_directory_without_weights_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("whisper");
    std::fs::create_dir(&model).unwrap();
    let output = run(&["subtide", "serve"], &[("STT_MODEL", model.to_str().unwrap())]);
    assert_refused(&output, 1, &[model.to_str().unwrap()]);
    for file in ["config.json", "generation_config.json", "tokenizer.json"] {
        let from = tests::stack::repository().join("models/demo-stt-en").join(file);
        std::fs::copy(from, model.join(file)).unwrap();
    }
    let output = run(&["subtide", "serve"], &[("STT_MODEL", model.to_str().unwrap())]);
    assert_refused(&output, 1, &[model.to_str().unwrap(), "model.safetensors", "subtide models pull"]);
    let output = run(&["subtide", "serve"], &[("STT_MODEL", "no/such-model")]);
    assert_refused(&output, 64, &["no/such-model", "subtide models pull no/such-model"]);
}

#[test]
fn a_redis_that_is_not_there_is_named_without_its_password() {
    let addr = free_addr();
    let url = format!("redis://:hush@{addr}");
    for (program, code) in [(vec!["subtide", "serve"], 1), (vec!["gateway"], 69), (vec!["stt-worker"], 69)] {
        let output = run(&program, &[("REDIS_URL", &url), ("ENABLE_AUTH", "false")]);
        assert_refused(&output, code, &["Redis", &addr.to_string()]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hush"));
    }
}

#[test]
fn an_open_gateway_on_a_public_address_does_not_start() {
    let output = run(&["gateway"], &[("ENABLE_AUTH", "false"), ("GATEWAY_BIND", "0.0.0.0")]);
    assert_refused(&output, 64, &["GATEWAY_BIND=0.0.0.0", "loopback"]);
}
