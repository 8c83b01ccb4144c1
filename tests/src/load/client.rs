//! One session: real speech in real time, and a note of what came back and when.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use shared::{
    ids::{Revision, SessionId, UtteranceId},
    shutdown::CancellationToken,
    wire::{Caption, ClientMessage, Event, SUBPROTOCOL, ServerMessage, Start},
};
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig},
};

use super::{
    owed::Owed,
    voice::{FRAME_MS, Voice},
};

/// How long a handshake may take: thousands come at once.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How long what is owed may take after `stop`.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// Frames whose time of sending is known: one minute.
const SENT_KEPT: usize = 600;
/// The library's default of 128 KiB a connection would cost 2.6 GB at 10,000 connections.
const BUFFER_BYTES: usize = 4096;

/// Microseconds since the Unix epoch, by this machine's clock.
#[must_use]
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A caption and when it came.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Of which utterance.
    pub utterance: UtteranceId,
    /// Which of its captions.
    pub revision: Revision,
    /// When, microseconds since the Unix epoch.
    pub at_us: u64,
}

/// What is known of one session.
#[derive(Debug)]
pub struct Log {
    /// Its id, once it has begun.
    pub session: Option<SessionId>,
    /// What it is owed.
    pub owed: Owed,
    /// Audio sent, milliseconds.
    pub sent_ms: u64,
    /// Audio acknowledged, milliseconds.
    pub acked_ms: u64,
    /// `lag` events that told of captions behind.
    pub lags: usize,
    /// From the sending of the last audio in a partial caption until it was there, microseconds.
    pub partials_us: Vec<u32>,
    /// The same of finals: with the silence that ends an utterance.
    pub finals_us: Vec<u32>,
    /// How late frames were sent, microseconds.
    pub late_us: Vec<u32>,
    /// Captions and when they came, where somebody wants to know.
    pub seen: Option<Vec<Seen>>,
    /// Why it ended, where that was not in order.
    pub broken: Option<String>,
    /// When the newest frames were sent, microseconds since the Unix epoch.
    sent_us: VecDeque<u64>,
    /// Frames sent before those.
    forgotten: u64,
}

impl Log {
    fn new(targets: &[String], watched: bool) -> Self {
        Self {
            session: None,
            owed: Owed::new(targets),
            sent_ms: 0,
            acked_ms: 0,
            lags: 0,
            partials_us: Vec::new(),
            finals_us: Vec::new(),
            late_us: Vec::new(),
            seen: watched.then(Vec::new),
            broken: None,
            sent_us: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// When the frame that ends at or behind `at_ms` was sent, microseconds since the Unix epoch.
    #[must_use]
    pub fn sent_at(&self, at_ms: u64) -> Option<u64> {
        let frame = at_ms.saturating_sub(1) / FRAME_MS;
        let index = usize::try_from(frame.checked_sub(self.forgotten)?).ok()?;
        self.sent_us.get(index).copied()
    }

    fn sent(&mut self, late: Duration) {
        self.sent_ms += FRAME_MS;
        self.late_us.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        self.sent_us.push_back(now_us());
        if self.sent_us.len() > SENT_KEPT {
            self.sent_us.pop_front();
            self.forgotten += 1;
        }
    }

    fn take(&mut self, event: &Event) {
        self.owed.take(event);
        match &event.message {
            ServerMessage::Started { session, .. } => self.session = Some(*session),
            ServerMessage::Ack { audio_ms } => self.acked_ms = *audio_ms,
            ServerMessage::Lag { behind_ms, .. } => self.lags += usize::from(*behind_ms > 0),
            ServerMessage::Caption(caption) => self.caption(caption),
            ServerMessage::Error(error) => self.broken = Some(error.code.as_str().to_owned()),
            _ => {}
        }
    }

    fn caption(&mut self, caption: &Caption) {
        let at_us = now_us();
        if let Some(sent) = self.sent_at(caption.end_ms) {
            let took = u32::try_from(at_us.saturating_sub(sent)).unwrap_or(u32::MAX);
            if caption.is_final { &mut self.finals_us } else { &mut self.partials_us }.push(took);
        }
        if let Some(seen) = &mut self.seen {
            seen.push(Seen { utterance: caption.utterance, revision: caption.revision, at_us });
        }
    }
}

/// What a session is to do.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// Its path, with the leading slash.
    pub path: String,
    /// What it begins with.
    pub start: Start,
    /// What is spoken; nothing where it only listens.
    pub voice: Option<Voice>,
    /// The frame it begins with.
    pub from: usize,
    /// When it speaks its first frame.
    pub begins: Instant,
}

/// A session under way; whoever holds it may look at its log.
#[derive(Debug, Clone)]
pub struct Session(Arc<Mutex<Log>>);

impl Session {
    /// For a part. Times of its captions are kept where it is `watched`.
    #[must_use]
    pub fn new(part: &Part, watched: bool) -> Self {
        let targets: Vec<String> = part.start.targets.iter().map(ToString::to_string).collect();
        Self(Arc::new(Mutex::new(Log::new(&targets, watched))))
    }

    /// What is known of it.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays `part` until `stop`, then waits for what is owed.
    pub async fn play(self, part: Part, stop: CancellationToken) {
        if let Err(error) = self.speak(part, &stop).await {
            let mut log = self.log();
            log.broken.get_or_insert_with(|| format!("{error:#}"));
        }
    }

    async fn speak(&self, part: Part, stop: &CancellationToken) -> anyhow::Result<()> {
        let opened = timeout(CONNECT_PATIENCE, connect(&part)).await.context("no handshake in time")?;
        let mut socket = opened?;
        say(&mut socket, &ClientMessage::Start(part.start)).await?;
        let mut beat = interval_at(part.begins, Duration::from_millis(FRAME_MS));
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut number, mut deadline) = (0, None);
        loop {
            tokio::select! {
                frame = socket.next() => {
                    let Some(frame) = frame else { bail!("the connection broke") };
                    match frame? {
                        Message::Text(text) => {
                            let event: Event = serde_json::from_str(&text).context("an event cannot be read")?;
                            let mut log = self.log();
                            log.take(&event);
                            if log.owed.ended() {
                                return Ok(());
                            }
                        }
                        Message::Close(close) => bail!("closed with {:?}", close.map(|close| close.code)),
                        _ => {}
                    }
                }
                due = beat.tick(), if deadline.is_none() && part.voice.is_some() => {
                    let Some(voice) = &part.voice else { continue };
                    let frame = voice.frame(part.from, number);
                    number += 1;
                    self.log().sent(due.elapsed());
                    socket.send(Message::Binary(frame)).await?;
                }
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + END_PATIENCE);
                    say(&mut socket, &ClientMessage::Stop {}).await?;
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    bail!("it did not end in time");
                }
            }
        }
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn connect(part: &Part) -> anyhow::Result<Socket> {
    let stream = TcpStream::connect(part.address).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{}{}", part.address, part.path).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(0);
    Ok(client_async_with_config(request, stream, Some(config)).await?.0)
}

async fn say(socket: &mut Socket, message: &ClientMessage) -> anyhow::Result<()> {
    Ok(socket.send(Message::text(serde_json::to_string(message)?)).await?)
}
