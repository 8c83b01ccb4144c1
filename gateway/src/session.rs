//! One session: the order of the protocol, its audio, its answers, its end.
//!
//! An actor owns everything of the session; nothing is shared and nothing is locked. It waits for, in this order of
//! priority: the server's shutdown, an answer from the workers, a frame from the client, the tick. Answers go first
//! because a client that floods audio must not starve its own captions.

mod arrivals;
mod audio;
mod clock;
mod end;
#[doc(hidden)]
pub mod probe;
mod resume;
mod state;
mod store;
mod trace;
mod turn;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shared::{
    bus::{Bus, Entry, EntryId},
    ids::SessionId,
    jobs::{self, Published, SessionEvent},
    shutdown::CancellationToken,
    telemetry::TraceParent,
    wire::{ClientMessage, EndReason, ErrorCode, Event, ServerMessage, Start, WireError},
};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::{
    arrivals::Arrivals,
    audio::Audio,
    end::{Afterlife, End, bad_order, check_glossary, check_targets, distinct, parse, replaced, too_large},
    state::{Founding, ResumeToken, unquoted},
    trace::Traces,
};
use crate::{
    config::GatewayConfig,
    dispatch::{CommittedEnd, Dispatch},
    door::Guest,
    mailbox::{self, Mailbox},
    metrics::Metrics,
    socket::{self, Inbound, Outbox},
};

/// How often the session looks at its clocks.
const TICK: Duration = Duration::from_millis(200);
/// Utterances that a session may be owed at once. With more, nothing is read from the client until some are answered:
/// who sends a recording faster than it can be heard waits, and nobody can fill the queue for the others.
const MAX_OWED: usize = 32;
/// What is kept of a session whose socket is closed, and a reserve for a client that comes at the last moment.
const KEPT_FOR: Duration = Duration::from_secs(jobs::RESUME_WINDOW.as_secs() + 30);
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
    pub metrics: Arc<Metrics>,
}

/// Serves one WebSocket from its handshake to its end. `trace`: what the client says that this is a part of.
pub async fn serve(
    socket: axum::extract::ws::WebSocket,
    guest: Guest,
    trace: Option<TraceParent>,
    context: Context,
    shutdown: CancellationToken,
) {
    let metrics = Arc::clone(&context.metrics);
    let (mut frames, outbox) = socket::open(socket, metrics.messages_dropped.clone());
    let mut session = None;
    let started = tokio::select! {
        () = shutdown.cancelled() => Err(End::Ended(EndReason::Draining)),
        started = resume::wait_for_start(&mut frames) => started,
    };
    let resuming = started.as_ref().is_ok_and(|start| start.resume.is_some());
    let end = match started {
        Ok(start) => match begin(start, guest, trace, context, &outbox).await {
            Ok(begun) => session.insert(begun).live(&mut frames, &outbox, shutdown).await,
            Err(end) => end,
        },
        Err(end) => end,
    };
    // What refuses a resume is no event of the session.
    let number = session.as_ref().map_or(u64::from(!resuming), |session| session.event + 1);
    let trace_id = session.as_ref().map(|session| session.traces.trace_id());
    let trace_id = trace_id.unwrap_or_else(|| trace.unwrap_or_else(TraceParent::root).trace_id().to_string());
    // The client is told first, for what follows may wait for a bus that is away.
    part(&end, (number, trace_id), outbox, &metrics).await;
    if let Some(session) = &mut session {
        session.leave(&end).await;
    }
    let answered = frames.linger().await;
    // A client that did not answer the close frame may not have heard the last words, and come back for them.
    let heard = answered || !matches!(end, End::Ended(_));
    if let Some(mut session) = session.filter(|_| heard && end.afterlife() == Afterlife::Forgotten) {
        session.forget().await;
    }
}

/// Tells the client why it ends, and closes. An `error` bears `number` and `trace_id`, which is in the log as well.
async fn part(end: &End, (number, trace_id): (u64, String), outbox: Outbox, metrics: &Metrics) {
    match end {
        End::Gone => outbox.close(1001, "").await,
        End::Ended(EndReason::Stopped) => outbox.close(1000, "").await,
        End::Ended(EndReason::Draining) => outbox.close(1001, "this server is going away; connect again").await,
        End::Error(code, message) => {
            metrics.count_error(*code);
            tracing::info!(?code, %trace_id, "session ended by an error");
            let retry_after_ms = code.retryable().then_some(1000);
            let (message, retryable) = (message.clone(), code.retryable());
            let error = WireError { code: *code, message, retryable, retry_after_ms, trace_id };
            if outbox.send(&Event { event: number, message: ServerMessage::Error(error) }).await.is_err() {
                tracing::debug!("the client was gone before it could be told");
            }
            outbox.close(code.close_code(), "see the error event before this").await;
        }
    }
}

