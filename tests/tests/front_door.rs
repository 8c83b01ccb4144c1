//! The front door as a whole: two gateways, one Redis, one database, an issuer that signs whatever it is told to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use client::{Receiver, Sender};
use identity::{Clock, IdentityConfig, People, ProviderIdentity, Tokens};
use shared::{
    bus::RedisBus,
    wire::{ClientMessage, ErrorCode, Resume, ServerMessage, Start},
};
use tempfile::TempDir;
use tests::{
    figure::figure,
    hostile_issuer::HostileIssuer,
    redis_server::RedisServer,
    session::{PATIENCE, start},
    stack::{Process, free_addr},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

#[path = "front_door/credentials.rs"]
mod credentials;

/// Of the HS256 tokens that a backend of one's own mints.
const SHARED_SECRET: &str = "a shared secret of more than thirty-two bytes";
/// Pages of this origin may connect.
const PAGE: &str = "https://captions.example";
const AUDIENCE: &str = "captions";

/// Two gateways that ask who somebody is.
struct House {
    redis: RedisServer,
    directory: TempDir,
    issuer: HostileIssuer,
    people: People,
    ports: [u16; 2],
    _gateways: Vec<Process>,
}

impl House {
    async fn open(settings: &[(&str, &str)]) -> Self {
        let (redis, issuer) = (RedisServer::spawn().await, HostileIssuer::start().await);
        let directory = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", directory.path().join("people.db").display());
        let bus = Arc::new(RedisBus::connect(&redis.url()).await.unwrap());
        let people = People::open(&IdentityConfig::at(&database), Vec::new(), bus, Clock::default()).await.unwrap();
        let ports = [free_addr().port(), free_addr().port()];
        let (url, trusted) = (redis.url(), format!("{}|{AUDIENCE}", issuer.issuer()));
        let mut gateways = Vec::new();
        for port in ports {
            let text = port.to_string();
            let mut env = vec![
                ("REDIS_URL", url.as_str()),
                ("GATEWAY_PORT", &text),
                ("DATABASE_URL", &database),
                ("JWT_SECRET", SHARED_SECRET),
                ("TRUSTED_ISSUERS", &trusted),
                ("ALLOWED_ORIGINS", PAGE),
                ("CONNECTIONS_PER_MINUTE", "100000"),
                ("SESSIONS_PER_USER", "1000"),
            ];
            env.extend_from_slice(settings);
            gateways.push(Process::spawn("gateway", &format!("gateway-{port}"), &env));
        }
        for gateway in &mut gateways {
            gateway.ready().await;
        }
        Self { redis, directory, issuer, people, ports, _gateways: gateways }
    }

    async fn sign_in(&self, who: &str) -> Tokens {
        let who = ProviderIdentity {
            issuer: "https://id.example".to_owned(),
            subject: who.to_owned(),
            verified_email: Some(format!("{who}@example.com")),
            name: None,
        };
        self.people.sign_in(&who, "a laptop", "192.0.2.1").await.unwrap()
    }

    fn url(&self, gateway: usize) -> String {
        format!("ws://127.0.0.1:{}/v1/stream", self.ports[gateway])
    }

    /// A session at a gateway, and the token to resume it.
    async fn session(&self, gateway: usize, token: &str) -> (Sender, Receiver, String) {
        let (sender, mut receiver) = client::open(&self.url(gateway), Some(token), start(&[])).await.unwrap();
        let first = timeout(PATIENCE, receiver.next()).await.unwrap().unwrap().unwrap();
        let ServerMessage::Started { resume_token, .. } = first.message else { panic!("{first:?}") };
        (sender, receiver, resume_token)
    }

    /// What a handshake with these header lines is answered with: status and head.
    async fn handshake(&self, path: &str, headers: &[(&str, String)]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[0])).await.unwrap();
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.ports[0]
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut more = [0; 1024];
            let read = timeout(PATIENCE, stream.read(&mut more)).await.unwrap().unwrap_or(0);
            if read == 0 {
                break;
            }
            head.extend_from_slice(&more[..read]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), head)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Waits until a session is ended by an error, and says by which.
