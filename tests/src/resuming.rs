//! A client that streams in real time and comes back after every disconnect, to whichever gateway is next. What it was owed
//! is checked in [`crate::chaos::invariants`].

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use shared::{
    ids::SessionId,
    wire::{ClientMessage, EndReason, ErrorCode, Event, Resume, SUBPROTOCOL, ServerMessage, Start},
};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

pub use crate::chaos::invariants::{Faults, check};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Audio of one frame, milliseconds.
const FRAME_MS: u64 = 100;
/// Bytes of a millisecond of 16 kHz mono s16le.
const BYTES_PER_MS: u64 = 32;
/// No answer takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A socket without a sign of life for so long is dead; the server pings every 20 s.
const DEAD_AFTER: Duration = Duration::from_secs(45);
/// Wait between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);

/// Audio to stream, 16 kHz mono s16le.
pub trait Audio: Send + Sync {
    /// The bytes of at most `length_ms` from `from_ms` on; none when all was said.
    fn frame(&self, from_ms: u64, length_ms: u64) -> Vec<u8>;
}

impl Audio for [u8] {
    fn frame(&self, from_ms: u64, length_ms: u64) -> Vec<u8> {
        let bytes = |ms: u64| usize::try_from(ms.saturating_mul(BYTES_PER_MS)).unwrap_or(usize::MAX);
        let rest = self.get(bytes(from_ms)..).unwrap_or_default();
        rest[..rest.len().min(bytes(length_ms))].to_vec()
    }
}

/// What one session saw, all its sockets together.
#[derive(Debug, Default)]
pub struct Journal {
    /// Events in the order they came, replayed ones among them.
    pub events: Vec<Event>,
    /// When each of them came.
    pub times: Vec<Instant>,
    /// The session.
    pub session: Option<SessionId>,
    /// How long each disconnect lasted, from the broken socket to `started`.
    pub outages: Vec<Duration>,
    /// When each socket broke.
    pub broke_at: Vec<Instant>,
    /// Where the server wanted audio from, each time; milliseconds.
    pub resumed_at_ms: Vec<u64>,
    /// The error that ended the session, if one did.
    pub error: Option<ErrorCode>,
    /// Whether the client lost its patience before all was answered.
    pub gave_up: bool,
}

/// What `cut` is asked with once `stop` was said.
pub const AFTER_STOP: u64 = u64::MAX;

/// A client before it speaks.
#[derive(Debug, Clone)]
pub struct Caller<'a> {
    /// Gateways, one after the other at each disconnect.
    pub urls: &'a [String],
    /// Access token, where one is wanted.
    pub token: Option<&'a str>,
    /// What it begins with.
    pub start: Start,
    /// How many times faster than it is spoken the audio is sent; gateways read up to 1.25 times.
    pub speed: f64,
    /// It gives up when no gateway takes it, or nothing is answered, for so long.
    pub patience: Duration,
}

impl<'a> Caller<'a> {
    /// One that speaks in real time, with a minute's patience.
    #[must_use]
    pub fn new(urls: &'a [String], token: Option<&'a str>, start: Start) -> Self {
        Self { urls, token, start, speed: 1.0, patience: PATIENCE }
    }

    /// Streams `audio` until all is said and answered. `cut` is asked before each frame whether to break the socket, given
    /// the frame's position in milliseconds.
    pub async fn say<A: Audio + ?Sized>(self, audio: &A, mut cut: impl FnMut(u64) -> bool) -> Journal {
        let mut client = Client {
            caller: self,
            journal: Journal::default(),
            resume: None,
            heard: Instant::now(),
            alive: Instant::now(),
        };
        let mut gateway = 0;
        let mut broke: Option<Instant> = None;
        loop {
            let url = &client.caller.urls[gateway % client.caller.urls.len()];
            gateway += 1;
            let Some((socket, from_ms)) = client.connect(url).await else {
                if client.journal.error.is_some() {
                    return client.journal;
                }
                if broke.get_or_insert_with(Instant::now).elapsed() > client.caller.patience {
                    client.journal.gave_up = true;
                    return client.journal;
                }
                sleep(RETRY).await;
                continue;
            };
            if let Some(at) = broke.take() {
                client.journal.outages.push(at.elapsed());
                client.journal.broke_at.push(at);
                client.journal.resumed_at_ms.push(from_ms);
            }
            if client.play(socket, audio, from_ms, &mut cut).await {
                return client.journal;
            }
            broke = Some(Instant::now());
        }
    }
}