/// Opens or resumes the session; a client that comes back is sent what it missed.
async fn begin(
    mut start: Start,
    guest: Guest,
    trace: Option<TraceParent>,
    context: Context,
    outbox: &Outbox,
) -> Result<Session, End> {
    let trace = start.trace_parent.take().and_then(|parent| parent.parse().ok()).or(trace);
    let Some(resume) = start.resume.take() else {
        let mut session = Session::open(start, guest, context).await?;
        session.is_part_of(trace);
        session.context.metrics.sessions_opened.inc();
        tracing::info!(session = %session.id, "session opened");
        return Ok(session);
    };
    let (mut session, missed) = Session::resume(&start, &resume, guest, context).await?;
    session.is_part_of(trace);
    session.context.metrics.sessions_resumed.inc();
    tracing::info!(session = %session.id, missed = missed.len(), "session resumed");
    for event in &missed {
        outbox.send(event).await?;
    }
    Ok(session)
}

struct Session {
    id: SessionId,
    /// What the bus says of the session's owner while that is us.
    owner: Bytes,
    token: ResumeToken,
    founding: Founding,
    guest: Guest,
    context: Context,
    audio: Audio,
    arrivals: Arrivals,
    /// Speech up to here is counted, milliseconds.
    counted_ms: u64,
    dispatch: Dispatch,
    traces: Traces,
    inbox: mailbox::Inbox,
    /// Newest event taken in from the event stream.
    seen: EntryId,
    /// Number of the newest event of the client's.
    event: u64,
    /// What this turn has to say.
    unsaid: Vec<ServerMessage>,
    /// Language of the newest final caption.
    last_language: String,
    /// Whether what is in memory is ahead of what was done about it: a step that waits for the bus has not come to its end.
    torn: bool,
    /// Whether it went on here from another socket.
    resumed: bool,
    /// Whether this turn changed what is known of the session, besides what it says.
    settings_changed: bool,
    /// Whether the settings are not on the bus as they are here.
    settings_unwritten: bool,
    last_settings: Instant,
    last_sign: Instant,
    last_audio: Instant,
    last_ping: Instant,
    /// When the client was last told that captions are behind; `None` while they are not.
    last_lag: Option<Instant>,
    last_renewal: Instant,
    last_settlement: Instant,
    warned_of_token: bool,
    warned_of_length: bool,
    stopping: bool,
    utterances: u32,
}

impl Session {
    /// From now on each of its lines in the log bears its id, and each of its traces hangs below `client`.
    fn is_part_of(&mut self, client: Option<TraceParent>) {
        tracing::Span::current().record("session", tracing::field::display(self.id));
        self.traces.join(client);
    }

    /// From its first word to its last.
    async fn live(&mut self, frames: &mut socket::Inbox, outbox: &Outbox, shutdown: CancellationToken) -> End {
        let _open = self.context.metrics.open_session();
        let end = match self.run(frames, outbox, shutdown).await {
            Ok(reason) => End::Ended(reason),
            Err(end) => end,
        };
        tracing::info!(session = %self.id, audio_ms = self.audio.received_ms(), ?end, "socket closed");
        end
    }

