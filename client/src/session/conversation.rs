//! One socket of a session, from `start` to its end.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use secrecy::{ExposeSecret as _, SecretString};
use shared::wire::{ClientMessage, EndReason, Event, Resume, ServerMessage};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Happening, Hold, Parting, Task};
use crate::{ClientError, handshake::Socket, kept::Item};

/// How long the gateway may take to answer `start`.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// The gateway pings every 20 s, also while it reads nothing; one that gave no sign of life for so long is gone. Nothing else
/// ends a socket that only takes no more: what is to be said waits.
const SILENCE: Duration = Duration::from_secs(45);
/// How long to listen on, once nothing can be sent any more.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Frames given to the socket and not yet written.
const OUTBOX: usize = 8;
/// Renewed tokens on their way; there is never more than one.
const RENEWALS: usize = 1;

impl Task {
    /// Says `start`, and then everything there is to say, and listens, until the socket ends.
    pub(super) async fn converse(&mut self, socket: Socket) -> Parting {
        let (sink, mut frames) = socket.split();
        let (outbox, unwritten) = mpsc::channel(OUTBOX);
        // Writing has a task of its own: a gateway that waits for us to read must not wait for ever.
        let writer = tokio::spawn(write(sink, unwritten));
        let parting = match self.begin(&outbox).await {
            Ok(()) => self.exchange(&mut frames, &outbox).await,
            Err(parting) => parting,
        };
        drop(outbox);
        if !matches!(parting, Parting::Over) {
            writer.abort();
        }
        parting
    }

    async fn begin(&mut self, outbox: &mpsc::Sender<Message>) -> Result<(), Parting> {
        let mut start = self.session.start.clone();
        let hold = self.hold.as_ref();
        start.resume = hold.map(|hold| Resume { token: hold.token.clone(), last_event: self.seen });
        send(outbox, &ClientMessage::Start(start)).await
    }

    async fn exchange<S>(&mut self, frames: &mut S, outbox: &mpsc::Sender<Message>) -> Parting
    where
        S: futures_util::Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    {
        let (renewed, mut renewals) = mpsc::channel::<Result<SecretString, ClientError>>(RENEWALS);
        let (mut started, mut mute) = (false, false);
        let mut patience = Instant::now() + START_PATIENCE;
        // Goes before everything else, but is waited for like it: a gateway that reads nothing for now must still be heard.
        let mut auth: Option<ClientMessage> = None;
        loop {
            let unsaid = match &auth {
                Some(auth) if !mute => Some(text_of(auth)),
                _ => (started && !mute).then(|| self.kept.next()).flatten().map(message_of),
            };
            let hungry = self.open && unsaid.is_none() && !self.kept.is_full();
            let parting = tokio::select! {
                frame = frames.next() => match self.hear(frame, &mut started, &renewed).await {
                    Ok(()) if started && !mute => {
                        patience = Instant::now() + SILENCE;
                        continue;
                    }
                    Ok(()) => continue,
                    Err(parting) => parting,
                },
                permit = outbox.reserve(), if unsaid.is_some() => match (permit, unsaid) {
                    (Ok(permit), Some(Ok(message))) => {
                        permit.send(message);
                        if auth.take().is_none() {
                            self.kept.give();
                        }
                        continue;
                    }
                    (_, Some(Err(error))) => Parting::Fault(error),
                    // Why it is closed for writing may still be there to be read.
                    _ => {
                        (mute, patience) = (true, Instant::now() + LAST_WORDS);
                        continue;
                    }
                },
                order = self.ordered.recv(), if hungry => {
                    self.take(order);
                    continue;
                }
                Some(token) = renewals.recv() => match token {
                    Ok(token) => {
                        auth = Some(ClientMessage::Auth { token: token.expose_secret().to_owned() });
                        continue;
                    }
                    Err(error) => Parting::Fault(error),
                },
                () = sleep_until(patience) => Parting::broken("the gateway gave no sign of life"),
            };
            return parting;
        }
    }

