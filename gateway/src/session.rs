//! One session: the order of the protocol, its audio, its answers, its end.
//!
//! An actor owns everything of the session; nothing is shared and nothing is locked. It waits for, in this order of
//! priority: the server's shutdown, an answer from the workers, a frame from the client, the tick. Answers go first
//! because a client that floods audio must not starve its own captions.

mod audio;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shared::{
    audio::samples_to_ms,
    backoff::Backoff,
    bus::{Bus, BusError, Entry, EntryId, Produce, StateWrite},
    ids::SessionId,
    jobs::{self, SESSION_TTL, SessionEvent, SpeechJob},
    shutdown::CancellationToken,
    wire::{
        ClientMessage, EndReason, ErrorCode, Limits, MAX_GLOSSARY_TERM_BYTES, MAX_GLOSSARY_TERMS, MAX_MESSAGE_BYTES,
        MAX_TARGETS, ServerMessage, Start, WireError,
    },
};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::audio::{Audio, Step};
use crate::{
    auth::{Authenticator, Identity},
    config::GatewayConfig,
    dispatch::{Closed, Dispatch, Settings},
    mailbox::{self, Mailbox},
    metrics::Metrics,
    socket::{self, Gone, Inbound, Outbox},
};

/// A client that sends no `start` for so long is cut off.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the session looks at its clocks.
const TICK: Duration = Duration::from_millis(200);
/// Cloudflare closes silent connections after about 100 s; a ping every 20 s keeps them.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that gave no sign of life for so long is gone: two pings and a reserve.
const DEAD_AFTER: Duration = Duration::from_secs(45);
/// Decodes older than this are worth telling the client.
const LAG_AFTER: Duration = Duration::from_secs(2);
/// The route of the event stream is renewed well within its time to live.
const RENEW_EVERY: Duration = Duration::from_secs(200);
/// How long the bus may be away before a session with speech to store is given up.
const BUS_PATIENCE: Duration = Duration::from_secs(10);
/// How long a draining server waits for the finals it owes.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// The client is told so long before its token ends.
const TOKEN_WARNING: Duration = Duration::from_secs(60);
/// A token is good for so long after its end, in a session that is under way.
const TOKEN_GRACE: Duration = Duration::from_secs(30);
/// Most events read at once in a replay.
const REPLAY: usize = 256;

/// What every session needs of its gateway.
#[derive(Debug, Clone)]
pub struct Context {
    /// Settings.
    pub config: Arc<GatewayConfig>,
    /// Bus.
    pub bus: Arc<dyn Bus>,
    /// Where answers come from.
    pub mailbox: Mailbox,
    /// Checks renewed tokens.
    pub authenticator: Arc<Authenticator>,
    /// Metrics.
    pub metrics: Metrics,
}

