//! One session: the order of the protocol, its audio, its answers, its end.
//!
//! An actor owns everything of the session; nothing is shared and nothing is locked. It waits for, in this order of
//! priority: the server's shutdown, an answer from the workers, a frame from the client, the tick. Answers go first
//! because a client that floods audio must not starve its own captions.

mod audio;
mod clock;
mod end;
mod store;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shared::{
    bus::{Bus, Entry, EntryId},
    ids::SessionId,
    jobs::{self, SessionEvent},
    shutdown::CancellationToken,
    wire::{
        ClientMessage, EndReason, ErrorCode, Limits, MAX_MESSAGE_BYTES, MAX_TARGETS, ServerMessage, Start, WireError,
    },
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::{
    audio::Audio,
    end::{End, bad_order, check_glossary, check_targets, distinct, parse, too_large, unavailable},
};
use crate::{
    config::GatewayConfig,
    dispatch::{CommittedEnd, Conditions, Dispatch, Settings, millis},
    door::Guest,
    mailbox::{self, Mailbox},
    metrics::Metrics,
    socket::{self, Inbound, Outbox},
};

/// A client that sends no `start` for so long is cut off.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the session looks at its clocks.
const TICK: Duration = Duration::from_millis(200);
/// Utterances that a session may be owed at once. With more, nothing is read from the client until some are answered:
/// who sends a recording faster than it can be heard waits, and nobody can fill the queue for the others.
const MAX_OWED: usize = 32;
/// How long a draining server waits for the finals it owes.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// What every session needs of its gateway.
#[derive(Debug, Clone)]
pub struct Context {
    /// Settings.
    pub config: Arc<GatewayConfig>,
    /// Bus.
    pub bus: Arc<dyn Bus>,
    /// Where answers come from.
    pub mailbox: Mailbox,
    /// Metrics.
    pub metrics: Metrics,
}

/// Serves one WebSocket from its handshake to its end.
pub async fn serve(socket: axum::extract::ws::WebSocket, guest: Guest, context: Context, shutdown: CancellationToken) {
    let (mut frames, mut outbox) = socket::open(socket);
    let metrics = context.metrics.clone();
    let started = tokio::select! {
        () = shutdown.cancelled() => Err(End::Ended(EndReason::Draining)),
        started = wait_for_start(&mut frames) => started,
    };
    let (end, session) = match started {
        Ok(start) => run(start, guest, &mut frames, &mut outbox, context, shutdown).await,
        Err(end) => (end, None),
    };
    match end {
        End::Gone => outbox.close(1001, "").await,
        End::Ended(EndReason::Stopped) => outbox.close(1000, "").await,
        End::Ended(EndReason::Draining) => outbox.close(1001, "this server is going away; connect again").await,
        End::Error(code, message) => {
            metrics.count_error(code);
            let trace_id = format!("{:032x}", rand::random::<u128>());
            tracing::info!(?code, %trace_id, "session ended by an error");
            let retry_after_ms = code.retryable().then_some(1000);
            let error = WireError { code, message, retryable: code.retryable(), retry_after_ms, trace_id };
            if outbox.send(ServerMessage::Error(error)).await.is_err() {
                tracing::debug!("the client was gone before it could be told");
            }
            outbox.close(code.close_code(), "see the error event before this").await;
        }
    }
    frames.linger().await;
    if let Some(mut session) = session {
        session.forget().await;
    }
}

async fn wait_for_start(frames: &mut socket::Inbox) -> Result<Start, End> {
    let first = async {
        loop {
            match frames.next().await {
                Inbound::Text(text) => return parse(&text),
                Inbound::Pong => {}
                Inbound::Gone => return Err(End::Gone),
                Inbound::TooLarge(size) => return Err(too_large(size)),
                Inbound::Audio(_) => return Err(bad_order("audio came before `start`; send `start` as text first")),
            }
        }
    };
    match timeout(START_TIMEOUT, first).await {
        Ok(Ok(ClientMessage::Start(start))) => Ok(start),
        Ok(Ok(_)) => Err(bad_order("the first message must be `start`")),
        Ok(Err(end)) => Err(end),
        Err(_) => Err(bad_order("no `start` came within 10 s; send it right after connecting")),
    }
}

async fn run(
    start: Start,
    guest: Guest,
    frames: &mut socket::Inbox,
    outbox: &mut Outbox,
    context: Context,
    shutdown: CancellationToken,
) -> (End, Option<Session>) {
    let id = SessionId::random();
    let mut session = match Session::open(id, start, guest, context).await {
        Ok(session) => session,
        Err(end) => return (end, None),
    };
    session.context.metrics.sessions.inc();
    session.context.metrics.sessions_opened.inc();
    tracing::info!(session = %id, "session opened");
    let end = match session.run(frames, outbox, shutdown).await {
        Ok(reason) => End::Ended(reason),
        Err(end) => end,
    };
    session.context.metrics.sessions.dec();
    tracing::info!(session = %id, audio_ms = session.audio.received_ms(), ?end, "session closed");
    (end, Some(session))
}

struct Session {
    id: SessionId,
    guest: Guest,
    context: Context,
    audio: Audio,
    dispatch: Dispatch,
    inbox: mailbox::Inbox,
    /// Newest event taken in from the event stream.
    seen: EntryId,
    last_sign: Instant,
    last_audio: Instant,
    last_ping: Instant,
    /// When the client was last told that captions are behind; `None` while they are not.
    last_lag: Option<Instant>,
    last_renewal: Instant,
    warned_of_token: bool,
    stopping: bool,
    utterances: u32,
}

impl Session {
    async fn open(id: SessionId, start: Start, guest: Guest, context: Context) -> Result<Self, End> {
        check_targets(start.targets.len())?;
        check_glossary(&start.glossary)?;
        let audio = Audio::new(&context.config, start.audio).map_err(|e| End::Error(ErrorCode::InvalidAudio, e))?;
        let settings = Settings { source: start.source, targets: distinct(start.targets), glossary: start.glossary };
        let conditions = Conditions {
            partials: start.partials,
            words: start.words,
            max_utterance: context.config.max_utterance,
            final_timeout: context.config.final_timeout,
        };
        let dispatch = Dispatch::new(id, conditions, settings);
        let inbox = context.mailbox.open(id).await.map_err(|e| unavailable(&e))?;
        let now = Instant::now();
        Ok(Self {
            id,
            guest,
            context,
            audio,
            dispatch,
            inbox,
            seen: EntryId::START,
            last_sign: now,
            last_audio: now,
            last_ping: now,
            last_lag: None,
            last_renewal: now,
            warned_of_token: false,
            stopping: false,
            utterances: 0,
        })
    }

