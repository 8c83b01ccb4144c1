//! A gateway with people of its own, and a client that speaks plain HTTP to it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared by tests, each of which uses a part"
)]

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use gateway::{Gateway, GatewayConfig, config::AuthMode, door::Door};
use identity::{Clock, IdentityConfig, People, Scope, Scopes, access::SharedSecret, people::MintRequest};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use prometheus::{Registry, TextEncoder};
use serde_json::{Value, json};
use shared::{
    bus::{Bus, MemoryBus},
    health::Health,
    shutdown::CancellationToken,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// For what must come; never waited out by a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where people are kept, and a way to make them.
pub struct Town {
    directory: TempDir,
    pub bus: Arc<dyn Bus>,
    pub people: People,
}

impl Town {
    pub async fn new() -> Self {
        Self::on(Arc::new(MemoryBus::new())).await
    }

    pub async fn on(bus: Arc<dyn Bus>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let people = People::open(&identity(&directory), Vec::new(), Arc::clone(&bus), Clock::default()).await.unwrap();
        Self { directory, bus, people }
    }

    /// A gateway of this town with these settings.
    pub async fn gateway(&self, change: impl FnOnce(&mut GatewayConfig)) -> House {
        let mut config = GatewayConfig::loopback();
        config.auth = AuthMode::On(Box::new(identity(&self.directory)));
        change(&mut config);
        House::open(config, Arc::clone(&self.bus)).await
    }

    /// A token of ours.
    pub async fn token(&self, subject: &str, scopes: &[Scope]) -> String {
        let scopes = Scopes::of(scopes.iter().copied());
        let life = Duration::from_secs(600);
        self.people.mint(&MintRequest { subject: subject.to_owned(), scopes, life }).await.unwrap()
    }
}

fn identity(directory: &TempDir) -> IdentityConfig {
    let file = directory.path().join("people.db");
    let mut config = IdentityConfig::at(&format!("sqlite:{}", file.display()));
    config.shared_secret = Some(SharedSecret { secret: SECRET.to_owned().into(), audience: None });
    config
}

/// An HS256 token with these claims.
pub fn hs256(claims: &Value, secret: &str) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub fn good_hs256(subject: &str) -> String {
    hs256(&json!({"sub": subject, "exp": now() + 600}), SECRET)
}

/// A running gateway; stopped when dropped.
pub struct House {
    pub addr: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub door: Arc<Door>,
    registry: Registry,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl House {
    pub async fn open(config: GatewayConfig, bus: Arc<dyn Bus>) -> Self {
        let registry = Registry::new();
        let health = Health::new("gateway", &["bus"], registry.clone());
        let gateway = Gateway::bind(config, bus, health, &registry).await.unwrap();
        let (addr, admin, door) = (gateway.local_addr().unwrap(), gateway.admin_addr(), gateway.door());
        let stop = CancellationToken::new();
        let until = stop.clone();
        let running = tokio::spawn(async move { gateway.run(until).await.unwrap() });
        Self { addr, admin, door, registry, stop, running }
    }

    /// Value of a metric written as in `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.addr, "GET", path, headers, "").await
    }

    /// A WebSocket handshake by hand.
    pub async fn knock(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.addr, "GET", path, &handshake(headers), "").await
    }

    /// A session that has begun.
    pub async fn session(&self, token: &str) -> Result<Socket, String> {
        self.session_with(token, &[]).await.map(|(socket, _)| socket)
    }

    /// The same, with the `started` event.
    pub async fn session_with(&self, token: &str, headers: &[(&'static str, &str)]) -> Result<(Socket, Value), String> {
        let mut request = format!("ws://{}/v1/stream", self.addr).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.map_err(|error| error.to_string())?;
        socket.send(Message::text(START)).await.unwrap();
        match next_event(&mut socket).await {
            Ok(event) if event["type"] == "started" => Ok((socket, event)),
            other => Err(format!("{other:?}")),
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

pub const START: &str =
    r#"{"type":"start","audio":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1},"source":"en","targets":[]}"#;

/// The next event, or the code and reason of the close.
pub async fn next_event(socket: &mut Socket) -> Result<Value, u16> {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("something comes") {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(1006),
        }
    }
}

/// The error event and the close code with which a session ends.
pub async fn end_of(socket: &mut Socket) -> (Option<Value>, u16) {
    let mut error = None;
    loop {
        match next_event(socket).await {
            Ok(event) if event["type"] == "error" => error = Some(event),
            Ok(_) => {}
            Err(code) => return (error, code),
        }
    }
}

pub fn handshake<'a>(headers: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend_from_slice(headers);
    all
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
    /// Kept open, for a WebSocket.
    pub stream: Option<TcpStream>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get("retry-after").and_then(|after| after.parse().ok())
    }
}

pub async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut answer = converse(&mut stream, &request(addr, method, path, headers, body)).await;
    answer.stream = Some(stream);
    answer
}

pub fn request(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text += &format!("Host: {addr}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

/// Sends a request and reads one answer with a `Content-Length`, or none.
pub async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some(answer) = parse(&text) {
                return answer;
            }
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "cut off after: {text}");
            bytes.extend_from_slice(&chunk[..count]);
        }
    };
    timeout(PATIENCE, read).await.expect("an answer comes")
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    (body.len() >= length).then(|| Answer { status, headers, body: body[..length].to_owned(), stream: None })
}
