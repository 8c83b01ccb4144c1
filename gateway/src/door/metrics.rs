//! What the door counts. Labels are closed sets: no person, no address, no token; every series is there from the start.

use axum::http::StatusCode;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use shared::{bus::Depth, health::add, wire::ErrorCode};

use super::admission::QUEUES;

/// Why somebody is turned away: all values of the label `reason`.
pub(crate) const REASONS: [&str; 18] = [
    // Limits of theirs.
    "address_rate",
    "subject_rate",
    "auth_rate",
    "sessions",
    "quota",
    "connections",
    // Ours.
    "queue",
    "memory",
    "full",
    "unavailable",
    // What they sent.
    "auth",
    "scope",
    "origin",
    "host",
    "token_in_url",
    "no_sign_in",
    "handshake",
    "admin",
];
/// What a reason that stands not above is counted as: a fault of ours, and no new series.
const OTHER: &str = "other";
/// What becomes of a sign-in: all values of the label `outcome`.
const OUTCOMES: [&str; 4] = ["signed_in", "refused", "unavailable", "failed"];
const EVENTS: [&str; 2] = ["issued", "used"];

/// Handles of the door's metrics; clones share them.
#[derive(Debug, Clone)]
pub struct DoorMetrics {
    refused: IntCounterVec,
    expelled: IntCounterVec,
    tickets: IntCounterVec,
    sign_ins: [IntCounter; OUTCOMES.len()],
    queue: QueueGauges,
    local: IntGauge,
    expired: IntCounterVec,
    /// Absent while nobody can tell, and where the bus has no limit.
    memory: GaugeVec,
    paused: IntGauge,
}

/// How much waits in each queue. While nobody can tell, its series are absent.
#[derive(Debug, Clone)]
struct QueueGauges {
    waiting_seconds: GaugeVec,
    waiting_jobs: GaugeVec,
    pending_jobs: GaugeVec,
    oldest_seconds: GaugeVec,
}

impl DoorMetrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &[label]).and_then(|metric| add(registry, metric))
        };
        let local =
            IntGauge::new("gateway_limits_local", "1 while the bus is away and each gateway limits on its own")?;
        let memory = Opts::new("gateway_bus_memory_share", "Share of the bus's memory that is in use");
        let paused = IntGauge::new("gateway_audio_paused", "1 while audio waits because the bus is nearly full")?;
        let sign_ins = counter("gateway_sign_ins_total", "Sign-ins that came to an end", "outcome")?;
        let expired =
            Opts::new("gateway_jobs_expired_total", "Jobs taken out of a queue because nobody wanted them any more");
        let expired = IntCounterVec::new(expired, &["stream", "group"])?;
        let metrics = Self {
            refused: counter("gateway_refused_total", "Requests refused at the door", "reason")?,
            expelled: counter("gateway_expelled_total", "Sessions ended by the door", "code")?,
            tickets: counter("gateway_tickets_total", "Tickets of pages", "event")?,
            sign_ins: OUTCOMES.map(|outcome| sign_ins.with_label_values(&[outcome])),
            queue: QueueGauges::register(registry)?,
            local: add(registry, local)?,
            expired: add(registry, expired)?,
            memory: add(registry, GaugeVec::new(memory, &[])?)?,
            paused: add(registry, paused)?,
        };
        let exist = |family: &IntCounterVec, value: &str| drop(family.with_label_values(&[value]));
        REASONS.iter().chain([&OTHER]).for_each(|reason| exist(&metrics.refused, reason));
        ErrorCode::ALL.iter().for_each(|code| exist(&metrics.expelled, code.as_str()));
        EVENTS.iter().for_each(|event| exist(&metrics.tickets, event));
        QUEUES.iter().for_each(|queue| metrics.count_expired(*queue, 0));
        Ok(metrics)
    }

    /// Counts somebody who was turned away.
    pub(crate) fn count_refused(&self, reason: &str) {
        let known = REASONS.contains(&reason);
        debug_assert!(known, "`{reason}` is none of the reasons that are counted");
        self.refused.with_label_values(&[if known { reason } else { OTHER }]).inc();
    }

    /// Counts a session that had to end.
    pub(crate) fn count_expelled(&self, code: ErrorCode) {
        self.expelled.with_label_values(&[code.as_str()]).inc();
    }

    /// Counts a ticket that was `issued` or `used`.
    pub(crate) fn count_ticket(&self, event: &str) {
        debug_assert!(EVENTS.contains(&event), "`{event}` is no event of a ticket");
        self.tickets.with_label_values(&[event]).inc();
    }

    /// Counts a sign-in by what its end was answered with. Where nobody can sign in there is none.
    pub(crate) fn count_sign_in(&self, status: StatusCode) {
        let [signed_in, refused, unavailable, failed] = &self.sign_ins;
        match status {
            StatusCode::NOT_FOUND => {}
            StatusCode::SERVICE_UNAVAILABLE => unavailable.inc(),
            status if status.is_server_error() => failed.inc(),
            status if status.is_client_error() => refused.inc(),
            _ => signed_in.inc(),
        }
    }

    /// What a queue is like; `None` while nobody can tell.
    pub(super) fn set_queue(&self, (stream, group): (&str, &str), depth: Option<Depth>) {
        let QueueGauges { waiting_seconds, waiting_jobs, pending_jobs, oldest_seconds } = &self.queue;
        let set = |gauge: &GaugeVec, value: Option<f64>| match value {
            Some(value) => gauge.with_label_values(&[stream, group]).set(value),
            // It may be absent already.
            None => drop(gauge.remove_label_values(&[stream, group])),
        };
        #[expect(clippy::cast_precision_loss, reason = "queues are not that long")]
        let count = |jobs: u64| jobs as f64;
        set(waiting_seconds, depth.map(|depth| depth.waiting.as_secs_f64()));
        set(waiting_jobs, depth.map(|depth| count(depth.lag)));
        set(pending_jobs, depth.map(|depth| count(depth.pending)));
        set(oldest_seconds, depth.map(|depth| depth.oldest_age.as_secs_f64()));
    }

    /// Counts jobs that were taken out of a queue.
    pub(super) fn count_expired(&self, (stream, group): (&str, &str), jobs: u64) {
        self.expired.with_label_values(&[stream, group]).inc_by(jobs);
    }

    /// How full the bus is; `None` while nobody can tell, or where it has no limit.
    pub(super) fn set_memory(&self, share: Option<f64>, paused: bool) {
        match share {
            Some(share) => self.memory.with_label_values::<&str>(&[]).set(share),
            // It may be absent already.
            None => drop(self.memory.remove_label_values::<&str>(&[])),
        }
        self.paused.set(i64::from(paused));
    }

    pub(super) fn set_local(&self, local: bool) {
        self.local.set(i64::from(local));
    }
}

