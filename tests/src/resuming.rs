//! A client that streams in real time and comes back after every disconnect, to whichever gateway is next; and what it was
//! owed, checked.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use shared::{
    ids::UtteranceId,
    wire::{ClientMessage, EndReason, ErrorCode, Event, Resume, SUBPROTOCOL, ServerMessage, Start},
};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Audio of one frame, milliseconds.
const FRAME_MS: u64 = 100;
/// Bytes of a millisecond of 16 kHz mono s16le.
const BYTES_PER_MS: u64 = 32;
/// No answer takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Wait between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);

/// What one session saw, all its sockets together.
#[derive(Debug, Default)]
pub struct Journal {
    /// Events in the order they came, replayed ones among them.
    pub events: Vec<Event>,
    /// How long each disconnect lasted, from the broken socket to `started`.
    pub outages: Vec<Duration>,
    /// Where the server wanted audio from, each time; milliseconds.
    pub resumed_at_ms: Vec<u64>,
    /// The error that ended the session, if one did.
    pub error: Option<ErrorCode>,
}

/// What `cut` is asked with once `stop` was said.
pub const AFTER_STOP: u64 = u64::MAX;

/// Streams `pcm` (16 kHz mono s16le) in real time to the gateways at `urls`, one after the other at each disconnect, until
/// all is said and answered. `cut` is asked before each frame whether to break the socket, given the frame's position in
/// milliseconds.
///
/// # Panics
/// When nothing is heard for a minute.
pub async fn stream(
    urls: &[String],
    token: Option<&str>,
    start: Start,
    pcm: &[u8],
    mut cut: impl FnMut(u64) -> bool,
) -> Journal {
    let mut client = Client { start, token, journal: Journal::default(), resume: None };
    let mut gateway = 0;
    let mut broke: Option<Instant> = None;
    loop {
        let url = &urls[gateway % urls.len()];
        gateway += 1;
        let Some((socket, from_ms)) = client.connect(url).await else {
            if client.journal.error.is_some() {
                return client.journal;
            }
            broke.get_or_insert_with(Instant::now);
            assert!(broke.is_none_or(|at| at.elapsed() < PATIENCE), "no gateway takes the session for {PATIENCE:?}");
            sleep(RETRY).await;
            continue;
        };
        if let Some(at) = broke.take() {
            client.journal.outages.push(at.elapsed());
            client.journal.resumed_at_ms.push(from_ms);
        }
        if client.play(socket, pcm, from_ms, &mut cut).await {
            return client.journal;
        }
        broke = Some(Instant::now());
    }
}

struct Client<'a> {
    start: Start,
    token: Option<&'a str>,
    journal: Journal,
    resume: Option<String>,
}

