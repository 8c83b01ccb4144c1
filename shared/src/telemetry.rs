//! What a program tells of itself besides its metrics: logs, traces, errors. No secret, token or spoken text is in any of it.
//!
//! # Layout
//! - `logs`: lines on standard error, as text or as JSON (`json`)
//! - `context`: the W3C trace context that jobs and events carry; made whether or not anything is exported, so that the lines of
//!   all roles about one utterance bear one trace id
//! - `span`: one stretch of work; `export`: where spans go, by OTLP
//! - [`job`]: the span of the job that a worker has in hand, and of its steps
//! - `errors`: errors and panics to a tracker that speaks Sentry's protocol; `panics`: what a panic says
//!
//! Spans are data of our own and not those of `tracing`, because most of ours begin in one task or process and end in another:
//! their ids must be known before they end, and stay the same when another gateway goes on with a session. The SDK's batches,
//! its exporter and its sampler are used as they are.

mod context;
mod errors;
mod export;
pub mod job;
mod json;
mod logs;
mod panics;
mod span;

use std::time::Duration;

use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _};

pub use self::{
    context::{Invalid, TraceParent},
    errors::ENV_SENTRY_DSN,
    export::{ENV_OTLP_ENDPOINT, ENV_OTLP_HEADERS, ENV_TRACES_SHARE, TraceConfig},
    logs::{ENV_LOG_FORMAT, ENV_LOG_LEVEL, LogConfig, LogFormat},
    span::{Attribute, Span, SpanKind},
};
use self::{errors::Tracker, export::Recorder};
use crate::config::{Env, SecretString};

/// How long the end of a program may wait for its last spans, and again for its last errors, to be delivered.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// What a program tells, and to whom.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    log: LogConfig,
    traces: Option<TraceConfig>,
    errors: Option<SecretString>,
}

impl TelemetryConfig {
    /// Reads `LOG_LEVEL` (default `default_level`), `LOG_FORMAT`, `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_TRACES_SAMPLER_ARG` and `SENTRY_DSN`.
    pub fn from_env(env: &mut Env, default_level: &str) -> Self {
        let log = LogConfig::from_env(env, default_level);
        Self { log, traces: TraceConfig::from_env(env), errors: errors::from_env(env) }
    }
}

/// Sends the logs of this process to standard error, and nothing anywhere else. A second call changes nothing.
pub fn init(config: &LogConfig) {
    // Only a subscriber that is already there can make this fail, and then logs already flow.
    drop(registry().with(logs::layer(config)).try_init());
}

/// Logs to standard error, spans to the collector and errors to the tracker, where these are configured, under the name
/// `service`. A second call changes nothing.
pub fn start(config: &TelemetryConfig, service: &'static str) {
    let tracker = config.errors.as_ref().map(Tracker::open);
    let errors = tracker.clone().map(|tracker| tracker.with_filter(errors::filter()));
    if registry().with(logs::layer(&config.log)).with(errors).try_init().is_err() {
        return;
    }
    panics::tell(tracker.clone());
    if let Some(tracker) = tracker {
        errors::keep(tracker);
    }
    if let Some(traces) = &config.traces {
        match Recorder::open(traces, service) {
            Ok(recorder) => export::keep(recorder),
            Err(error) => tracing::error!(%error, "traces cannot be exported; everything else works"),
        }
    }
}

/// Delivers what is left, for a few seconds at most; afterwards nothing is exported any more. To be awaited once, at the end.
pub async fn shutdown() {
    let flush = || {
        export::shut_down(FLUSH_WITHIN);
        errors::shut_down(FLUSH_WITHIN);
    };
    if tokio::task::spawn_blocking(flush).await.is_err() {
        tracing::debug!("the last spans and errors may not have been delivered");
    }
}