impl QueueGauges {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            GaugeVec::new(Opts::new(name, help), &["stream", "group"]).and_then(|metric| add(registry, metric))
        };
        Ok(Self {
            waiting_seconds: gauge("gateway_queue_waiting_seconds", "Age of the oldest job that no worker has taken")?,
            waiting_jobs: gauge("gateway_queue_waiting_jobs", "Jobs that no worker has taken")?,
            pending_jobs: gauge("gateway_queue_pending_jobs", "Jobs in the hands of workers")?,
            oldest_seconds: gauge("gateway_queue_oldest_seconds", "Age of the oldest job that is not finished")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn every_series_is_there_from_the_start_and_a_queue_only_while_it_can_be_seen() {
        let registry = Registry::new();
        let metrics = DoorMetrics::new(&registry).unwrap();
        let told = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for reason in REASONS {
            assert!(told().contains(&format!("gateway_refused_total{{reason=\"{reason}\"}} 0\n")));
        }
        assert!(told().contains("gateway_expelled_total{code=\"auth_error\"} 0\n"));
        assert!(!told().contains("gateway_queue"));
        metrics.set_queue(("audio_jobs", "stt"), Some(Depth { lag: 2, pending: 3, ..Depth::default() }));
        for (name, value) in [("waiting_seconds", 0), ("waiting_jobs", 2), ("pending_jobs", 3), ("oldest_seconds", 0)] {
            let line = format!("gateway_queue_{name}{{group=\"stt\",stream=\"audio_jobs\"}} {value}\n");
            assert!(told().contains(&line), "{line}{}", told());
        }
        metrics.set_queue(("audio_jobs", "stt"), None);
        metrics.set_queue(("audio_jobs", "stt"), None);
        assert!(!told().contains("gateway_queue"));
    }

    #[test]
    fn a_sign_in_counts_by_its_answer() {
        let registry = Registry::new();
        let metrics = DoorMetrics::new(&registry).unwrap();
        for status in [200, 303, 401, 403, 404, 500, 503] {
            metrics.count_sign_in(StatusCode::from_u16(status).unwrap());
        }
        let told = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for (outcome, count) in [("signed_in", 2), ("refused", 2), ("failed", 1), ("unavailable", 1)] {
            let line = format!("gateway_sign_ins_total{{outcome=\"{outcome}\"}} {count}\n");
            assert!(told.contains(&line), "{line}{told}");
        }
    }
}