    async fn run(
        &mut self,
        frames: &mut socket::Inbox,
        outbox: &Outbox,
        shutdown: CancellationToken,
    ) -> Result<EndReason, End> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.turn(outbox).await?;
            if self.stopping && self.dispatch.idle() {
                self.say(self.ended(EndReason::Stopped));
                self.turn(outbox).await?;
                return Ok(EndReason::Stopped);
            }
            let guest = &self.guest;
            let next_frame = async {
                guest.may_read().await;
                frames.next().await
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain(outbox).await,
                expelled = guest.expelled() => return Err(End::Error(expelled.code, expelled.message)),
                mail = self.inbox.next() => self.take_mail(mail.ok_or_else(replaced)?).await?,
                _ = tick.tick() => self.look_at_clocks(outbox).await?,
                frame = next_frame, if self.dispatch.owed() < MAX_OWED => self.take_frame(frame).await?,
            }
        }
    }

    fn ended(&self, reason: EndReason) -> ServerMessage {
        let audio_ms = if self.stopping { self.audio.received_ms() } else { self.audio.safe_ms() };
        ServerMessage::Ended { reason, audio_ms, utterances: self.utterances }
    }

    async fn take_frame(&mut self, frame: Inbound) -> Result<(), End> {
        self.last_sign = Instant::now();
        self.traces.frame();
        match frame {
            // The last part of a millisecond, which no `audio_ms` can tell.
            Inbound::Audio(_) if self.stopping && self.resumed => Ok(()),
            Inbound::Audio(_) if self.stopping => Err(bad_order("audio came after `stop`")),
            Inbound::Audio(bytes) => self.take_audio(&bytes).await,
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
                    (self.settings_changed, self.settings_unwritten) = (true, true);
                    Ok(())
                }
                ClientMessage::Finalize {} => self.finalize().await,
                ClientMessage::Stop {} => {
                    (self.stopping, self.settings_changed) = (true, true);
                    self.finalize().await
                }
                ClientMessage::Auth { token } => self.renew_token(&token).await,
            },
            Inbound::TooLarge(size) => Err(too_large(size)),
            Inbound::Pong => Ok(()),
            Inbound::Gone | Inbound::Closed => Err(End::Gone),
        }
    }

    async fn take_audio(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.last_audio = self.last_sign;
        let before = self.audio.received_ms();
        let steps = self.audio.push(bytes).map_err(|e| End::Error(ErrorCode::InvalidAudio, e))?;
        let heard_ms = self.audio.received_ms() - before;
        self.arrivals.came(self.audio.received_ms(), self.last_audio);
        self.context.metrics.audio_ms.inc_by(heard_ms);
        self.guest.heard(heard_ms);
        self.walk(steps).await
    }

    async fn finalize(&mut self) -> Result<(), End> {
        let steps = self.audio.finalize(self.stopping);
        self.walk(steps).await
    }

    /// Takes an answer from the mailbox, unless one before it may be missing: then all are read from the event stream,
    /// and this one with them.
    async fn take_mail(&mut self, entry: Entry) -> Result<(), End> {
        if self.inbox.take_missed() {
            return self.replay().await;
        }
        self.take_answer(entry).await
    }

    async fn take_answer(&mut self, entry: Entry) -> Result<(), End> {
        if entry.id <= self.seen {
            return Ok(());
        }
        self.seen = entry.id;
        let Published { event, trace_parent } = match jobs::decode::<Published>(&entry.payload) {
            Ok(published) => published,
            Err(error) => {
                let fault = unquoted(&error);
                tracing::error!(session = %self.id, entry = %entry.id, fault, "an event on the bus cannot be read");
                return Ok(());
            }
        };
        if let SessionEvent::Moved { owner } = &event {
            return self.look_who_owns(owner).await;
        }
        self.traces.answered(&event, &trace_parent);
        let mut messages = Vec::new();
        self.dispatch.receive(event, Instant::now(), &mut messages);
        messages.into_iter().for_each(|message| self.say(message));
        let Some(CommittedEnd { utterance, at_ms, split }) = self.dispatch.take_committed_end() else { return Ok(()) };
        self.audio.committed(utterance, at_ms);
        self.traces.frame();
        let steps = if split { self.audio.split(utterance, at_ms) } else { Vec::new() };
        self.walk(steps).await
    }

    /// Ends in order because the server stops. What another gateway can go on with is left to it; on a bus that ends with
    /// this process, what is owed and comes in time is still sent.
    async fn drain(&mut self, outbox: &Outbox) -> Result<EndReason, End> {
        if !self.context.bus.outlives_process() {
            self.stopping = true;
            self.finalize().await?;
            self.turn(outbox).await?;
            let deadline = sleep(DRAIN_PATIENCE);
            let mut tick = interval(TICK);
            tokio::pin!(deadline);
            while !self.dispatch.idle() {
                tokio::select! {
                    mail = self.inbox.next() => self.take_mail(mail.ok_or_else(replaced)?).await?,
                    _ = tick.tick() => if self.inbox.take_missed() { self.replay().await? },
                    () = &mut deadline => break,
                }
                self.turn(outbox).await?;
            }
            let mut messages = Vec::new();
            self.dispatch.give_up(&mut messages);
            messages.into_iter().for_each(|message| self.say(message));
        }
        self.say(self.ended(EndReason::Draining));
        self.turn(outbox).await?;
        Ok(EndReason::Draining)
    }

    /// What becomes of the session now that nobody is at the other end.
    async fn leave(&mut self, end: &End) {
        // What was last written down is right, if perhaps old; what is in memory may be ahead of what was done about it.
        let whole = !self.torn && self.unsaid.is_empty();
        if end.afterlife() == Afterlife::Forgotten {
            self.traces.abandon();
        }
        if end.afterlife() == Afterlife::Kept && whole && self.keep(KEPT_FOR).await.is_err() {
            tracing::warn!(session = %self.id, "the session cannot be written down now; it goes on from where it last was");
        }
        if let Err(expelled) = self.guest.settle().await {
            tracing::debug!(session = %self.id, code = expelled.code.as_str(), "the session's client may not come back yet");
        }
    }
}