/// Streams `pcm` (16 kHz mono s16le) in real time to the gateways at `urls`, as [`Caller::say`] does.
///
/// # Panics
/// When no gateway takes it, or nothing is answered, for a minute.
pub async fn stream(
    urls: &[String],
    token: Option<&str>,
    start: Start,
    pcm: &[u8],
    cut: impl FnMut(u64) -> bool,
) -> Journal {
    let journal = Caller::new(urls, token, start).say(pcm, cut).await;
    assert!(!journal.gave_up, "nothing was heard for {PATIENCE:?}");
    journal
}

struct Client<'a> {
    caller: Caller<'a>,
    journal: Journal,
    resume: Option<String>,
    /// When an event last came.
    heard: Instant,
    /// When the server last gave a sign of life.
    alive: Instant,
}

impl Client<'_> {
    /// A socket on which the session goes on, and where the server wants audio from.
    async fn connect(&mut self, url: &str) -> Option<(Socket, u64)> {
        let mut request = url.into_client_request().unwrap_or_else(|e| panic!("{e}"));
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        if let Some(token) = self.caller.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap_or_else(|e| panic!("{e}"));
            request.headers_mut().insert("authorization", value);
        }
        let (mut socket, _) = timeout(Duration::from_secs(5), connect_async(request)).await.ok()?.ok()?;
        let last_event =
            self.journal.events.iter().rev().map(|event| event.event).find(|number| *number > 0).unwrap_or(0);
        let resume = self.resume.clone().map(|token| Resume { token, last_event });
        let start = ClientMessage::Start(Start { resume, ..self.caller.start.clone() });
        socket.send(Message::text(serde_json::to_string(&start).unwrap_or_default())).await.ok()?;
        loop {
            let event = self.next(&mut socket).await?;
            // Before the session began, nothing is lost by coming again.
            self.journal.error = self.journal.error.filter(|_| self.resume.is_some());
            if let ServerMessage::Started { audio_ms, resume_token, session, .. } = &event.message {
                self.resume = Some(resume_token.clone());
                self.journal.session = Some(*session);
                return Some((socket, *audio_ms));
            }
        }
    }

    /// The next event, noted down; `None` when the socket has closed, or gave no sign of life for too long.
    async fn next(&mut self, socket: &mut Socket) -> Option<Event> {
        loop {
            let frame = timeout(DEAD_AFTER, socket.next()).await.ok()??.ok()?;
            self.alive = Instant::now();
            match frame {
                Message::Text(text) => {
                    let event: Event = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                    if let ServerMessage::Error(error) = &event.message {
                        // What can be mended by coming back is no end.
                        self.journal.error = (!error.retryable).then_some(error.code);
                    }
                    self.journal.events.push(event.clone());
                    self.heard = Instant::now();
                    self.journal.times.push(self.heard);
                    return Some(event);
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Plays from `from_ms` on until the session has ended (true) or the socket broke (false).
    async fn play<A: Audio + ?Sized>(
        &mut self,
        socket: Socket,
        audio: &A,
        from_ms: u64,
        cut: &mut impl FnMut(u64) -> bool,
    ) -> bool {
        let mut socket = socket;
        let mut position = from_ms;
        let mut pace = pace(self.caller.speed);
        let mut stopped = false;
        self.heard = Instant::now();
        loop {
            let (impatient, dead) = (self.heard + self.caller.patience, self.alive + DEAD_AFTER);
            tokio::select! {
                event = self.next(&mut socket) => match event.map(|event| event.message) {
                    None => return self.journal.error.is_some(),
                    Some(ServerMessage::Ended { reason: EndReason::Stopped, .. }) => return true,
                    Some(_) => {}
                },
                () = sleep(dead.saturating_duration_since(Instant::now())) => return false,
                () = sleep(impatient.saturating_duration_since(Instant::now())), if stopped => {
                    self.journal.gave_up = true;
                    return true;
                }
                _ = pace.tick(), if !stopped => {
                    if cut(position) {
                        return false; // Dropped as it is: the other side sees a broken connection.
                    }
                    let frame = audio.frame(position, FRAME_MS);
                    stopped = frame.is_empty();
                    position += FRAME_MS;
                    let message = if stopped {
                        Message::text(serde_json::to_string(&ClientMessage::Stop {}).unwrap_or_default())
                    } else {
                        Message::binary(frame)
                    };
                    // A server that does not read (for its bus is away, say) must not keep us for ever.
                    let sent = timeout(DEAD_AFTER, socket.send(message)).await;
                    if !matches!(sent, Ok(Ok(()))) || stopped && cut(AFTER_STOP) {
                        return false;
                    }
                }
            }
        }
    }
}

fn pace(speed: f64) -> Interval {
    let mut pace = interval(Duration::from_millis(FRAME_MS).div_f64(speed));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    pace
}
