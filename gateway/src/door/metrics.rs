//! What the door counts. Labels are closed sets: no person, no address, no token.

use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use shared::{bus::Depth, health::add};

/// Handles of the door's metrics; clones share them.
#[derive(Debug, Clone)]
pub struct DoorMetrics {
    refused: IntCounterVec,
    expelled: IntCounterVec,
    tickets: IntCounterVec,
    waiting: GaugeVec,
    depth: IntGaugeVec,
    local: IntGauge,
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
        let seconds = Opts::new("gateway_queue_waiting_seconds", "Age of the oldest job that no worker has taken");
        let depth = Opts::new("gateway_queue_waiting_jobs", "Jobs that no worker has taken");
        let local =
            IntGauge::new("gateway_limits_local", "1 while the bus is away and each gateway limits on its own")?;
        Ok(Self {
            refused: counter("gateway_refused_total", "Requests refused at the door", "reason")?,
            expelled: counter("gateway_expelled_total", "Sessions ended by the door", "code")?,
            tickets: counter("gateway_tickets_total", "Tickets of pages", "event")?,
            waiting: add(registry, GaugeVec::new(seconds, &["stream"])?)?,
            depth: add(registry, IntGaugeVec::new(depth, &["stream"])?)?,
            local: add(registry, local)?,
        })
    }

    /// Counts somebody who was turned away.
    pub(crate) fn count_refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    /// Counts a session that had to end.
    pub(crate) fn count_expelled(&self, code: &str) {
        self.expelled.with_label_values(&[code]).inc();
    }

    /// Counts a ticket that was `issued` or `used`.
    pub(crate) fn count_ticket(&self, event: &str) {
        self.tickets.with_label_values(&[event]).inc();
    }

    pub(super) fn set_queue(&self, stream: &str, depth: Depth) {
        self.waiting.with_label_values(&[stream]).set(depth.waiting.as_secs_f64());
        self.depth.with_label_values(&[stream]).set(i64::try_from(depth.lag).unwrap_or(i64::MAX));
    }

    pub(super) fn set_local(&self, local: bool) {
        self.local.set(i64::from(local));
    }
}
