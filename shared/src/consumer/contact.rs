//! Whether the bus answers: the consumer's circuit breaker.
//!
//! It opens at the first command that found no answer. From then on nobody who works on a job tries the bus; the heartbeat
//! and the reader, which go on with back-off, are the probe, and their first answer closes it.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::BUS;
use crate::health::Health;

/// Those who waited for the bus come back spread over this time.
const SPREAD: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Contact {
    health: Health,
    line: watch::Sender<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// It answers since then, when it had been away, or nobody here knew.
    Good(Instant),
    Cut,
}

impl Contact {
    pub(super) fn new(health: Health) -> Self {
        Self { health, line: watch::Sender::new(Line::Good(Instant::now())) }
    }

    /// The bus answered.
    pub(super) fn heard(&self) {
        self.health.set(BUS, true);
        self.line.send_if_modified(|line| {
            let restored = *line == Line::Cut;
            if restored {
                *line = Line::Good(Instant::now());
            }
            restored
        });
    }

    /// The bus did not answer, or refused us.
    pub(super) fn lost(&self) {
        self.health.set(BUS, false);
        self.line.send_replace(Line::Cut);
    }

    /// An answer took so long that leases may have run out meanwhile, without anybody being to blame.
    pub(super) fn shaken(&self) {
        self.line.send_replace(Line::Good(Instant::now()));
    }

    /// Waits until the bus answers again.
    pub(super) async fn restored(&self) {
        // The sender lives as long as we do, so this only waits.
        drop(self.line.subscribe().wait_for(|line| *line != Line::Cut).await);
        sleep(SPREAD.mul_f64(rand::random())).await;
    }

    /// Whether the bus has answered us all through the last `time`: not before we are that old.
    pub(super) fn steady_for(&self, time: Duration) -> bool {
        match *self.line.borrow() {
            Line::Good(since) => since.elapsed() >= time,
            Line::Cut => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::time::{advance, timeout};

    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_on_once_the_bus_answers_and_a_lease_begins_anew() {
        let health = Health::new("test", &[BUS], Registry::new());
        let contact = Contact::new(health.clone());
        contact.heard();
        assert!(health.ready() && !contact.steady_for(LEASE), "it may have been away before we came");
        advance(LEASE).await;
        assert!(contact.steady_for(LEASE));
        contact.lost();
        assert!(!health.ready() && !contact.steady_for(Duration::ZERO));
        assert!(timeout(LEASE, contact.restored()).await.is_err(), "it waits as long as the bus is away");
        contact.heard();
        contact.restored().await;
        assert!(health.ready() && !contact.steady_for(LEASE));
        advance(LEASE).await;
        contact.heard();
        assert!(contact.steady_for(LEASE), "each further answer changes nothing");
        contact.shaken();
        assert!(!contact.steady_for(LEASE));
    }
}