/// How a session ends.
#[derive(Debug)]
enum End {
    /// In order, with `ended`.
    Ended(EndReason),
    /// The client is gone; nothing can be said any more.
    Gone,
    /// With an `error`.
    Error(ErrorCode, String),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Serves one WebSocket from its handshake to its end.
pub async fn serve(socket: axum::extract::ws::WebSocket, who: Identity, context: Context, shutdown: CancellationToken) {
    let (mut frames, mut outbox) = socket::open(socket);
    let metrics = context.metrics.clone();
    let end = match wait_for_start(&mut frames).await {
        Ok(start) => run(start, who, &mut frames, &mut outbox, context, shutdown).await,
        Err(end) => end,
    };
    match end {
        End::Gone => outbox.close(1001, "").await,
        End::Ended(EndReason::Stopped) => outbox.close(1000, "").await,
        End::Ended(EndReason::Draining) => outbox.close(1001, "this server is going away; connect again").await,
        End::Error(code, message) => {
            metrics.count_error(code);
            let trace_id = format!("{:032x}", rand::random::<u128>());
            tracing::info!(?code, %message, %trace_id, "session ended by an error");
            let retry_after_ms = code.retryable().then_some(1000);
            let error = WireError { code, message, retryable: code.retryable(), retry_after_ms, trace_id };
            if outbox.send(ServerMessage::Error(error)).await.is_err() {
                tracing::debug!("the client was gone before it could be told");
            }
            outbox.close(code.close_code(), "see the error event before this").await;
        }
    }
}

async fn wait_for_start(frames: &mut socket::Inbox) -> Result<Start, End> {
    let message = loop {
        match timeout(START_TIMEOUT, frames.next()).await {
            Ok(Inbound::Text(text)) => break parse(&text)?,
            Ok(Inbound::Pong) => {}
            Ok(Inbound::Gone) => return Err(End::Gone),
            Ok(Inbound::TooLarge(size)) => return Err(too_large(size)),
            Ok(Inbound::Audio(_)) => return Err(bad_order("audio came before `start`; send `start` as text first")),
            Err(_) => return Err(bad_order("no `start` came within 10 s; send it right after connecting")),
        }
    };
    match message {
        ClientMessage::Start(start) => Ok(start),
        _ => Err(bad_order("the first message must be `start`")),
    }
}

async fn run(
    start: Start,
    who: Identity,
    frames: &mut socket::Inbox,
    outbox: &mut Outbox,
    context: Context,
    shutdown: CancellationToken,
) -> End {
    let id = SessionId::random();
    let mut session = match Session::open(id, start, who, context).await {
        Ok(session) => session,
        Err(end) => return end,
    };
    session.context.metrics.sessions.inc();
    session.context.metrics.sessions_opened.inc();
    tracing::info!(session = %id, "session opened");
    let end = match session.run(frames, outbox, shutdown).await {
        Ok(reason) => End::Ended(reason),
        Err(end) => end,
    };
    session.context.metrics.sessions.dec();
    session.forget().await;
    tracing::info!(session = %id, audio_ms = session.audio.received_ms(), ?end, "session closed");
    end
}

struct Session {
    id: SessionId,
    who: Identity,
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
    async fn open(id: SessionId, start: Start, who: Identity, context: Context) -> Result<Self, End> {
        check_targets(start.targets.len())?;
        check_glossary(&start.glossary)?;
        let audio = Audio::new(&context.config, start.audio).map_err(|e| End::Error(ErrorCode::BadAudio, e))?;
        let settings = Settings { source: start.source, targets: start.targets, glossary: start.glossary };
        let dispatch = Dispatch::new(id, start.partials, settings, context.config.final_timeout);
        let inbox = context.mailbox.open(id).await.map_err(|e| unavailable(&e))?;
        let now = Instant::now();
        Ok(Self {
            id,
            who,
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
                entry = self.inbox.next() => self.take_answer(entry, outbox).await?,
                frame = frames.next() => self.take_frame(frame, outbox).await?,
                _ = tick.tick() => self.look_at_clocks(outbox).await?,
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
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_targets: MAX_TARGETS,
            max_utterance_ms: millis(config.max_utterance),
            idle_timeout_ms: millis(config.idle_timeout),
        };
        // Nothing can be resumed with it yet; it is there so that clients keep the place for it.
        ServerMessage::Started { session: self.id, resume_token: format!("{:032x}", rand::random::<u128>()), limits }
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
                    let settings = self.dispatch.settings_mut();
                    settings.source = source.unwrap_or_else(|| settings.source.clone());
                    settings.targets = targets.unwrap_or_else(|| settings.targets.clone());
                    settings.glossary = glossary.unwrap_or_else(|| settings.glossary.clone());
                    Ok(())
                }
                ClientMessage::Finalize {} => self.finalize(outbox).await,
                ClientMessage::Stop {} => {
                    self.stopping = true;
                    self.finalize(outbox).await
                }
                ClientMessage::Auth { token } => self.renew_token(&token),
            },
            Inbound::TooLarge(size) => Err(too_large(size)),
            Inbound::Pong => Ok(()),
            Inbound::Gone => Err(End::Gone),
        }
    }

    async fn take_audio(&mut self, bytes: &[u8], outbox: &mut Outbox) -> Result<(), End> {
        self.last_audio = self.last_sign;
        let before = self.audio.received_ms();
        let steps = self.audio.push(bytes).map_err(|e| End::Error(ErrorCode::BadAudio, e))?;
        self.context.metrics.audio_ms.inc_by(self.audio.received_ms() - before);
        self.walk(steps, outbox).await
    }

    async fn finalize(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        let steps = self.audio.finalize(self.stopping);
        self.walk(steps, outbox).await
    }

    /// Carries out what the audio led to, then asks for the decodes that are due.
    async fn walk(&mut self, steps: Vec<Step>, outbox: &mut Outbox) -> Result<(), End> {
        for step in steps {
            match step {
                Step::Started { utterance, start_ms } => {
                    self.utterances += 1;
                    self.context.metrics.utterances.inc();
                    self.dispatch.opened(utterance, start_ms);
                    outbox.send(ServerMessage::SpeechStarted { utterance, start_ms }).await?;
                }
                Step::Append { utterance, pcm, end_ms } => {
                    self.context.metrics.speech_ms.inc_by(samples_to_ms(pcm.len() as u64 / 2));
                    let stream = jobs::audio_stream(self.id, utterance);
                    let mut patience = Patience::new(self.id);
                    let entry = loop {
                        match self.context.bus.append(&stream, pcm.clone(), SESSION_TTL).await {
                            Ok(entry) => break entry,
                            Err(error) => patience.wait(error).await?,
                        }
                    };
                    self.dispatch.appended(utterance, entry, end_ms);
                }
                Step::Ended { utterance, end_ms } => {
                    self.dispatch.ended(utterance);
                    outbox.send(ServerMessage::SpeechEnded { utterance, end_ms }).await?;
                }
                Step::Ack { audio_ms } => outbox.send(ServerMessage::Ack { audio_ms }).await?,
            }
        }
        self.ask().await
    }

    async fn ask(&mut self) -> Result<(), End> {
        for job in self.dispatch.due(Instant::now()) {
            let produce = produce(&job).map_err(|e| End::Error(ErrorCode::Internal, e.to_string()))?;
            let mut patience = Patience::new(self.id);
            while let Err(error) = self.context.bus.produce(produce.clone()).await {
                patience.wait(error).await?;
            }
        }
        Ok(())
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
        if let SessionEvent::Caption(caption) = &event
            && caption.is_final
            && let Some(waited) = self.dispatch.behind(Instant::now())
        {
            self.context.metrics.final_seconds.observe(waited.as_secs_f64());
        }
        let mut messages = Vec::new();
        self.dispatch.receive(event, &mut messages);
        self.say(messages, outbox).await?;
        self.ask().await
    }

    async fn say(&mut self, messages: Vec<ServerMessage>, outbox: &mut Outbox) -> Result<(), End> {
        for message in messages {
            if matches!(message, ServerMessage::Gap { .. }) {
                self.context.metrics.gaps.inc();
            }
            outbox.send(message).await?;
        }
        for closed in self.dispatch.take_closed() {
            self.clean(&closed).await;
        }
        Ok(())
    }

    async fn look_at_clocks(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        let (now, idle) = (Instant::now(), self.context.config.idle_timeout);
        if self.inbox.take_missed() {
            self.replay(outbox).await?;
        }
        let mut messages = Vec::new();
        self.dispatch.expire(now, &mut messages);
        self.say(messages, outbox).await?;
        self.ask().await?;
        if now.duration_since(self.last_sign) > DEAD_AFTER {
            return Err(End::Gone);
        }
        if now.duration_since(self.last_audio) > idle && !self.stopping {
            let message = format!("no audio came for {} s; connect again when there is some", idle.as_secs());
            return Err(End::Error(ErrorCode::Idle, message));
        }
        if now.duration_since(self.last_ping) > PING_EVERY {
            self.last_ping = now;
            outbox.ping().await?;
        }
        if now.duration_since(self.last_renewal) > RENEW_EVERY && self.inbox.renew().await.is_ok() {
            self.last_renewal = now;
        }
        self.tell_lag(now, outbox).await?;
        self.look_at_token(outbox).await
    }

    /// Tells every [`LAG_AFTER`] how far captions are behind while they are, and once that they no longer are.
    async fn tell_lag(&mut self, now: Instant, outbox: &mut Outbox) -> Result<(), End> {
        let behind = self.dispatch.behind(now).filter(|behind| *behind > LAG_AFTER);
        let due = self.last_lag.is_none_or(|told| now.duration_since(told) > LAG_AFTER);
        match behind {
            Some(behind) if due => {
                self.last_lag = Some(now);
                outbox.send(ServerMessage::Lag { behind_ms: millis(behind) }).await?;
            }
            None if self.last_lag.take().is_some() => outbox.send(ServerMessage::Lag { behind_ms: 0 }).await?,
            _ => {}
        }
        Ok(())
    }

    async fn look_at_token(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        let Some(remaining) = self.who.remaining() else { return Ok(()) };
        if remaining.is_zero() && self.who.expired_for() > TOKEN_GRACE {
            let message = "the token has expired; get a new one and connect again".to_owned();
            return Err(End::Error(ErrorCode::Unauthorized, message));
        }
        if remaining <= TOKEN_WARNING && !self.warned_of_token {
            self.warned_of_token = true;
            let message = format!("the token ends in {} s; send `auth` with a new one", remaining.as_secs());
            outbox.send(ServerMessage::Warning { code: "token_expiring".to_owned(), message }).await?;
        }
        Ok(())
    }

    fn renew_token(&mut self, token: &str) -> Result<(), End> {
        let renewed = self.context.authenticator.verify(token);
        let renewed = renewed.map_err(|e| End::Error(ErrorCode::Unauthorized, e.to_string()))?;
        if renewed.subject != self.who.subject {
            let message = "the new token names somebody else; connect again with it".to_owned();
            return Err(End::Error(ErrorCode::Unauthorized, message));
        }
        self.who = renewed;
        self.warned_of_token = false;
        Ok(())
    }

    /// Reads the session's event stream from the newest event seen: what the mailbox may have missed.
    async fn replay(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        let stream = jobs::event_stream(self.id);
        let last = EntryId { ms: u64::MAX, seq: u64::MAX };
        match self.context.bus.range(&stream, self.seen, last, REPLAY).await {
            Ok(entries) => {
                if entries.len() == REPLAY {
                    self.inbox.missed();
                }
                for entry in entries {
                    self.take_answer(entry, outbox).await?;
                }
            }
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "missed events cannot be read; trying again");
                self.inbox.missed();
            }
        }
        Ok(())
    }

    /// Ends in order because the server stops: what is owed and comes in time is still sent.
    async fn drain(&mut self, outbox: &mut Outbox) -> Result<EndReason, End> {
        self.stopping = true;
        self.finalize(outbox).await?;
        let deadline = sleep(DRAIN_PATIENCE);
        tokio::pin!(deadline);
        while !self.dispatch.idle() {
            tokio::select! {
                entry = self.inbox.next() => self.take_answer(entry, outbox).await?,
                () = &mut deadline => break,
            }
        }
        let mut messages = Vec::new();
        self.dispatch.give_up(&mut messages);
        self.say(messages, outbox).await?;
        outbox.send(self.ended(EndReason::Draining)).await?;
        Ok(EndReason::Draining)
    }

    /// Removes what the bus holds of an utterance that nobody waits for.
    async fn clean(&mut self, closed: &Closed) {
        let mut keys =
            vec![jobs::audio_stream(self.id, closed.utterance), jobs::revision_key(self.id, closed.utterance)];
        keys.extend(closed.targets.iter().map(|target| jobs::translation_key(self.id, closed.utterance, target)));
        if let Err(error) = self.context.bus.remove(&keys).await {
            tracing::debug!(session = %self.id, %error, "keys of a closed utterance stay until they expire");
        }
    }

    /// Removes everything the bus holds of this session; workers drop what they still have of it.
    async fn forget(&mut self) {
        for open in self.dispatch.open() {
            self.clean(&open).await;
        }
        if let Err(error) = self.context.bus.remove(&[jobs::event_stream(self.id)]).await {
            tracing::debug!(session = %self.id, %error, "the event stream stays until it expires");
        }
    }
}

