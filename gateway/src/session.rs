//! One session: the order of the protocol, its audio, its answers, its end.
//!
//! An actor owns everything of the session; nothing is shared and nothing is locked. It waits for, in this order of
//! priority: the server's shutdown, an answer from the workers, the tick, a frame from the client. Answers go first
//! because a client that floods audio must not starve its own captions. While it waits for the bus, frames are read and
//! held, so that a bus that is away for seconds costs neither audio nor the socket.

mod arrivals;
mod audio;
mod clock;
mod end;
mod intake;
mod live;
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
    bus::{Bus, EntryId},
    ids::SessionId,
    jobs,
    shutdown::CancellationToken,
    telemetry::TraceParent,
    wire::{EndReason, Event, ServerMessage, Start, WireError},
};

use self::{
    arrivals::Arrivals,
    audio::Audio,
    end::{Afterlife, End},
    state::{Founding, ResumeToken},
    trace::Traces,
};
use crate::{
    config::GatewayConfig,
    dispatch::Dispatch,
    door::{Guest, Pressure},
    mailbox::{self, Mailbox},
    metrics::Metrics,
    socket::{self, Outbox},
};

/// Utterances that a session may be owed at once. With more, nothing is read from the client until some are answered:
/// who sends a recording faster than it can be heard waits, and nobody can fill the queue for the others.
const MAX_OWED: usize = 32;
/// What is kept of a session whose socket is closed, and a reserve for a client that comes at the last moment.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(jobs::RESUME_WINDOW.as_secs() + 30);

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
    /// How full the bus is.
    pub pressure: Pressure,
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
    let (mut frames, outbox) = socket::open(socket, metrics.messages_dropped.clone(), metrics.held_bytes.clone());
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
    let answered = !matches!(end, End::Silent) && frames.linger().await;
    // A client that did not answer the close frame may not have heard the last words, and come back for them.
    let heard = answered || !matches!(end, End::Ended(_));
    if let Some(mut session) = session.filter(|_| heard && end.afterlife() == Afterlife::Forgotten) {
        session.forget().await;
    }
}

/// Tells the client why it ends, and closes. An `error` bears `number` and `trace_id`, which is in the log as well.
async fn part(end: &End, (number, trace_id): (u64, String), outbox: Outbox, metrics: &Metrics) {
    match end {
        End::Gone | End::Silent => outbox.close(1001, "").await,
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
    /// When it was last seen that not all was read of what the client had sent, or that it began.
    last_behind: Instant,
    /// Since when nothing is read from the client.
    unread_since: Option<Instant>,
    /// Whether missed events could not be read the last time.
    replay_fails: bool,
    last_ping: Instant,
    /// When the client was last told that captions are behind; `None` while they are not.
    last_lag: Option<Instant>,
    last_renewal: Instant,
    last_settlement: Instant,
    warned_of_token: bool,
    warned_of_length: bool,
    stopping: bool,
    /// Whether its audio waits because the bus is nearly full.
    paused: bool,
    utterances: u32,
}

impl Session {
    /// From now on each of its lines in the log bears its id, and each of its traces hangs below `client`.
    fn is_part_of(&mut self, client: Option<TraceParent>) {
        tracing::Span::current().record("session", tracing::field::display(self.id));
        self.traces.join(client);
    }

    fn ended(&self, reason: EndReason) -> ServerMessage {
        let audio_ms = if self.stopping { self.audio.received_ms() } else { self.audio.safe_ms() };
        ServerMessage::Ended { reason, audio_ms, utterances: self.utterances }
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
