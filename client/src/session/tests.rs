//! The session against a gateway that does exactly what a test wants: cuts, repeats, refusals.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::wire::{AudioFormat, Encoding, ServerMessage};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

struct Gateway(TcpListener, String);

/// A socket of the gateway's, with what the handshake brought.
struct Peer(WebSocketStream<TcpStream>, Option<String>);

impl Gateway {
    async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/stream", listener.local_addr().unwrap());
        Self(listener, url)
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = timeout(PATIENCE, self.0.accept()).await.expect("the client comes").unwrap();
        let mut bearer = None;
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let accept = |request: &Request, mut response: Response| {
            bearer = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            response.headers_mut().insert("sec-websocket-protocol", "subtide.v1".parse().unwrap());
            Ok(response)
        };
        let socket = accept_hdr_async(stream, accept).await.unwrap();
        Peer(socket, bearer)
    }

    /// Answers one handshake with plain HTTP.
    async fn refuse(&self, head: &str) {
        let (mut stream, _) = timeout(PATIENCE, self.0.accept()).await.expect("the client comes").unwrap();
        let mut asked = [0; 4096];
        assert!(stream.read(&mut asked).await.unwrap() > 0);
        let body = r#"{"code":"overloaded","message":"no room"}"#;
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

impl Peer {
    async fn text(&mut self) -> Value {
        match timeout(PATIENCE, self.0.next()).await.expect("a message").unwrap().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// `bytes` of audio, which have to come before anything else.
    async fn audio(&mut self, bytes: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < bytes {
            match timeout(PATIENCE, self.0.next()).await.expect("audio").unwrap().unwrap() {
                Message::Binary(pcm) => got.extend_from_slice(&pcm),
                other => panic!("no audio: {other:?}"),
            }
        }
        got
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn started(&mut self, event: u64, resumed: bool, audio_ms: u64) {
        let limits = json!({"max_message_bytes": 65536, "max_targets": 16, "max_utterance_ms": 9000,
            "idle_timeout_ms": 600_000, "resume_window_ms": 20_000});
        let session = "00000000-0000-4000-8000-000000000001";
        let token = format!("token of {event}");
        self.say(json!({"event": event, "type": "started", "session": session, "resume_token": token,
            "resumed": resumed, "audio_ms": audio_ms, "limits": limits}))
            .await;
    }

    async fn ack(&mut self, event: u64, audio_ms: u64) {
        self.say(json!({"event": event, "type": "ack", "audio_ms": audio_ms})).await;
    }

    async fn end(mut self, event: u64) {
        self.say(json!({"event": event, "type": "ended", "reason": "stopped", "audio_ms": 0, "utterances": 0})).await;
        self.0.close(None).await.ok();
    }

    async fn error(mut self, event: u64, code: &str, close: u16) {
        self.say(json!({"event": event, "type": "error", "code": code, "message": "m", "retryable": false,
            "trace_id": ""}))
            .await;
        self.0.close(Some(CloseFrame { code: CloseCode::from(close), reason: "".into() })).await.ok();
    }
}

fn session(gateway: &Gateway) -> Session {
    let audio = AudioFormat { encoding: Encoding::PcmS16le, sample_rate: 8000, channels: 1 };
    let start = serde_json::from_value(json!({"audio": audio, "source": "en"})).unwrap();
    Session { url: gateway.1.clone(), credential: Credential::None, start }
}

/// 100 ms whose every byte is `n`.
fn frame(n: u8) -> Vec<u8> {
    vec![n; 1600]
}

async fn heard(downlink: &mut Downlink) -> Happening {
    timeout(PATIENCE, downlink.next()).await.expect("something happens").unwrap().expect("it is not over")
}

async fn number(downlink: &mut Downlink) -> u64 {
    match heard(downlink).await {
        Happening::Event(event) => event.event,
        other => panic!("no event: {other:?}"),
    }
}

#[tokio::test]
async fn after_a_cut_it_goes_on_with_what_was_not_acknowledged_and_passes_nothing_on_twice() {
    let gateway = Gateway::bind().await;
    let (opened, accepted) = tokio::join!(session(&gateway).open(), gateway.accept());
    let ((up, mut down), mut peer) = (opened.unwrap(), accepted);
    assert_eq!(peer.text().await["resume"], Value::Null);
    peer.started(1, false, 0).await;
    for n in 1..=3 {
        up.audio(frame(n)).await.unwrap();
    }
    up.say(ClientMessage::Finalize {}).await.unwrap();
    peer.audio(4800).await;
    peer.ack(2, 100).await;
    assert_eq!((number(&mut down).await, number(&mut down).await), (1, 2));
    drop(peer);
    assert!(matches!(heard(&mut down).await, Happening::Broken { .. }));
    up.audio(frame(4)).await.unwrap();

    let mut peer = gateway.accept().await;
    assert_eq!(peer.text().await["resume"], json!({"token": "token of 1", "last_event": 2}));
    // What was missed comes first.
    peer.ack(2, 100).await;
    peer.ack(4, 100).await;
    peer.ack(4, 100).await;
    peer.started(9, true, 150).await;
    let resent = peer.audio(2400).await;
    assert_eq!(resent, [vec![2; 800], vec![3; 1600]].concat(), "from 150 ms on");
    assert_eq!(peer.text().await["type"], "finalize", "said again at its place");
    assert_eq!(peer.audio(1600).await, frame(4));
    assert_eq!(number(&mut down).await, 4, "2 was seen, and 4 comes once");
    let Happening::Resumed { audio_ms, lost_ms, .. } = heard(&mut down).await else { panic!("not resumed") };
    assert_eq!((audio_ms, lost_ms), (150, 0));
    up.say(ClientMessage::Stop {}).await.unwrap();
    assert_eq!(peer.text().await["type"], "stop");
    peer.end(10).await;
    assert_eq!(number(&mut down).await, 10);
    assert_eq!(down.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_session_that_is_gone_begins_anew_with_what_is_left() {
    let gateway = Gateway::bind().await;
    let (opened, accepted) = tokio::join!(session(&gateway).open(), gateway.accept());
    let ((up, mut down), mut peer) = (opened.unwrap(), accepted);
    peer.text().await;
    peer.started(1, false, 0).await;
    up.audio(frame(1)).await.unwrap();
    up.audio(frame(2)).await.unwrap();
    peer.audio(3200).await;
    peer.ack(2, 100).await;
    assert_eq!((number(&mut down).await, number(&mut down).await), (1, 2));
    drop(peer);
    let mut peer = gateway.accept().await;
    peer.text().await;
    peer.error(3, "resume_expired", 4410).await;
    let mut peer = gateway.accept().await;
    assert_eq!(peer.text().await["resume"], Value::Null);
    peer.started(1, false, 0).await;
    assert_eq!(peer.audio(1600).await, frame(2));
    assert!(matches!(heard(&mut down).await, Happening::Broken { .. }));
    assert_eq!(heard(&mut down).await, Happening::Anew { from_ms: 100 });
    assert_eq!(number(&mut down).await, 1);
    peer.error(2, "replaced", 4409).await;
    assert!(matches!(down.next().await, Err(ClientError::Replaced)));
    assert!(matches!(down.next().await, Ok(None)), "and it does not come back");
}

#[tokio::test]
async fn a_gateway_that_drains_is_left_for_another_and_retry_after_is_honoured() {
    let gateway = Gateway::bind().await;
    let (opened, accepted) = tokio::join!(session(&gateway).open(), gateway.accept());
    let ((_up, mut down), mut peer) = (opened.unwrap(), accepted);
    peer.text().await;
    peer.started(1, false, 0).await;
    assert_eq!(number(&mut down).await, 1);
    peer.say(json!({"event": 2, "type": "ended", "reason": "draining", "audio_ms": 0, "utterances": 0})).await;
    assert!(matches!(heard(&mut down).await, Happening::Broken { .. }), "that is not the end");
    gateway.refuse("503 Service Unavailable\r\nretry-after: 1").await;
    let refused = Instant::now();
    let mut peer = gateway.accept().await;
    assert!(refused.elapsed() >= Duration::from_secs(1), "came back after {:?}", refused.elapsed());
    assert_eq!(peer.text().await["resume"]["last_event"], 1);
}

#[tokio::test]
async fn who_is_refused_at_first_hears_when_to_try_again() {
    let gateway = Gateway::bind().await;
    let refuse = gateway.refuse("429 Too Many Requests\r\nretry-after: 30");
    let (opened, ()) = tokio::join!(session(&gateway).open(), refuse);
    let said = opened.expect_err("no").to_string();
    assert!(said.contains("no room") && said.contains("30 s"), "{said}");
}

#[derive(Debug)]
struct Tokens(std::sync::Mutex<VecDeque<&'static str>>);

#[async_trait::async_trait]
impl crate::TokenSource for Tokens {
    async fn token(&self, fresh: bool) -> Result<SecretString, ClientError> {
        let mut tokens = self.0.lock().unwrap();
        if fresh {
            tokens.pop_front();
        }
        tokens.front().map(|token| SecretString::from(*token)).ok_or(ClientError::NoToken("none left".to_owned()))
    }
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_in_band_and_one_that_is_refused_at_the_door() {
    let gateway = Gateway::bind().await;
    let tokens = Tokens(std::sync::Mutex::new(VecDeque::from(["first", "second", "third"])));
    let credential = Credential::Source(std::sync::Arc::new(tokens));
    let opening = Session { credential, ..session(&gateway) }.open();
    let (opened, mut peer) = tokio::join!(opening, gateway.accept());
    let (_up, mut down) = opened.unwrap();
    assert_eq!(peer.1.as_deref(), Some("Bearer first"));
    peer.text().await;
    peer.started(1, false, 0).await;
    peer.say(json!({"event": 2, "type": "warning", "code": "token_expiring", "message": "soon"})).await;
    assert_eq!(peer.text().await, json!({"type": "auth", "token": "second"}));
    drop(peer);
    gateway.refuse("401 Unauthorized").await;
    let peer = gateway.accept().await;
    assert_eq!(peer.1.as_deref(), Some("Bearer third"));
    let warned = [heard(&mut down).await, heard(&mut down).await];
    assert!(matches!(&warned[1], Happening::Event(Event { message: ServerMessage::Warning { .. }, .. })));
}

#[tokio::test]
async fn that_the_gateway_reads_no_audio_for_now_reaches_the_caller() {
    let gateway = Gateway::bind().await;
    let (opened, mut peer) = tokio::join!(session(&gateway).open(), gateway.accept());
    let (_up, mut down) = opened.unwrap();
    peer.text().await;
    peer.started(1, false, 0).await;
    assert_eq!(number(&mut down).await, 1);
    for (event, said) in [(2, "audio_paused"), (3, "audio_resumed")] {
        peer.say(json!({"event": event, "type": "warning", "code": said, "message": "m"})).await;
        let Happening::Event(event) = heard(&mut down).await else { panic!("no event") };
        assert!(matches!(&event.message, ServerMessage::Warning { code, .. } if code == said));
    }
}

#[tokio::test]
async fn a_token_that_ended_unnoticed_is_renewed_before_anybody_hears_no() {
    let gateway = Gateway::bind().await;
    let tokens = Tokens(std::sync::Mutex::new(VecDeque::from(["ended", "fresh"])));
    let credential = Credential::Source(std::sync::Arc::new(tokens));
    let opening = Session { credential, ..session(&gateway) }.open();
    let door = async {
        gateway.refuse("401 Unauthorized").await;
        gateway.accept().await
    };
    let (opened, peer) = tokio::join!(opening, door);
    assert_eq!(peer.1.as_deref(), Some("Bearer fresh"));
    assert!(opened.is_ok());

    // A token that cannot be renewed is refused once, and for good.
    let fixed = Session { credential: Credential::Token("ended".into()), ..session(&gateway) }.open();
    let (opened, ()) = tokio::join!(fixed, gateway.refuse("401 Unauthorized"));
    assert!(matches!(opened, Err(ClientError::Refused { status: 401, .. })));
}