    async fn run(
        &mut self,
        frames: &mut socket::Inbox,
        outbox: &mut Outbox,
        shutdown: CancellationToken,
    ) -> Result<EndReason, End> {
        outbox.send(self.started()).await?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain(outbox).await,
                entry = self.inbox.next() => self.take_mail(entry, outbox).await?,
                _ = tick.tick() => self.look_at_clocks(outbox).await?,
                frame = frames.next(), if self.dispatch.owed() < MAX_OWED => self.take_frame(frame, outbox).await?,
            }
            if self.stopping && self.dispatch.idle() {
                outbox.send(self.ended(EndReason::Stopped)).await?;
                return Ok(EndReason::Stopped);
            }
        }
    }

    fn started(&self) -> ServerMessage {
        let config = &self.context.config;
        let limits = Limits {
            resume_window_ms: 0,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_targets: MAX_TARGETS,
            max_utterance_ms: millis(config.max_utterance),
            idle_timeout_ms: millis(config.idle_timeout),
        };
        ServerMessage::Started { session: self.id, resume_token: String::new(), resumed: false, audio_ms: 0, limits }
    }

    fn ended(&self, reason: EndReason) -> ServerMessage {
        ServerMessage::Ended { reason, audio_ms: self.audio.received_ms(), utterances: self.utterances }
    }

    async fn take_frame(&mut self, frame: Inbound, outbox: &mut Outbox) -> Result<(), End> {
        self.last_sign = Instant::now();
        match frame {
            Inbound::Audio(_) if self.stopping => Err(bad_order("audio came after `stop`")),
            Inbound::Audio(bytes) => self.take_audio(&bytes, outbox).await,
            Inbound::Text(text) => match parse(&text)? {
                ClientMessage::Start(_) => Err(bad_order("a second `start` came; open a new connection for it")),
                ClientMessage::Update { source, targets, glossary } => {
                    check_targets(targets.as_ref().map_or(0, Vec::len))?;
                    check_glossary(glossary.as_deref().unwrap_or_default())?;
                    self.dispatch.change(|settings| {
                        settings.source = source.unwrap_or_else(|| settings.source.clone());
                        settings.targets = targets.map_or_else(|| settings.targets.clone(), distinct);
                        settings.glossary = glossary.unwrap_or_else(|| settings.glossary.clone());
                    });
                    Ok(())
                }
                ClientMessage::Finalize {} => self.finalize(outbox).await,
                ClientMessage::Stop {} => {
                    self.stopping = true;
                    self.finalize(outbox).await
                }
                ClientMessage::Auth { token } => self.renew_token(&token).await,
            },
            Inbound::TooLarge(size) => Err(too_large(size)),
            Inbound::Pong => Ok(()),
            Inbound::Gone => Err(End::Gone),
        }
    }

    async fn take_audio(&mut self, bytes: &[u8], outbox: &mut Outbox) -> Result<(), End> {
        self.last_audio = self.last_sign;
        let before = self.audio.received_ms();
        let steps = self.audio.push(bytes).map_err(|e| End::Error(ErrorCode::InvalidAudio, e))?;
        self.context.metrics.audio_ms.inc_by(self.audio.received_ms() - before);
        self.walk(steps, outbox).await
    }

    async fn finalize(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        let steps = self.audio.finalize(self.stopping);
        self.walk(steps, outbox).await
    }

    /// Takes an answer from the mailbox, unless one before it may be missing: then all are read from the event stream,
    /// and this one with them.
    async fn take_mail(&mut self, entry: Entry, outbox: &mut Outbox) -> Result<(), End> {
        if self.inbox.take_missed() {
            return self.replay(outbox).await;
        }
        self.take_answer(entry, outbox).await
    }

    async fn take_answer(&mut self, entry: Entry, outbox: &mut Outbox) -> Result<(), End> {
        if entry.id <= self.seen {
            return Ok(());
        }
        self.seen = entry.id;
        let event: SessionEvent = match jobs::decode(&entry.payload) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(session = %self.id, entry = %entry.id, %error, "an event on the bus cannot be read");
                return Ok(());
            }
        };
        if let SessionEvent::Caption { caption, .. } = &event
            && caption.is_final
            && let Some(waited) = self.dispatch.behind(Instant::now())
        {
            self.context.metrics.final_seconds.observe(waited.as_secs_f64());
        }
        let mut messages = Vec::new();
        self.dispatch.receive(event, Instant::now(), &mut messages);
        self.say(messages, outbox).await?;
        let Some(CommittedEnd { utterance, at_ms, split }) = self.dispatch.take_committed_end() else {
            return self.ask().await;
        };
        self.audio.committed(utterance, at_ms);
        let steps = if split { self.audio.split(utterance, at_ms) } else { Vec::new() };
        self.walk(steps, outbox).await
    }

    async fn say(&mut self, messages: Vec<ServerMessage>, outbox: &mut Outbox) -> Result<(), End> {
        for message in messages {
            if matches!(message, ServerMessage::Gap { .. }) {
                self.context.metrics.gaps.inc();
            }
            outbox.send(message).await?;
        }
        let closed = self.dispatch.take_closed();
        if !closed.is_empty() {
            self.clean(&closed, Vec::new()).await;
        }
        Ok(())
    }

    /// Ends in order because the server stops: what is owed and comes in time is still sent.
    async fn drain(&mut self, outbox: &mut Outbox) -> Result<EndReason, End> {
        self.stopping = true;
        self.finalize(outbox).await?;
        let deadline = sleep(DRAIN_PATIENCE);
        let mut tick = interval(TICK);
        tokio::pin!(deadline);
        while !self.dispatch.idle() {
            tokio::select! {
                entry = self.inbox.next() => self.take_mail(entry, outbox).await?,
                _ = tick.tick() => if self.inbox.take_missed() { self.replay(outbox).await? },
                () = &mut deadline => break,
            }
        }
        let mut messages = Vec::new();
        self.dispatch.give_up(&mut messages);
        self.say(messages, outbox).await?;
        outbox.send(self.ended(EndReason::Draining)).await?;
        Ok(EndReason::Draining)
    }
}
