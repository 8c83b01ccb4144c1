//! A session that outlives its sockets: what was not acknowledged is kept, and after a broken connection the client
//! connects again, to whichever gateway answers, and goes on where it was.
//!
//! A task owns the socket and everything else; [`Uplink`] and [`Downlink`] are the ends of bounded queues to it.

mod conversation;
mod reconnect;

use std::time::{Duration, Instant};

use shared::{
    backoff::Backoff,
    wire::{ClientMessage, Event, Start},
};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Bytes;

use super::{
    ClientError, Credential,
    handshake::{self, Socket},
    kept::Kept,
    parting::Parting,
};

/// Frames and messages between the caller and the task; when it is full, the caller waits.
const ORDERS: usize = 32;
/// Events the caller has not taken yet; when it is full, the socket is not read.
const HAPPENINGS: usize = 256;

/// What a session needs: where, who, and what is asked for.
#[derive(Debug, Clone)]
pub struct Session {
    /// `ws://HOST:PORT/v1/stream`, or `wss://`.
    pub url: String,
    /// Who the client is.
    pub credential: Credential,
    /// The first message. Its `resume` is the session's own affair.
    pub start: Start,
}

/// What a session tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// An event of the protocol; each number once, in growing order.
    Event(Event),
    /// The connection broke; the client is trying to get another.
    Broken {
        /// How.
        why: String,
    },
    /// The session goes on.
    Resumed {
        /// How long it was without a connection.
        away: Duration,
        /// Audio is sent again from here on, milliseconds since the session's first sample.
        audio_ms: u64,
        /// How much of it was no longer here; silence was sent for it. 0 unless the gateway lost what it had.
        lost_ms: u64,
    },
    /// The session could not be resumed. The events that follow are those of a new one, whose first sample is `from_ms`
    /// of the one before; captions of the speech before that, as far as they had not come, will not.
    Anew {
        /// Milliseconds since the first sample of the session before.
        from_ms: u64,
    },
}

/// The direction to the gateway.
#[derive(Debug, Clone)]
pub struct Uplink(mpsc::Sender<Order>);

/// The direction from the gateway.
#[derive(Debug)]
pub struct Downlink(mpsc::Receiver<Result<Happening, ClientError>>);

/// What the caller wants said.
#[derive(Debug)]
enum Order {
    Audio(Bytes),
    Say(ClientMessage),
}

impl Session {
    /// Connects for the first time. Only this first attempt is not repeated: who cannot get in at all should hear so.
    ///
    /// # Errors
    /// When the gateway is not there or does not let us in.
    pub async fn open(self) -> Result<(Uplink, Downlink), ClientError> {
        let socket = match self.knock(false).await {
            // A token that was good when it was got may have ended while the machine slept.
            Err(ClientError::Refused { status: 401, .. }) if self.credential.renews() => self.knock(true).await?,
            answer => answer?,
        };
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (told, happenings) = mpsc::channel(HAPPENINGS);
        let (kept, backoff) = (Kept::new(self.start.audio), reconnect::backoff());
        let task =
            Task { session: self, ordered, told, kept, seen: 0, hold: None, broken_at: None, backoff, open: true };
        tokio::spawn(task.run(socket));
        Ok((Uplink(orders), Downlink(happenings)))
    }

    async fn knock(&self, fresh: bool) -> Result<Socket, ClientError> {
        let token = self.credential.token(fresh).await?;
        handshake::connect(&self.url, token.as_ref(), None).await
    }
}

impl Uplink {
    /// Sends PCM. Waits while there is no connection and two minutes of audio are kept already.
    ///
    /// # Errors
    /// [`ClientError::Over`]; the [`Downlink`] tells why.
    pub async fn audio(&self, pcm: impl Into<Bytes>) -> Result<(), ClientError> {
        self.0.send(Order::Audio(pcm.into())).await.map_err(|_| ClientError::Over)
    }

    /// Sends a message; after a broken connection again, at its place in the audio.
    ///
    /// # Errors
    /// As [`Uplink::audio`].
    pub async fn say(&self, message: ClientMessage) -> Result<(), ClientError> {
        self.0.send(Order::Say(message)).await.map_err(|_| ClientError::Over)
    }
}

impl Downlink {
    /// What happened next; `None` once the session is over.
    ///
    /// # Errors
    /// Why it is over, where no event said so.
    pub async fn next(&mut self) -> Result<Option<Happening>, ClientError> {
        self.0.recv().await.transpose()
    }
}

/// What makes a session resumable.
#[derive(Debug, Clone)]
struct Hold {
    token: String,
    window: Duration,
}

/// Owns the session.
#[derive(Debug)]
struct Task {
    session: Session,
    ordered: mpsc::Receiver<Order>,
    told: mpsc::Sender<Result<Happening, ClientError>>,
    kept: Kept,
    /// Number of the newest event passed on.
    seen: u64,
    /// `None` before `started`, and with a gateway that cannot resume.
    hold: Option<Hold>,
    /// When the connection broke; `None` while there is one.
    broken_at: Option<Instant>,
    backoff: Backoff,
    /// Whether the caller may still say something.
    open: bool,
}

impl Task {
    async fn run(mut self, first: Socket) {
        let mut socket = first;
        loop {
            let parting = match self.converse(socket).await {
                Parting::Broken { why, retry_after } => self.reconnect(why, retry_after, false).await,
                Parting::Stale if self.session.credential.renews() => {
                    self.reconnect("the token ended".to_owned(), None, true).await
                }
                Parting::Stale => {
                    Err(Parting::Fault(ClientError::NoToken("the token ended, or was revoked".to_owned())))
                }
                Parting::Expired => self.anew().await,
                over => Err(over),
            };
            match parting {
                Ok(next) => socket = next,
                Err(Parting::Fault(error)) => {
                    self.told.send(Err(error)).await.ok();
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Passes on what happened.
    ///
    /// # Errors
    /// When nobody listens any more: then the session is over.
    async fn tell(&self, happening: Happening) -> Result<(), Parting> {
        self.told.send(Ok(happening)).await.map_err(|_| Parting::Over)
    }

    /// Takes in what the caller wants said.
    fn take(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Audio(pcm)) => self.kept.hear(pcm),
            Some(Order::Say(message)) => {
                if let ClientMessage::Update { source, targets, glossary } = &message {
                    // For a session that has to begin anew.
                    let start = &mut self.session.start;
                    start.source = source.clone().unwrap_or_else(|| start.source.clone());
                    start.targets = targets.clone().unwrap_or_else(|| start.targets.clone());
                    start.glossary = glossary.clone().unwrap_or_else(|| start.glossary.clone());
                }
                self.kept.say(message);
            }
            None => self.open = false,
        }
    }
}

#[cfg(test)]
mod tests;
