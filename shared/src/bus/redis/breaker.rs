//! A circuit breaker: while nothing answers at the other end, whoever asks hears so at once.
//!
//! It opens after [`OPEN_AFTER`] failures in a row, and lets one through when the next delay of a back-off has passed (it is
//! half open): what becomes of that one closes it, or keeps it open for another delay.

use std::time::Duration;

use tokio::time::Instant;

use crate::{backoff::Backoff, bus::BusError};

/// Failures in a row after which it opens: as many as times that one command is tried.
pub(super) const OPEN_AFTER: u32 = 3;
/// The delays between tries while it is open: a second at most, so that work goes on soon after Redis is back; half of
/// it on average (full jitter), which is two connections a second.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    backoff: Backoff,
    next_try: Instant,
    last: Option<BusError>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 0, backoff: Backoff::new(FIRST_DELAY, MAX_DELAY), next_try: Instant::now(), last: None }
    }
}

impl Breaker {
    /// Whether failures are known to be the rule.
    pub(super) fn is_open(&self) -> bool {
        self.failures >= OPEN_AFTER
    }

    /// Why there is no use in trying now.
    pub(super) fn refusal(&self) -> Option<BusError> {
        (self.is_open() && Instant::now() < self.next_try).then(|| self.last.clone()).flatten()
    }

    /// As [`Breaker::refusal`], of who will try if there is none: while it is open nobody else does, until what became of that
    /// try is known, or a delay has passed without a word of it.
    pub(super) fn enter(&mut self) -> Option<BusError> {
        let refusal = self.refusal();
        if refusal.is_none() && self.is_open() {
            self.next_try = Instant::now() + MAX_DELAY;
        }
        refusal
    }

    /// Why the last try failed.
    pub(super) fn last(&self) -> Option<BusError> {
        self.last.clone()
    }

    pub(super) fn failed(&mut self, error: BusError) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(error);
        if self.is_open() {
            self.next_try = Instant::now() + self.backoff.next_delay();
        }
    }

    pub(super) fn answered(&mut self) {
        if self.failures > 0 {
            self.failures = 0;
            self.last = None;
            self.backoff.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> BusError {
        BusError::Unreachable { url: "redis://host".into(), reason: "gone".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_lets_one_try_after_each_delay() {
        let mut breaker = Breaker::default();
        for _ in 1..OPEN_AFTER {
            breaker.failed(failure());
            assert!(breaker.refusal().is_none(), "a few failures are no rule");
        }
        breaker.answered();
        for _ in 1..OPEN_AFTER {
            breaker.failed(failure());
        }
        assert!(!breaker.is_open(), "an answer between them starts the count again");
        breaker.failed(failure());
        assert!(breaker.is_open());
        for _ in 0..10 {
            tokio::time::advance(MAX_DELAY).await;
            assert!(breaker.enter().is_none(), "half open once the delay has passed");
            assert!(breaker.enter().is_some(), "and only one is let through");
            breaker.failed(failure());
        }
        breaker.answered();
        assert!(!breaker.is_open() && breaker.last().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_about_two_a_second() {
        let mut breaker = Breaker::default();
        (0..OPEN_AFTER).for_each(|_| breaker.failed(failure()));
        let mut tries = 0;
        for _ in 0..100_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            if breaker.refusal().is_none() {
                tries += 1;
                breaker.failed(failure());
            }
        }
        // 200 are expected in these 100 s; each delay is drawn from the whole second.
        assert!((100..400).contains(&tries), "{tries}");
    }
}
