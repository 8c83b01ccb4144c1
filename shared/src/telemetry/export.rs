//! Where spans go: in batches, by OTLP over HTTP, from a thread of their own.
//!
//! The queue before that thread is bounded: where the collector is slower than spans come, or away, spans are lost and nothing
//! else is.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue, Uri};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanKind, TraceId},
};
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, ShouldSample as _, SpanData, SpanExporter,
        SpanProcessor as _,
    },
};

use crate::config::{Env, ExposeSecret as _, SecretString};

/// `OTEL_EXPORTER_OTLP_ENDPOINT`: where an OTLP collector listens for HTTP; `/v1/traces` is added. Absent: nothing is exported.
pub const ENV_OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// `OTEL_EXPORTER_OTLP_HEADERS` (or `OTEL_EXPORTER_OTLP_HEADERS_FILE`): `name=value` pairs with commas between, sent along.
pub const ENV_OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// `OTEL_TRACES_SAMPLER_ARG`: share of the traces begun here that are exported, 0 to 1.
pub const ENV_TRACES_SHARE: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Spans that wait for the exporter; when it is full, further ones are lost. A span has less than 1 kB.
const QUEUE: usize = 8192;
/// Spans in one request.
const BATCH: usize = 512;
/// Longest wait of a span for others to be sent with.
const EVERY: Duration = Duration::from_secs(1);
/// Longest time for a request, its repetitions included.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Where spans go, and which.
#[derive(Clone)]
pub struct TraceConfig {
    endpoint: String,
    headers: HashMap<String, String>,
    share: f64,
}

impl fmt::Debug for TraceConfig {
    /// Without the headers: they hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceConfig")
            .field("endpoint", &self.endpoint)
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

impl TraceConfig {
    /// Reads [`ENV_OTLP_ENDPOINT`], [`ENV_OTLP_HEADERS`] and [`ENV_TRACES_SHARE`]; `None` without the first.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let headers = env.secret(ENV_OTLP_HEADERS).map(|headers| read_headers(&headers));
        let headers = headers.transpose().unwrap_or_else(|fault| {
            env.fault(format!("{ENV_OTLP_HEADERS}: {fault}"));
            None
        });
        let share = env.parse_or(ENV_TRACES_SHARE, 1.0);
        if !(0.0..=1.0).contains(&share) {
            env.fault(format!("{ENV_TRACES_SHARE}={share}: must be between 0 and 1"));
        }
        let endpoint = env.get(ENV_OTLP_ENDPOINT)?;
        if let Err(fault) = check(&endpoint) {
            env.fault(format!("{ENV_OTLP_ENDPOINT}: {fault}"));
        }
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        Some(Self { endpoint, headers: headers.unwrap_or_default(), share })
    }
}

/// The fault does not repeat the value: it may hold a password.
fn check(endpoint: &str) -> Result<(), &'static str> {
    let uri: Uri = endpoint.parse().map_err(|_| "must be a URL such as http://collector:4318")?;
    let authority = uri.authority().ok_or("must be a URL such as http://collector:4318")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("must begin with http:// or https://");
    }
    if authority.as_str().contains('@') {
        return Err("must not hold a password; OTEL_EXPORTER_OTLP_HEADERS is for that");
    }
    Ok(())
}

fn read_headers(text: &SecretString) -> Result<HashMap<String, String>, &'static str> {
    const FAULT: &str = "must be name=value pairs with commas between, values with %20 for a space";
    let pairs = text.expose_secret().split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').ok_or(FAULT)?;
        let value = decoded(value.trim()).ok_or(FAULT)?;
        let usable = HeaderName::try_from(name.trim()).is_ok() && HeaderValue::try_from(value.as_str()).is_ok();
        usable.then(|| (name.trim().to_owned(), value)).ok_or(FAULT)
    });
    read.collect()
}

/// `text` with its `%20` and the like decoded.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// Takes spans that have ended.
#[derive(Debug)]
pub(super) struct Recorder {
    processor: BatchSpanProcessor,
    waiting: Arc<Waiting>,
    sampler: Sampler,
}

impl Recorder {
    /// Starts the exporter's thread.
    pub(super) fn open(config: &TraceConfig, service: &'static str) -> Result<Self, ExporterBuildError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&config.endpoint)
            .with_headers(config.headers.clone())
            .with_timeout(ANSWER_WITHIN)
            .build()?;
        let waiting = Arc::new(Waiting::default());
        let mut exporter = Watched { exporter, waiting: Arc::clone(&waiting), away: AtomicBool::new(false) };
        let instance = uuid::Uuid::new_v4().to_string();
        let resource = Resource::builder().with_service_name(service).with_attributes([
            KeyValue::new("service.namespace", "subtide"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
        ]);
        exporter.set_resource(&resource.build());
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY);
        let processor = BatchSpanProcessor::new(exporter, batches.build());
        tracing::info!(endpoint = config.endpoint, share = config.share, "traces are exported");
        Ok(Self { processor, waiting, sampler: Sampler::TraceIdRatioBased(config.share) })
    }
}

