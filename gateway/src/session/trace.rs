//! The traces of a session: one an utterance, from the frame that opened it until its last final is on the wire.
//!
//! Ids are made and carried whether or not spans are exported. A trace is written down with its session, so that the gateway that
//! goes on with the session goes on with the traces of its open utterances; the one that lets the last final out exports the
//! root. Where no gateway does, because the client never came back, the trace stays without its root.

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use shared::{
    bus::Bus,
    ids::{Revision, SessionId, UtteranceId},
    jobs::{AUDIO_JOBS, JobKind, SessionEvent, SpeechJob},
    language::Language,
    telemetry::{Attribute, Span, SpanKind, TraceParent, job::messaging_system},
    wire::ServerMessage,
};

use crate::dispatch::Closed;

/// The traces of the open utterances.
pub(super) type Memory = BTreeMap<UtteranceId, Open>;
/// The same as they are written down.
pub(super) type MemoryView<'a> = BTreeMap<&'a UtteranceId, &'a Open>;

/// The traces of one session.
#[derive(Debug)]
pub(super) struct Traces {
    session: SessionId,
    system: &'static str,
    /// What the client said its session is a part of.
    client: Option<TraceParent>,
    /// What is told under no utterance's trace.
    own: TraceParent,
    /// When the newest frame was received.
    frame_at: SystemTime,
    open: Memory,
}

/// The trace of an open utterance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Open {
    root: TraceParent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<TraceParent>,
    began: Moment,
    /// Decodes asked for and not answered.
    asked: Vec<Asked>,
    /// Whether its first audio is on the bus.
    #[serde(skip, default = "yes")]
    stored: bool,
    /// Answers that are not on the wire yet.
    #[serde(skip)]
    arrived: Vec<Arrived>,
}

fn yes() -> bool {
    true
}

/// Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Moment(u64);

impl Moment {
    fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    revision: Revision,
    kind: JobKind,
    span: TraceParent,
    began: Moment,
}

#[derive(Debug, Clone)]
struct Arrived {
    target: Option<Language>,
    revision: Revision,
    /// The span of the worker that answered.
    below: TraceParent,
    at: SystemTime,
}

impl Traces {
    /// Goes on with the traces of `open`.
    pub(super) fn new(session: SessionId, bus: &dyn Bus, open: Memory) -> Self {
        let own = TraceParent::root();
        Self { session, system: messaging_system(bus), client: None, own, frame_at: SystemTime::now(), open }
    }

    /// Utterances opened from now on are part of the client's trace, where it has one.
    pub(super) fn join(&mut self, client: Option<TraceParent>) {
        self.own = client.unwrap_or(self.own);
        self.client = client;
    }

