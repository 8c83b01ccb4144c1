//! What a consumer counts. All carry the label `stream`, so that the consumers of one process can share a registry.

use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::{bus::Depth, health::add};

/// Seconds; from an empty decode on a GPU to a job that waits for a model on a busy laptop.
const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Counters, gauges and a histogram of one consumer.
#[derive(Debug, Clone)]
pub struct ConsumerMetrics {
    jobs: IntCounterVec,
    seconds: HistogramVec,
    reclaimed: IntCounter,
    dead_letters: IntCounter,
    lost: IntCounter,
    in_flight: IntGauge,
    lag: IntGauge,
    pending: IntGauge,
    oldest: Gauge,
}

impl ConsumerMetrics {
    /// Registers the metrics of the consumer of `stream`.
    ///
    /// # Errors
    /// When the registry already has those of that stream.
    pub fn register(registry: &Registry, stream: &str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("stream", stream);
        let seconds = HistogramOpts::new("subtide_job_seconds", "Time from taking a job to letting go of it.")
            .const_label("stream", stream)
            .buckets(SECONDS.to_vec());
        Ok(Self {
            jobs: add(
                registry,
                IntCounterVec::new(opts("subtide_jobs_total", "Jobs taken, by what became of them."), &["outcome"])?,
            )?,
            seconds: add(registry, HistogramVec::new(seconds, &["outcome"])?)?,
            reclaimed: add(
                registry,
                IntCounter::with_opts(opts("subtide_jobs_reclaimed_total", "Jobs taken over after a silent lease."))?,
            )?,
            dead_letters: add(
                registry,
                IntCounter::with_opts(opts("subtide_jobs_dead_lettered_total", "Jobs given up."))?,
            )?,
            lost: add(
                registry,
                IntCounter::with_opts(opts(
                    "subtide_jobs_lost_total",
                    "Pending jobs gone from the stream; must be 0.",
                ))?,
            )?,
            in_flight: add(registry, IntGauge::with_opts(opts("subtide_jobs_in_flight", "Jobs in hand."))?)?,
            lag: add(registry, IntGauge::with_opts(opts("subtide_queue_lag", "Jobs nobody has read yet."))?)?,
            pending: add(
                registry,
                IntGauge::with_opts(opts("subtide_queue_pending", "Jobs read and not acknowledged, by any worker."))?,
            )?,
            oldest: add(
                registry,
                Gauge::with_opts(opts("subtide_queue_oldest_seconds", "Age of the oldest job not acknowledged."))?,
            )?,
        })
    }

    pub(super) fn observe(&self, outcome: &str, seconds: f64) {
        self.jobs.with_label_values(&[outcome]).inc();
        self.seconds.with_label_values(&[outcome]).observe(seconds);
    }

    pub(super) fn count_reclaimed(&self, reclaimed: usize, lost: usize) {
        self.reclaimed.inc_by(reclaimed as u64);
        self.lost.inc_by(lost as u64);
    }

    pub(super) fn count_dead_letter(&self) {
        self.dead_letters.inc();
    }

    pub(super) fn set_in_flight(&self, jobs: usize) {
        self.in_flight.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    pub(super) fn set_depth(&self, depth: Depth) {
        self.lag.set(i64::try_from(depth.lag).unwrap_or(i64::MAX));
        self.pending.set(i64::try_from(depth.pending).unwrap_or(i64::MAX));
        self.oldest.set(depth.oldest_age.as_secs_f64());
    }
}
