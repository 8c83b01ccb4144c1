//! The gateway's metrics. Labels are closed sets: no session, person or text.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use shared::{health::add, wire::ErrorCode};

/// Handles of all metrics; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Open sessions.
    pub sessions: IntGauge,
    /// Sessions opened since the start.
    pub sessions_opened: IntCounter,
    /// Sessions that went on at a new socket.
    pub sessions_resumed: IntCounter,
    /// Audio received, milliseconds (a counter of whole milliseconds keeps its precision for ever).
    pub audio_ms: IntCounter,
    /// Audio within utterances, milliseconds.
    pub speech_ms: IntCounter,
    /// Utterances opened.
    pub utterances: IntCounter,
    /// Gaps told to clients.
    pub gaps: IntCounter,
    /// Sessions ended by an error, by code.
    pub errors: IntCounterVec,
    /// From the end of an utterance to its final caption, seconds.
    pub final_seconds: Histogram,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
        let final_opts =
            HistogramOpts::new("gateway_final_caption_seconds", "From the end of an utterance to its final caption");
        Ok(Self {
            sessions: add(registry, IntGauge::new("gateway_sessions", "Open sessions")?)?,
            sessions_opened: add(registry, IntCounter::new("gateway_sessions_opened_total", "Sessions opened")?)?,
            sessions_resumed: add(
                registry,
                IntCounter::new("gateway_sessions_resumed_total", "Sessions that went on at a new socket")?,
            )?,
            audio_ms: add(registry, IntCounter::new("gateway_audio_milliseconds_total", "Audio received")?)?,
            speech_ms: add(registry, IntCounter::new("gateway_speech_milliseconds_total", "Audio within utterances")?)?,
            utterances: add(registry, IntCounter::new("gateway_utterances_total", "Utterances opened")?)?,
            gaps: add(registry, IntCounter::new("gateway_gaps_total", "Gaps told to clients")?)?,
            errors: add(
                registry,
                IntCounterVec::new(Opts::new("gateway_errors_total", "Sessions ended by an error"), &["code"])?,
            )?,
            final_seconds: add(registry, Histogram::with_opts(final_opts.buckets(buckets))?)?,
        })
    }

    /// Counts a session that an error ended.
    pub fn count_error(&self, code: ErrorCode) {
        self.errors.with_label_values(&[code.as_str()]).inc();
    }
}
