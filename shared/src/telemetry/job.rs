//! The job that a worker has in hand: its span, the spans of its steps, and what stands in every line of its log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tracing::Instrument as _;

use super::{Attribute, Span, SpanKind, TraceParent};
use crate::{
    bus::{Bus, Delivery},
    ids::{Revision, SessionId, UtteranceId},
    jobs::{self, AUDIO_JOBS, JobKind, TRANSLATION_JOBS},
    language::Language,
};

tokio::task_local! {
    /// Place of the span of the job that this task does.
    static IN_HAND: TraceParent;
}

/// What both kinds of jobs say of themselves.
#[derive(Deserialize)]
struct Subject {
    session: SessionId,
    utterance: UtteranceId,
    revision: Revision,
    kind: JobKind,
    #[serde(default)]
    target: Option<Language>,
    #[serde(default)]
    trace_parent: String,
}

/// Name of the span of a job of `stream`.
fn name_of(stream: &str) -> &'static str {
    match stream {
        AUDIO_JOBS => "speech",
        TRANSLATION_JOBS => "translate",
        _ => "job",
    }
}

/// What spans call the system that `bus` is.
#[must_use]
pub fn messaging_system(bus: &dyn Bus) -> &'static str {
    if bus.outlives_process() { "redis" } else { "memory" }
}

/// Does the work on `delivery` within a span below the one that the job names, and says what became of it, which `work` tells.
/// The time the job waited is the span's first child.
pub(crate) async fn in_hand(
    bus: &dyn Bus,
    consumer: &str,
    delivery: &Delivery,
    work: impl Future<Output = &'static str>,
) {
    let taken = SystemTime::now();
    let Ok(subject) = jobs::decode::<Subject>(&delivery.payload) else {
        work.await;
        return;
    };
    let parent: Option<TraceParent> = subject.trace_parent.parse().ok();
    let context = parent.map_or_else(TraceParent::root, TraceParent::child);
    let appended = UNIX_EPOCH + Duration::from_millis(delivery.id.ms);
    let span = Span::begin(name_of(&delivery.stream), SpanKind::Consumer, context, parent)
        .since(appended)
        .about(|| attributes(bus, consumer, delivery, &subject));
    Span::within(context, "queue").since(appended).end_at(taken);
    let (session, utterance, revision) = (subject.session, subject.utterance.0, subject.revision.0);
    // Errors of any level are about it, so its level is that of errors.
    let line = tracing::error_span!("job", %session, utterance, revision,
        trace_id = %context.trace_id(), span_id = %context.span_id());
    let work = async {
        let outcome = work.await;
        tracing::debug!(outcome, seconds = taken.elapsed().unwrap_or_default().as_secs_f64(), "let go of a job");
        outcome
    };
    let outcome = IN_HAND.scope(context, work).instrument(line).await;
    let span = span.about(|| [("subtide.outcome", outcome.into())]);
    if outcome == "retry" || outcome == "given_up" { span.fail(outcome) } else { span.end() }
}

fn attributes(bus: &dyn Bus, consumer: &str, delivery: &Delivery, subject: &Subject) -> Vec<Attribute> {
    let kind = match subject.kind {
        JobKind::Partial => "partial",
        JobKind::Final => "final",
    };
    let mut attributes = vec![
        ("messaging.system", messaging_system(bus).into()),
        ("messaging.operation.name", "process".into()),
        ("messaging.operation.type", "process".into()),
        ("messaging.destination.name", delivery.stream.to_string().into()),
        ("messaging.consumer.group.name", delivery.group.to_string().into()),
        ("messaging.client.id", consumer.to_owned().into()),
        ("messaging.message.id", delivery.id.to_string().into()),
        ("session.id", subject.session.to_string().into()),
        ("subtide.utterance", i64::from(subject.utterance.0).into()),
        ("subtide.revision", i64::from(subject.revision.0).into()),
        ("subtide.kind", kind.into()),
        ("subtide.deliveries", i64::from(delivery.deliveries).into()),
    ];
    attributes.extend(subject.target.as_ref().map(|target| ("subtide.target", target.to_string().into())));
    attributes
}

/// What follows from the job in hand is to hang below its span: says so in `trace_parent`, where a job is in hand.
pub fn follow(trace_parent: &mut String) {
    if let Ok(context) = IN_HAND.try_get() {
        *trace_parent = context.to_string();
    }
}

/// Does `work` as a step of the job in hand, with a span of its own.
///
/// # Errors
/// Those of `work`.
pub async fn step<T, E>(name: &'static str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let span = IN_HAND.try_get().map_or_else(|_| Span::default(), |context| Span::within(context, name));
    let outcome = work.await;
    match &outcome {
        Ok(_) => span.end(),
        Err(_) => span.fail("failed; the log says why"),
    }
    outcome
}