    /// What must be known to go on: the traces of the utterances that something is still owed of. What is closed has its last
    /// word in the same write, and nobody who goes on from there would hear of its end.
    pub(super) fn memory(&self, owed: impl Fn(UtteranceId) -> bool) -> MemoryView<'_> {
        self.open.iter().filter(|(utterance, _)| owed(**utterance)).collect()
    }

    /// Id of the trace that what happens now belongs to: the newest open utterance's, or else the session's own.
    pub(super) fn trace_id(&self) -> String {
        self.open.last_key_value().map_or(self.own, |(_, open)| open.root).trace_id().to_string()
    }

    /// A frame came, or something else that can open an utterance.
    pub(super) fn frame(&mut self) {
        self.frame_at = SystemTime::now();
    }

    /// An utterance was opened by the newest frame.
    pub(super) fn opened(&mut self, utterance: UtteranceId) {
        let root = self.client.map_or_else(TraceParent::root, TraceParent::child);
        tracing::debug!(utterance = utterance.0, trace_id = %root.trace_id(), span_id = %root.span_id(), "utterance opened");
        let (began, parent) = (Moment::of(self.frame_at), self.client);
        let open = Open { root, parent, began, asked: Vec::new(), stored: false, arrived: Vec::new() };
        self.open.insert(utterance, open);
    }

    /// Audio of the utterance is on the bus.
    pub(super) fn appended(&mut self, utterance: UtteranceId) {
        let Some(open) = self.open.get_mut(&utterance) else { return };
        if !mem::replace(&mut open.stored, true) {
            let (session, system) = (self.session, self.system);
            Span::within(open.root, "receive")
                .since(open.began.time())
                .about(|| [("messaging.system", system.into()), about(session)])
                .end();
        }
    }

    /// Decodes are asked for: what the workers do hangs below the spans begun here.
    pub(super) fn asked(&mut self, jobs: &mut [SpeechJob]) {
        let began = Moment::of(SystemTime::now());
        for job in jobs {
            let Some(open) = self.open.get_mut(&job.utterance) else { continue };
            let span = open.root.child();
            job.trace_parent = span.to_string();
            let (revision, kind) = (job.revision, job.kind);
            tracing::debug!(utterance = job.utterance.0, revision = revision.0, ?kind, trace_id = %span.trace_id(),
                span_id = %span.span_id(), "asks for a decode");
            open.asked.push(Asked { revision, kind, span, began });
        }
    }

    /// An answer came from the bus.
    pub(super) fn answered(&mut self, event: &SessionEvent, trace_parent: &str) {
        let (utterance, revision, target) = match event {
            SessionEvent::Caption { caption, .. } => (caption.utterance, caption.revision, None),
            SessionEvent::Translation(translation) => {
                (translation.utterance, translation.revision, Some(translation.target.clone()))
            }
            SessionEvent::Gap { utterance, revision, target, .. } => (*utterance, *revision, target.clone()),
            SessionEvent::Moved { .. } => return,
        };
        let (session, system) = (self.session, self.system);
        let Some(open) = self.open.get_mut(&utterance) else { return };
        if target.is_none()
            && let Some(index) = open.asked.iter().position(|asked| asked.revision == revision)
        {
            let asked = open.asked.swap_remove(index);
            open.job(&asked).about(|| of_job(session, system, utterance, &asked, true)).end();
        }
        if open.root.is_recorded() {
            // What an older revision said was left out.
            open.arrived.retain(|arrived| arrived.target != target);
            let below = trace_parent.parse().unwrap_or(open.root);
            open.arrived.push(Arrived { target, revision, below, at: SystemTime::now() });
        }
    }

    /// What ends once `message` is written to the socket.
    pub(super) fn said(&mut self, message: &ServerMessage) -> Vec<Span> {
        let (utterance, revision, target) = match message {
            ServerMessage::Caption(caption) => (caption.utterance, Some(caption.revision), None),
            ServerMessage::Translation(translation) => {
                (translation.utterance, Some(translation.revision), Some(&translation.target))
            }
            ServerMessage::Gap { utterance: Some(utterance), target, .. } => (*utterance, None, target.as_ref()),
            _ => return Vec::new(),
        };
        let session = self.session;
        let Some(open) = self.open.get_mut(&utterance) else { return Vec::new() };
        let is_it = |arrived: &Arrived| {
            arrived.target.as_ref() == target && revision.is_none_or(|revision| revision == arrived.revision)
        };
        let Some(index) = open.arrived.iter().position(is_it) else { return Vec::new() };
        let Arrived { target, revision, below, at } = open.arrived.swap_remove(index);
        let span = Span::within(below, "deliver").since(at).about(|| {
            let target = target.map(|target| ("subtide.target", target.to_string().into()));
            let mut attributes = vec![about(session), ("subtide.utterance", i64::from(utterance.0).into())];
            attributes.push(("subtide.revision", i64::from(revision.0).into()));
            attributes.extend(target);
            attributes
        });
        vec![span]
    }

    /// What ends once all that was said of these utterances is written to the socket: their traces.
    pub(super) fn closed(&mut self, closed: &[Closed]) -> Vec<Span> {
        let mut spans = Vec::new();
        for Closed { utterance, .. } in closed {
            let Some(open) = self.open.remove(utterance) else { continue };
            tracing::debug!(utterance = utterance.0, trace_id = %open.root.trace_id(), "utterance closed");
            let (session, system) = (self.session, self.system);
            for asked in &open.asked {
                // A partial that nobody waited for any more, because its final was asked for.
                open.job(asked).about(|| of_job(session, system, *utterance, asked, false)).end();
            }
            spans.push(open.span(session, *utterance));
        }
        spans.retain(Span::is_recorded);
        spans
    }

    /// The session ends, and nobody can go on with it.
    pub(super) fn abandon(&mut self) {
        for (utterance, open) in mem::take(&mut self.open) {
            open.span(self.session, utterance).fail("the session ended before");
        }
    }
}

