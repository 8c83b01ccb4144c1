//! Frames of one WebSocket to and from its session.

mod held;

use std::{
    future::{Future, pending},
    pin::pin,
    time::{Duration, Instant},
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use prometheus::{IntCounter, IntGauge};
use shared::{
    telemetry::Span,
    wire::{AudioFormat, Event, MAX_MESSAGE_BYTES},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};

use self::held::Held;

/// Frames waiting to be written. When it is full the session waits [`SLOW_READER`], then gives the client up.
const OUTBOX: usize = 256;
/// A client that takes nothing for so long is cut off.
const SLOW_READER: Duration = Duration::from_secs(10);
/// After the last word to a client, what it still sends is read and thrown away for so long: closing a socket with
/// unread data in it would reset the connection, and what we said last might never be seen.
const LINGER: Duration = Duration::from_secs(2);
/// What is under way for a client that has gone is given up after so long: a bus that answers is done long before.
const ABANDONED: Duration = Duration::from_secs(5);
/// How long a closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What came from the client.
#[derive(Debug)]
pub enum Inbound {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Audio(Bytes),
    /// A sign of life.
    Pong,
    /// A frame above [`MAX_MESSAGE_BYTES`]; its size, where it is known.
    TooLarge(Option<usize>),
    /// The client closed in order.
    Closed,
    /// The client went away.
    Gone,
}

/// The client does not read, or went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client is not there")]
pub struct Gone;

/// Splits a socket into its two directions. Messages that a client is too slow for are counted in `dropped`, bytes of it
/// that wait in `held`.
#[must_use]
pub fn open(socket: WebSocket, dropped: IntCounter, held: IntGauge) -> (Inbox, Outbox) {
    let (sink, stream) = socket.split();
    let (sender, receiver) = mpsc::channel(OUTBOX);
    let writer = tokio::spawn(write(sink, receiver, dropped.clone()));
    (Inbox { stream, held: Held::new(held), last_sign: Instant::now() }, Outbox { sender, writer, dropped })
}

/// From the client.
#[derive(Debug)]
pub struct Inbox {
    stream: SplitStream<WebSocket>,
    held: Held,
    last_sign: Instant,
}

impl Inbox {
    /// The next frame. Cancel-safe.
    pub async fn next(&mut self) -> Inbound {
        self.arrival().await.0
    }

    /// The next frame, and when it came: those that are held first. Cancel-safe.
    pub async fn arrival(&mut self) -> (Inbound, Instant) {
        match self.held.pop() {
            Some(held) => held,
            None => self.read().await,
        }
    }

    /// When the client last gave a sign of life that was read.
    #[must_use]
    pub fn last_sign(&self) -> Instant {
        self.last_sign
    }

    /// Has room for ten seconds of this format while nobody has time for it.
    pub fn fit(&mut self, format: AudioFormat) {
        self.held.fit(format);
    }

    /// Whether more can be held.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.held.has_room()
    }

    /// Whether frames wait here, so that what the client sends now is not the next to be looked at.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets `work` come to its end. What the client sends meanwhile is read and held, as far as there is room: so it is
    /// answered when it pings, and its audio is safe from what befalls its own buffers.
    ///
    /// # Errors
    /// [`Gone`] when the client went away and `work` goes on nevertheless.
    pub async fn hold_during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Gone> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                (frame, at) = self.read(), if self.held.has_room() => self.held.push(frame, at),
                () = sleep(ABANDONED), if self.held.is_abandoned() => return Err(Gone),
            }
        }
    }

    /// Reads and holds as far as there is room; the end of what the client sends, once it is there. Cancel-safe.
    pub async fn hold(&mut self) -> (Inbound, Instant) {
        while self.held.has_room() {
            let (frame, at) = self.read().await;
            self.held.push(frame, at);
        }
        match self.held.is_over().then(|| self.held.pop_end()).flatten() {
            Some(end) => end,
            None => pending().await,
        }
    }

    async fn read(&mut self) -> (Inbound, Instant) {
        let frame = self.read_frame().await;
        self.last_sign = Instant::now();
        (frame, self.last_sign)
    }

    async fn read_frame(&mut self) -> Inbound {
        let frame = match self.stream.next().await {
            Some(Ok(frame)) => frame,
            // The library reads no more after a frame above its own limit; all its other errors mean a broken socket.
            Some(Err(error)) if error.to_string().contains("too large") || error.to_string().contains("too long") => {
                return Inbound::TooLarge(None);
            }
            Some(Err(_)) | None => return Inbound::Gone,
        };
        match frame {
            Message::Text(text) if text.len() > MAX_MESSAGE_BYTES => Inbound::TooLarge(Some(text.len())),
            Message::Binary(bytes) if bytes.len() > MAX_MESSAGE_BYTES => Inbound::TooLarge(Some(bytes.len())),
            Message::Text(text) => Inbound::Text(text.to_string()),
            Message::Binary(bytes) => Inbound::Audio(bytes),
            Message::Ping(_) | Message::Pong(_) => Inbound::Pong,
            Message::Close(_) => Inbound::Closed,
        }
    }
}