impl Client<'_> {
    /// A socket on which the session goes on, and where the server wants audio from.
    async fn connect(&mut self, url: &str) -> Option<(Socket, u64)> {
        let mut request = url.into_client_request().unwrap_or_else(|e| panic!("{e}"));
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        if let Some(token) = self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap_or_else(|e| panic!("{e}"));
            request.headers_mut().insert("authorization", value);
        }
        let (mut socket, _) = timeout(Duration::from_secs(5), connect_async(request)).await.ok()?.ok()?;
        let last_event =
            self.journal.events.iter().rev().map(|event| event.event).find(|number| *number > 0).unwrap_or(0);
        let resume = self.resume.clone().map(|token| Resume { token, last_event });
        let start = ClientMessage::Start(Start { resume, ..self.start.clone() });
        socket.send(Message::text(serde_json::to_string(&start).unwrap_or_default())).await.ok()?;
        loop {
            let event = self.next(&mut socket).await?;
            if let ServerMessage::Started { audio_ms, resume_token, .. } = &event.message {
                self.resume = Some(resume_token.clone());
                return Some((socket, *audio_ms));
            }
        }
    }

    /// The next event, noted down; `None` when the socket has closed.
    async fn next(&mut self, socket: &mut Socket) -> Option<Event> {
        loop {
            let frame =
                timeout(PATIENCE, socket.next()).await.unwrap_or_else(|_| panic!("silence for {PATIENCE:?}"))?.ok()?;
            match frame {
                Message::Text(text) => {
                    let event: Event = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                    if let ServerMessage::Error(error) = &event.message {
                        // What can be mended by coming back is no end.
                        self.journal.error = (!error.retryable).then_some(error.code);
                    }
                    self.journal.events.push(event.clone());
                    return Some(event);
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Plays from `from_ms` on until the session has ended (true) or the socket broke (false).
    async fn play(&mut self, mut socket: Socket, pcm: &[u8], from_ms: u64, cut: &mut impl FnMut(u64) -> bool) -> bool {
        let mut position = from_ms;
        let mut pace = real_time();
        let mut stopped = false;
        loop {
            tokio::select! {
                event = self.next(&mut socket) => match event.map(|event| event.message) {
                    None => return self.journal.error.is_some(),
                    Some(ServerMessage::Ended { reason: EndReason::Stopped, .. }) => return true,
                    Some(_) => {}
                },
                _ = pace.tick(), if !stopped => {
                    if cut(position) {
                        return false; // Dropped as it is: the other side sees a broken connection.
                    }
                    let from = usize::try_from(position * BYTES_PER_MS).unwrap_or(usize::MAX);
                    let frame = pcm.get(from..).unwrap_or_default();
                    let frame = &frame[..frame.len().min(usize::try_from(FRAME_MS * BYTES_PER_MS).unwrap_or_default())];
                    stopped = frame.is_empty();
                    position += FRAME_MS;
                    let message = if stopped {
                        Message::text(serde_json::to_string(&ClientMessage::Stop {}).unwrap_or_default())
                    } else {
                        Message::binary(frame.to_vec())
                    };
                    if socket.send(message).await.is_err() || stopped && cut(AFTER_STOP) {
                        return false;
                    }
                }
            }
        }
    }
}

fn real_time() -> Interval {
    let mut pace = interval(Duration::from_millis(FRAME_MS));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    pace
}

/// What was wrong in a session.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Utterances without a final (or gap), in any lane.
    pub missing: usize,
    /// Finals, or utterances opened, more than once.
    pub twice: usize,
    /// Gaps.
    pub gaps: usize,
    /// Committed text that did not go on from what the client had.
    pub reworded: usize,
    /// Event numbers that did not grow.
    pub unordered: usize,
}

/// Checks what the client of `journal` saw, with translations into `targets`. Returns the final captions as well.
#[must_use]
pub fn check(journal: &Journal, targets: &[&str]) -> (Faults, Vec<String>) {
    let mut faults = Faults::default();
    let mut opened: BTreeMap<UtteranceId, usize> = BTreeMap::new();
    let mut finals: BTreeMap<(String, UtteranceId), usize> = BTreeMap::new();
    let mut committed: BTreeMap<(String, UtteranceId), String> = BTreeMap::new();
    let mut captions = BTreeMap::new();
    let mut last = 0;
    // What refused a resume is none of the session's.
    for event in journal.events.iter().filter(|event| event.event > 0) {
        faults.unordered += usize::from(event.event <= last);
        last = event.event;
        let (lane, utterance, text, is_final) = match &event.message {
            ServerMessage::SpeechStarted { utterance, .. } => {
                *opened.entry(*utterance).or_default() += 1;
                continue;
            }
            ServerMessage::Gap { .. } => {
                faults.gaps += 1;
                continue;
            }
            ServerMessage::Caption(c) => ("caption".to_owned(), c.utterance, &c.committed, c.is_final),
            ServerMessage::Translation(t) => (t.target.to_string(), t.utterance, &t.committed, t.is_final),
            _ => continue,
        };
        let before = committed.entry((lane.clone(), utterance)).or_default();
        faults.reworded += usize::from(!text.starts_with(before.as_str()));
        text.clone_into(before);
        if is_final {
            *finals.entry((lane.clone(), utterance)).or_default() += 1;
            if lane == "caption" {
                captions.insert(utterance, text.clone());
            }
        }
    }
    for lane in ["caption"].iter().chain(targets) {
        for utterance in opened.keys() {
            let count = finals.get(&((*lane).to_owned(), *utterance)).copied().unwrap_or(0);
            faults.missing += usize::from(count == 0);
            faults.twice += count.saturating_sub(1);
        }
    }
    faults.twice += opened.values().map(|count| count - 1).sum::<usize>();
    (faults, captions.into_values().collect())
}