impl Open {
    fn span(&self, session: SessionId, utterance: UtteranceId) -> Span {
        let span = Span::begin("utterance", SpanKind::Server, self.root, self.parent);
        span.since(self.began.time()).about(|| [about(session), ("subtide.utterance", i64::from(utterance.0).into())])
    }

    fn job(&self, asked: &Asked) -> Span {
        let span = Span::begin("speech_job", SpanKind::Producer, asked.span, Some(self.root));
        span.since(asked.began.time())
    }
}

fn about(session: SessionId) -> Attribute {
    ("session.id", session.to_string().into())
}

fn of_job(
    session: SessionId,
    system: &'static str,
    utterance: UtteranceId,
    asked: &Asked,
    answered: bool,
) -> [Attribute; 9] {
    let kind = match asked.kind {
        JobKind::Partial => "partial",
        JobKind::Final => "final",
    };
    [
        ("messaging.system", system.into()),
        ("messaging.operation.name", "publish".into()),
        ("messaging.operation.type", "send".into()),
        ("messaging.destination.name", AUDIO_JOBS.into()),
        about(session),
        ("subtide.utterance", i64::from(utterance.0).into()),
        ("subtide.revision", i64::from(asked.revision.0).into()),
        ("subtide.kind", kind.into()),
        ("subtide.answered", answered.into()),
    ]
}

#[cfg(test)]
mod tests {
    use shared::bus::MemoryBus;

    use super::*;

    const CLIENT: &str = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";

    fn traces(open: Memory) -> Traces {
        Traces::new(SessionId::random(), &MemoryBus::new(), open)
    }

    #[test]
    fn each_utterance_has_a_trace_of_its_own_unless_the_client_has_one() {
        let mut traces = traces(Memory::new());
        let before = traces.trace_id();
        traces.opened(UtteranceId(1));
        let first = traces.trace_id();
        traces.opened(UtteranceId(2));
        let second = traces.trace_id();
        assert!(before != first && first != second);
        traces.join(CLIENT.parse().ok());
        traces.opened(UtteranceId(3));
        assert_eq!(traces.trace_id(), CLIENT[3..35]);
        let closed = |id| Closed { utterance: UtteranceId(id), targets: Vec::new() };
        assert!(traces.closed(&[closed(3), closed(2)]).is_empty(), "nothing is exported here");
        assert_eq!(traces.trace_id(), first);
    }

    #[test]
    fn a_gateway_that_goes_on_with_a_session_goes_on_with_its_traces() {
        let mut before = traces(Memory::new());
        before.join(CLIENT.parse().ok());
        before.opened(UtteranceId(3));
        before.opened(UtteranceId(4));
        let written = serde_json::to_string(&before.memory(|utterance| utterance != UtteranceId(3))).unwrap();
        let mut after = traces(serde_json::from_str(&written).unwrap());
        assert_eq!(after.open.len(), 1, "nothing more comes of the third, and so nothing would end its trace");
        assert_eq!(after.trace_id(), before.trace_id());
        assert!(after.open[&UtteranceId(4)].stored, "its first audio came long ago");
        let (was, is) = (&before.open[&UtteranceId(4)], &after.open[&UtteranceId(4)]);
        assert_eq!((was.root, was.parent, was.began.0), (is.root, is.parent, is.began.0));
        after.opened(UtteranceId(5));
        assert_ne!(after.trace_id(), before.trace_id(), "a client says at each connection what it is a part of");
    }
}
