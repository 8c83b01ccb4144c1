//! What a consumer counts. All carry the label `stream`, so that the consumers of one process can share a registry.

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

use crate::{bus::Depth, health::add};

/// Seconds; from an empty decode on a GPU to a job that waits for a model on a busy laptop.
const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// What becomes of a job: all values of the label `outcome`.
pub(super) const OUTCOMES: [&str; 6] = ["done", "superseded", "lease_lost", "given_up", "retry", "handed_back"];

/// Counters, gauges and a histogram of one consumer.
#[derive(Debug, Clone)]
pub struct ConsumerMetrics {
    jobs: [(IntCounter, Histogram); OUTCOMES.len()],
    reclaimed: IntCounter,
    dead_letters: IntCounter,
    lost: IntCounter,
    in_flight: IntGauge,
    depth: QueueGauges,
}

/// How much waits in one stream for one group. While nobody can tell, the series are absent.
#[derive(Debug, Clone)]
struct QueueGauges {
    lag: GaugeVec,
    pending: GaugeVec,
    oldest: GaugeVec,
}

impl ConsumerMetrics {
    /// Registers the metrics of the consumer of `stream` for `group`.
    ///
    /// # Errors
    /// When the registry already has those of that stream.
    pub fn register(registry: &Registry, stream: &str, group: &str) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("stream", stream);
        let counter = |name: &str, help: &str| add(registry, IntCounter::with_opts(opts(name, help))?);
        let seconds = HistogramOpts::new("subtide_job_seconds", "Time from taking a job to letting go of it.")
            .const_label("stream", stream)
            .buckets(SECONDS.to_vec());
        let seconds = add(registry, HistogramVec::new(seconds, &["outcome"])?)?;
        let jobs = opts("subtide_jobs_total", "Jobs taken, by what became of them.");
        let jobs = add(registry, IntCounterVec::new(jobs, &["outcome"])?)?;
        let in_flight = IntGauge::with_opts(opts("subtide_jobs_in_flight", "Jobs in hand."))?;
        let of_queue = |name: &str, help: &str| {
            GaugeVec::new(opts(name, help).const_label("group", group), &[]).and_then(|gauge| add(registry, gauge))
        };
        Ok(Self {
            jobs: OUTCOMES.map(|outcome| (jobs.with_label_values(&[outcome]), seconds.with_label_values(&[outcome]))),
            reclaimed: counter("subtide_jobs_reclaimed_total", "Jobs taken over after a silent lease.")?,
            dead_letters: counter("subtide_jobs_dead_lettered_total", "Jobs given up.")?,
            lost: counter("subtide_jobs_lost_total", "Pending jobs gone from the stream; must be 0.")?,
            in_flight: add(registry, in_flight)?,
            depth: QueueGauges {
                lag: of_queue("subtide_queue_lag", "Jobs nobody has read yet.")?,
                pending: of_queue("subtide_queue_pending", "Jobs read and not acknowledged, by any worker.")?,
                oldest: of_queue("subtide_queue_oldest_seconds", "Age of the oldest job not acknowledged.")?,
            },
        })
    }

    pub(super) fn observe(&self, outcome: &str, seconds: f64) {
        let place = OUTCOMES.iter().position(|known| *known == outcome);
        debug_assert!(place.is_some(), "{outcome} is none of {OUTCOMES:?}");
        if let Some((jobs, time)) = place.map(|place| &self.jobs[place]) {
            jobs.inc();
            time.observe(seconds);
        }
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

    /// `None`: nobody can tell at present.
    pub(super) fn set_depth(&self, depth: Option<Depth>) {
        let QueueGauges { lag, pending, oldest } = &self.depth;
        let set = |gauge: &GaugeVec, value: Option<f64>| match value {
            Some(value) => gauge.with_label_values::<&str>(&[]).set(value),
            None => gauge.reset(),
        };
        #[expect(clippy::cast_precision_loss, reason = "queues are not that long")]
        let count = |jobs: u64| jobs as f64;
        set(lag, depth.map(|depth| count(depth.lag)));
        set(pending, depth.map(|depth| count(depth.pending)));
        set(oldest, depth.map(|depth| depth.oldest_age.as_secs_f64()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn every_outcome_is_there_from_the_start_and_a_depth_only_while_it_is_known() {
        let registry = Registry::new();
        let metrics = ConsumerMetrics::register(&registry, "jobs", "workers").unwrap();
        let told = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for outcome in OUTCOMES {
            assert!(told().contains(&format!("subtide_jobs_total{{outcome=\"{outcome}\",stream=\"jobs\"}} 0\n")));
        }
        assert!(!told().contains("subtide_queue"), "nobody has looked yet");
        let depth = Depth { lag: 3, pending: 2, oldest_age: Duration::from_millis(1500), waiting: Duration::ZERO };
        metrics.set_depth(Some(depth));
        assert!(told().contains("subtide_queue_lag{group=\"workers\",stream=\"jobs\"} 3\n"), "{}", told());
        assert!(told().contains("subtide_queue_oldest_seconds{group=\"workers\",stream=\"jobs\"} 1.5\n"));
        metrics.set_depth(None);
        assert!(!told().contains("subtide_queue"), "what was known is no longer true");
    }
}