async fn ended_by(receiver: &mut Receiver) -> ErrorCode {
    let error = timeout(PATIENCE, async {
        loop {
            match receiver.next().await {
                Ok(Some(event)) => {
                    if let ServerMessage::Error(error) = event.message {
                        return error.code;
                    }
                }
                end => panic!("closed without a reason: {end:?}"),
            }
        }
    });
    error.await.unwrap()
}

#[tokio::test]
async fn no_bad_credential_gets_past_the_handshake() {
    let house = House::open(&[]).await;
    let bad = credentials::bad(&house).await;
    let names: BTreeSet<_> = bad.iter().map(|bad| bad.name.clone()).collect();
    assert_eq!(names.len(), bad.len(), "each is another one");
    let (mut refused, mut faults, mut wrong) = (0, 0, Vec::new());
    for bad in &bad {
        let (status, head) = house.handshake(&bad.path, &bad.headers).await;
        faults += usize::from(status >= 500);
        let is_refused = (400..500).contains(&status);
        refused += usize::from(is_refused);
        if !is_refused {
            wrong.push(format!("{}: {status}", bad.name));
        }
        assert!(head.to_ascii_lowercase().contains("x-request-id:"), "{}: {head}", bad.name);
        assert!(
            status != 401 || head.to_ascii_lowercase().contains("www-authenticate: bearer"),
            "{}: {head}",
            bad.name
        );
    }
    figure("bad_credentials_tried", bad.len() as f64);
    figure("bad_credentials_refused", refused as f64);
    figure("bad_credentials_5xx", faults as f64);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(bad.len() >= 60, "only {} were tried", bad.len());
    // And the good ones do, or the table would prove nothing.
    for good in credentials::good(&house).await {
        let (status, head) = house.handshake(&good.path, &good.headers).await;
        assert_eq!(status, 101, "{}: {head}", good.name);
    }
}

/// Sockets of one sign-in at both gateways, and of another that must not be touched.
async fn at_both_gateways(
    house: &House,
    tokens: &Tokens,
) -> (Vec<(Sender, Receiver, String)>, (Sender, Receiver, String)) {
    let mine = vec![house.session(0, &tokens.access_token).await, house.session(1, &tokens.access_token).await];
    let other = house.sign_in("bea").await;
    (mine, house.session(1, &other.access_token).await)
}

/// Seconds until all of `sockets` were told that their sign-in was ended.
async fn until_ended(sockets: &mut [(Sender, Receiver, String)]) -> f64 {
    let begun = Instant::now();
    for (_, receiver, _) in sockets {
        assert_eq!(ended_by(receiver).await, ErrorCode::AuthError);
    }
    begun.elapsed().as_secs_f64()
}

#[tokio::test]
async fn a_refresh_token_used_again_ends_its_sockets_at_every_gateway() {
    let house = House::open(&[]).await;
    let tokens = house.sign_in("ana").await;
    let (mut mine, (_sender, mut other, _)) = at_both_gateways(&house, &tokens).await;
    let second = house.people.refresh(&tokens.refresh_token, "192.0.2.1").await.unwrap();
    house.people.refresh(&second.refresh_token, "192.0.2.1").await.unwrap();
    // Two generations old: somebody else has it.
    house.people.refresh(&tokens.refresh_token, "203.0.113.9").await.unwrap_err();
    figure("reuse_closes_seconds", until_ended(&mut mine).await);
    let (status, _) =
        house.handshake("/v1/stream", &[("Authorization", format!("Bearer {}", second.access_token))]).await;
    assert_eq!(status, 401, "an access token of an ended sign-in that has not expired yet");
    assert!(timeout(Duration::from_millis(500), other.next()).await.is_err(), "somebody else's session goes on");
}

#[tokio::test]
async fn signing_out_ends_the_sockets_at_every_gateway() {
    let house = House::open(&[]).await;
    let tokens = house.sign_in("ana").await;
    let (mut mine, (_sender, mut other, _)) = at_both_gateways(&house, &tokens).await;
    house.people.sign_out(&tokens.refresh_token).await.unwrap();
    figure("logout_closes_seconds", until_ended(&mut mine).await);
    assert!(timeout(Duration::from_millis(500), other.next()).await.is_err(), "somebody else's session goes on");
}