/// Lets a session wait for a bus that is away, up to [`BUS_PATIENCE`]. Meanwhile nothing is read from the client, so
/// its audio waits in the client.
struct Patience {
    session: SessionId,
    begun: Instant,
    backoff: Backoff,
}

impl Patience {
    fn new(session: SessionId) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        Self { session, begun: Instant::now(), backoff }
    }

    async fn wait(&mut self, error: BusError) -> Result<(), End> {
        if !error.retryable() || self.begun.elapsed() >= BUS_PATIENCE {
            return Err(unavailable(&error));
        }
        tracing::warn!(session = %self.session, %error, "the bus does not answer; trying again");
        sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

fn produce(job: &SpeechJob) -> Result<Produce, serde_json::Error> {
    Ok(Produce {
        stream: jobs::AUDIO_JOBS.to_owned(),
        idempotency_key: format!("{}:{}:{}", job.session, job.utterance, job.revision),
        payload: jobs::encode(job)?,
        set: Some(StateWrite {
            key: jobs::revision_key(job.session, job.utterance),
            value: Bytes::from(job.revision.to_string()),
            ttl: SESSION_TTL,
        }),
    })
}

fn parse(text: &str) -> Result<ClientMessage, End> {
    serde_json::from_str(text)
        .map_err(|error| End::Error(ErrorCode::BadMessage, format!("the message cannot be read: {error}")))
}

fn check_targets(count: usize) -> Result<(), End> {
    if count <= MAX_TARGETS {
        return Ok(());
    }
    Err(End::Error(ErrorCode::BadMessage, format!("{count} targets are too many; at most {MAX_TARGETS} are possible")))
}

fn check_glossary(terms: &[shared::wire::GlossaryTerm]) -> Result<(), End> {
    let long = |text: &str| text.len() > MAX_GLOSSARY_TERM_BYTES;
    if terms.len() > MAX_GLOSSARY_TERMS
        || terms.iter().any(|t| long(&t.source) || t.target.as_deref().is_some_and(long))
    {
        let message = format!(
            "the glossary is too large; at most {MAX_GLOSSARY_TERMS} terms of {MAX_GLOSSARY_TERM_BYTES} bytes are possible"
        );
        return Err(End::Error(ErrorCode::BadMessage, message));
    }
    Ok(())
}

fn too_large(size: Option<usize>) -> End {
    let size = size.map_or_else(|| "a message".to_owned(), |bytes| format!("a message of {bytes} bytes"));
    End::Error(
        ErrorCode::TooLarge,
        format!("{size} is above the limit of {MAX_MESSAGE_BYTES} bytes; send smaller frames"),
    )
}

fn bad_order(message: &str) -> End {
    End::Error(ErrorCode::BadOrder, message.to_owned())
}

fn unavailable(error: &BusError) -> End {
    tracing::error!(%error, "the bus is away");
    End::Error(ErrorCode::Unavailable, "the server cannot store audio at present; try again".to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