/// Spans between [`finished`] and the exporter. They are counted here, because the SDK does not tell what it loses.
#[derive(Debug, Default)]
struct Waiting {
    spans: AtomicUsize,
    /// Since the queue became full.
    lost: AtomicUsize,
}

impl Waiting {
    /// Whether there is room for one more; if not, it is lost, and the first of many is told.
    fn enter(&self) -> bool {
        if self.spans.fetch_add(1, Ordering::Relaxed) < QUEUE {
            return true;
        }
        self.spans.fetch_sub(1, Ordering::Relaxed);
        if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                waiting = QUEUE,
                "spans come faster than the collector takes them; traces have holes, captions do not"
            );
        }
        false
    }

    /// Spans go to the collector. How many were lost, once the queue has half emptied again.
    fn leave(&self, spans: usize) -> Option<usize> {
        let left = self.spans.fetch_sub(spans, Ordering::Relaxed).saturating_sub(spans);
        let lost = if left <= QUEUE / 2 { self.lost.swap(0, Ordering::Relaxed) } else { 0 };
        (lost > 0).then_some(lost)
    }
}

/// The exporter; says in the log when the collector goes away and when it is back.
#[derive(Debug)]
struct Watched {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: Arc<Waiting>,
    away: AtomicBool,
}

impl SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if let Some(lost) = self.waiting.leave(batch.len()) {
            tracing::warn!(lost, "spans no longer come faster than they are taken");
        }
        let outcome = self.exporter.export(batch).await;
        match (&outcome, self.away.swap(outcome.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(%error, "the collector does not take traces; they are lost until it does, captions are not");
            }
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// From now on spans go to `recorder`; the first one stays.
pub(super) fn keep(recorder: Recorder) {
    if RECORDER.set(recorder).is_err() {
        tracing::debug!("traces are exported already");
    }
}

/// Whether spans are exported at all.
pub(super) fn is_on() -> bool {
    RECORDER.get().is_some()
}

/// Whether a trace that begins here is exported.
pub(super) fn samples(trace: TraceId) -> bool {
    RECORDER.get().is_some_and(|recorder| {
        let sampled = recorder.sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    })
}

/// What says that spans are ours.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("subtide").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// Hands a span to the exporter's thread, or loses it where too many wait. Never blocks.
pub(super) fn finished(span: SpanData) {
    if let Some(recorder) = RECORDER.get()
        && recorder.waiting.enter()
    {
        recorder.processor.on_end(span);
    }
}

/// Delivers what waits, within `timeout`.
pub(super) fn shut_down(timeout: Duration) {
    if let Some(Err(error)) = RECORDER.get().map(|recorder| recorder.processor.shutdown_with_timeout(timeout)) {
        tracing::warn!(%error, "the last traces were not delivered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_exported_unless_asked_and_every_fault_is_told_without_the_secret() {
        let mut env = Env::of([]);
        assert!(TraceConfig::from_env(&mut env).is_none());
        assert!(env.finish().is_ok());
        let mut env = Env::of([
            (ENV_OTLP_ENDPOINT, "http://ann:hush@collector:4318"),
            (ENV_OTLP_HEADERS, "hush"),
            (ENV_TRACES_SHARE, "1.5"),
        ]);
        TraceConfig::from_env(&mut env);
        let faults = env.finish().unwrap_err().to_string();
        for key in [ENV_OTLP_ENDPOINT, ENV_OTLP_HEADERS, ENV_TRACES_SHARE] {
            assert!(faults.contains(key), "{faults}");
        }
        assert!(!faults.contains("hush"), "{faults}");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_when_there_is_room_again() {
        let waiting = Waiting::default();
        assert_eq!((0..QUEUE + 3).filter(|_| waiting.enter()).count(), QUEUE);
        assert_eq!(waiting.leave(BATCH), None, "it is nearly full");
        assert_eq!(waiting.leave(QUEUE / 2), Some(3));
        assert_eq!((waiting.leave(1), waiting.enter()), (None, true));
    }

    #[test]
    fn headers_are_read_and_never_printed() {
        let mut env = Env::of([
            (ENV_OTLP_ENDPOINT, "https://collector/"),
            (ENV_OTLP_HEADERS, "Authorization=Basic%20aHVzaA==, x-team = tide"),
            (ENV_TRACES_SHARE, "0.25"),
        ]);
        let config = TraceConfig::from_env(&mut env).unwrap();
        assert!(env.finish().is_ok());
        assert_eq!(config.endpoint, "https://collector/v1/traces");
        assert_eq!(config.headers["Authorization"], "Basic aHVzaA==");
        assert_eq!(config.headers["x-team"], "tide");
        assert!(!format!("{config:?}").contains("aHVzaA"));
        for bad in ["a", "a=%2", "a=%zz", "a b=c", "=c", "a=\u{7}"] {
            assert!(read_headers(&bad.into()).is_err(), "{bad}");
        }
    }
}
