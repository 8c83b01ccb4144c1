//! One stretch of work on its way to the collector.

use std::{borrow::Cow, time::SystemTime};

pub use opentelemetry::trace::SpanKind;
use opentelemetry::{
    KeyValue, Value,
    trace::{SpanContext, SpanId, Status, TraceFlags, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{
    TraceParent,
    export::{self, scope},
};

/// Name and value of what is told of a span. Never what was said, and nothing of a person.
pub type Attribute = (&'static str, Value);

/// One stretch of work. It is exported when it ends; one that is dropped before is exported as cut off. Where nothing is
/// exported, or its trace was not chosen, it is empty and costs nothing.
#[derive(Debug, Default)]
#[must_use = "a span that is dropped at once was cut off"]
pub struct Span(Option<Box<SpanData>>);

impl Span {
    /// The span of `context`, below `parent`, from now on.
    pub fn begin(name: &'static str, kind: SpanKind, context: TraceParent, parent: Option<TraceParent>) -> Self {
        if !context.is_recorded() {
            return Self(None);
        }
        let now = SystemTime::now();
        let flags = TraceFlags::SAMPLED;
        Self(Some(Box::new(SpanData {
            span_context: SpanContext::new(context.trace, context.span, flags, false, TraceState::default()),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| parent.span),
            parent_span_is_remote: matches!(kind, SpanKind::Server | SpanKind::Consumer),
            span_kind: kind,
            name: Cow::Borrowed(name),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope(),
        })))
    }

    /// A step of ours within `parent`, from now on.
    pub fn within(parent: TraceParent, name: &'static str) -> Self {
        if parent.is_recorded() {
            Self::begin(name, SpanKind::Internal, parent.child(), Some(parent))
        } else {
            Self(None)
        }
    }

    /// The same, begun at `start`; never later than now.
    pub fn since(mut self, start: SystemTime) -> Self {
        if let Some(data) = &mut self.0 {
            data.start_time = data.start_time.min(start);
        }
        self
    }

    /// The same with `attributes`, which are only asked for where the span is exported.
    pub fn about<I: IntoIterator<Item = Attribute>>(mut self, attributes: impl FnOnce() -> I) -> Self {
        if let Some(data) = &mut self.0 {
            data.attributes.extend(attributes().into_iter().map(|(key, value)| KeyValue::new(key, value)));
        }
        self
    }

    /// Whether it will be exported.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Ends it now.
    pub fn end(self) {
        self.end_at(SystemTime::now());
    }

    /// Ends it at `end`.
    pub fn end_at(mut self, end: SystemTime) {
        self.close(end, Status::Unset);
    }

    /// Ends it now as failed; `why` in our own words.
    pub fn fail(mut self, why: &'static str) {
        self.close(SystemTime::now(), Status::error(why));
    }

    fn close(&mut self, end: SystemTime, status: Status) {
        if let Some(mut data) = self.0.take() {
            data.end_time = end.max(data.start_time);
            data.status = status;
            export::finished(*data);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.close(SystemTime::now(), Status::error("cut off"));
    }
}