    /// One frame, or the end of them. `started`: whether the session was opened on this socket.
    async fn hear(
        &mut self,
        frame: Option<Result<Message, tungstenite::Error>>,
        started: &mut bool,
        renewed: &mpsc::Sender<Result<SecretString, ClientError>>,
    ) -> Result<(), Parting> {
        let event = match frame {
            Some(Ok(Message::Text(text))) => {
                serde_json::from_str::<Event>(&text).map_err(|error| Parting::Fault(error.into()))?
            }
            Some(Ok(Message::Close(close))) => {
                let (code, reason) = close.map(|close| (u16::from(close.code), close.reason.to_string())).unzip();
                return Err(Parting::of_close(code, &reason.unwrap_or_default()));
            }
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => return Err(Parting::broken(error.to_string())),
            None => return Err(Parting::of_close(None, "")),
        };
        if let ServerMessage::Started { .. } = event.message
            && std::mem::replace(started, true)
        {
            return Ok(()); // one that an earlier socket did not live to bring
        }
        if let ServerMessage::Warning { code, .. } = &event.message
            && code == "token_expiring"
        {
            self.renew(renewed);
        }
        self.happen(event).await
    }

    /// What an event means for the session; passes it on unless it was seen before.
    async fn happen(&mut self, event: Event) -> Result<(), Parting> {
        match &event.message {
            ServerMessage::Started { .. } => return self.started(event).await,
            ServerMessage::Ack { audio_ms } => self.kept.release(*audio_ms),
            ServerMessage::Ended { reason: EndReason::Draining, .. } if self.hold.is_some() => {
                return Err(Parting::broken("the gateway is going away"));
            }
            ServerMessage::Error(error) => {
                let parting = Parting::of_error(error);
                if let Some(parting) = parting.filter(|p| self.goes_on(p)) {
                    return Err(parting);
                }
                self.tell(Happening::Event(event)).await?;
                return Err(Parting::Over);
            }
            _ => {}
        }
        if event.event <= self.seen {
            return Ok(());
        }
        self.seen = event.event;
        self.backoff.reset();
        let over = matches!(event.message, ServerMessage::Ended { .. });
        self.tell(Happening::Event(event)).await?;
        if over { Err(Parting::Over) } else { Ok(()) }
    }

    async fn started(&mut self, event: Event) -> Result<(), Parting> {
        let ServerMessage::Started { resume_token, resumed, audio_ms, limits, .. } = &event.message else {
            return Ok(());
        };
        let (resumed, audio_ms) = (*resumed, *audio_ms);
        let before = self.hold.take();
        let window = Duration::from_millis(limits.resume_window_ms);
        self.hold = (!window.is_zero()).then(|| Hold { token: resume_token.clone(), window });
        let away = self.broken_at.take().map(|at| at.elapsed()).unwrap_or_default();
        if resumed {
            let lost_ms = self.kept.rewind(audio_ms);
            // Not counted as seen: what was missed has lower numbers, and follows.
            return self.tell(Happening::Resumed { away, audio_ms, lost_ms }).await;
        }
        if before.is_some() {
            self.forget_session().await?;
        }
        self.kept.rewind(0);
        self.seen = event.event;
        self.tell(Happening::Event(event)).await
    }

    /// Whether a session that an error ended may go on. Where not, the error is what the caller is told.
    fn goes_on(&self, parting: &Parting) -> bool {
        match parting {
            Parting::Fault(_) => true,
            Parting::Stale => self.hold.is_some() && self.session.credential.renews(),
            _ => self.hold.is_some(),
        }
    }

    /// Asks for a token in place of one that is about to end, beside everything else.
    fn renew(&self, renewed: &mpsc::Sender<Result<SecretString, ClientError>>) {
        if !self.session.credential.renews() {
            return;
        }
        let (credential, renewed) = (self.session.credential.clone(), renewed.clone());
        tokio::spawn(async move {
            if let Some(token) = credential.token(true).await.transpose() {
                renewed.send(token).await.ok();
            }
        });
    }
}

fn message_of(item: &Item) -> Result<Message, ClientError> {
    Ok(match item {
        Item::Audio { pcm, .. } => Message::Binary(pcm.clone()),
        Item::Said { message, .. } => text_of(message)?,
    })
}

fn text_of(message: &ClientMessage) -> Result<Message, ClientError> {
    Ok(Message::text(serde_json::to_string(message)?))
}

async fn send(outbox: &mpsc::Sender<Message>, message: &ClientMessage) -> Result<(), Parting> {
    let text = text_of(message).map_err(Parting::Fault)?;
    outbox.send(text).await.map_err(|_| Parting::broken("nothing can be sent"))
}

/// Writes until there is nothing more to write, and then closes; an error ends it, and reading tells why.
async fn write(mut sink: SplitSink<Socket, Message>, mut unwritten: mpsc::Receiver<Message>) {
    while let Some(message) = unwritten.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    sink.close().await.ok();
}