impl Inbox {
    /// Waits until the client has closed as well, or [`LINGER`] is over; whether it closed in order, and so has read all there
    /// was. A frame above the library's own limit cannot be read past, and ends the waiting.
    pub async fn linger(mut self) -> bool {
        let gone = async {
            loop {
                match self.next().await {
                    Inbound::Closed => return true,
                    Inbound::Gone | Inbound::TooLarge(None) => return false,
                    _ => {}
                }
            }
        };
        timeout(LINGER, gone).await.unwrap_or_else(|_| {
            tracing::debug!("the client did not close; it is cut off");
            false
        })
    }
}

/// What waits in an outbox: a frame, and what ends once it is written; cut off where that cannot be.
#[derive(Debug)]
struct Outgoing {
    frame: Message,
    spans: Vec<Span>,
}

/// To the client.
#[derive(Debug)]
pub struct Outbox {
    sender: mpsc::Sender<Outgoing>,
    writer: JoinHandle<()>,
    dropped: IntCounter,
}

impl Outbox {
    /// Sends one event.
    ///
    /// # Errors
    /// [`Gone`] when the client did not read for [`SLOW_READER`] or went away.
    pub async fn send(&self, event: &Event) -> Result<(), Gone> {
        self.send_within(event, Vec::new()).await
    }

    /// Sends one event, and ends `spans` once it is written to the socket.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub async fn send_within(&self, event: &Event, spans: Vec<Span>) -> Result<(), Gone> {
        let Ok(text) = serde_json::to_string(event) else { return Err(Gone) };
        self.push(Message::Text(text.into()), spans).await
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    pub async fn ping(&self) -> Result<(), Gone> {
        self.push(Message::Ping(Bytes::new()), Vec::new()).await
    }

    /// Closes with `code` after all that was sent before.
    pub async fn close(self, code: u16, reason: &'static str) {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let sent = self.push(frame, Vec::new()).await;
        drop(self.sender);
        if sent.is_ok() && timeout(CLOSE_TIMEOUT + SLOW_READER, self.writer).await.is_err() {
            tracing::debug!("the client did not take the close frame");
        }
    }

    async fn push(&self, frame: Message, spans: Vec<Span>) -> Result<(), Gone> {
        match timeout(SLOW_READER, self.sender.send(Outgoing { frame, spans })).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                self.dropped.inc();
                Err(Gone)
            }
        }
    }
}

async fn write(mut sink: SplitSink<WebSocket, Message>, mut outgoing: mpsc::Receiver<Outgoing>, dropped: IntCounter) {
    while let Some(Outgoing { frame, spans }) = outgoing.recv().await {
        match timeout(SLOW_READER, sink.send(frame)).await {
            Ok(Ok(())) => spans.into_iter().for_each(Span::end),
            Ok(Err(_)) => return,
            // This one, and what waits behind it.
            Err(_) => {
                outgoing.close();
                dropped.inc();
                while outgoing.try_recv().is_ok() {
                    dropped.inc();
                }
                return;
            }
        }
    }
}