#[tokio::test]
async fn a_hundred_refreshes_of_one_token_have_one_successor() {
    let house = House::open(&[]).await;
    let tokens = house.sign_in("ana").await;
    let mut refreshes = JoinSet::new();
    for _ in 0..100 {
        let (people, token) = (house.people.clone(), tokens.refresh_token.clone());
        refreshes.spawn(async move { people.refresh(&token, "192.0.2.1").await.unwrap().refresh_token });
    }
    let successors: BTreeSet<String> = refreshes.join_all().await.into_iter().collect();
    figure("refresh_successors", successors.len() as f64);
    assert_eq!(successors.len(), 1);
}

#[tokio::test]
async fn a_session_is_resumed_only_by_its_own_person_and_keeps_its_place() {
    let house = House::open(&[("SESSIONS_PER_USER", "1")]).await;
    let (ana, bea) = (house.sign_in("ana").await, house.sign_in("bea").await);
    let (sender, mut first, resume_token) = house.session(0, &ana.access_token).await;
    let resume = |token: &str| Start { resume: Some(Resume { token: token.to_owned(), last_event: 1 }), ..start(&[]) };
    let (_stranger, mut receiver) =
        client::open(&house.url(1), Some(&bea.access_token), resume(&resume_token)).await.unwrap();
    assert_eq!(ended_by(&mut receiver).await, ErrorCode::ResumeExpired);
    drop((sender, receiver));
    // The broken socket's gateway may not have noticed yet; her one place is the session's wherever it goes on.
    let (_sender, mut again) =
        client::open(&house.url(1), Some(&ana.access_token), resume(&resume_token)).await.unwrap();
    let event = timeout(PATIENCE, again.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event.message, ServerMessage::Started { resumed: true, .. }), "{event:?}");
    drop(first.next().await);
    let (status, head) =
        house.handshake("/v1/stream", &[("Authorization", format!("Bearer {}", ana.access_token))]).await;
    assert_eq!(status, 429, "a second session is one too many: {head}");
    assert!(head.to_ascii_lowercase().contains("retry-after:"), "{head}");
}

/// That a rotated key is fetched once, and unknown ones once a minute, is in sign_in.rs, where a clock can be moved.
#[tokio::test]
async fn an_issuer_that_is_away_breaks_no_session() {
    let house = House::open(&[]).await;
    let token = credentials::external(&house, &house.issuer.kid());
    let (mut sender, mut receiver, _) = house.session(0, &token).await;
    house.issuer.set_down(true);
    sender.audio(vec![0; 64_000]).await.unwrap();
    let event = timeout(PATIENCE, receiver.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event.message, ServerMessage::Ack { .. }), "{event:?}");
    let renewed = credentials::external(&house, &house.issuer.kid());
    sender.say(&ClientMessage::Auth { token: renewed }).await.unwrap();
    sender.audio(vec![0; 64_000]).await.unwrap();
    let event = timeout(PATIENCE, receiver.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(event.message, ServerMessage::Ack { .. }), "the renewed token is good: {event:?}");
    let (status, head) = house.handshake("/v1/stream", &[("Authorization", format!("Bearer {token}"))]).await;
    assert_eq!(status, 101, "the key is known: {head}");
}

/// The long form: `cargo test -p tests --test front_door --release -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement; `cargo xtask prove front-door` runs it"]
async fn the_door_decides_fast() {
    const SECONDS: usize = 10;
    const A_SECOND: usize = 100;
    let house = House::open(&[]).await;
    let tokens = house.sign_in("ana").await;
    let (good, bad) = (format!("Bearer {}", tokens.access_token), format!("Bearer {}x", tokens.access_token));
    let mut pace = interval(Duration::from_secs(1) / A_SECOND as u32);
    let mut times = Vec::new();
    // The first ones warm up what is loaded once.
    for n in 0..(SECONDS + 1) * A_SECOND {
        pace.tick().await;
        let (shown, expected) = if n % 2 == 0 { (&good, 101) } else { (&bad, 401) };
        let begun = Instant::now();
        let (status, head) = house.handshake("/v1/stream", &[("Authorization", shown.clone())]).await;
        if n >= A_SECOND {
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        assert_eq!(status, expected, "{head}");
    }
    times.sort_by(f64::total_cmp);
    figure("handshake_p50_ms", times[times.len() / 2]);
    figure("handshake_p99_ms", times[times.len() * 99 / 100]);
    sleep(Duration::from_millis(100)).await;
    drop((house.redis, house.directory));
}
