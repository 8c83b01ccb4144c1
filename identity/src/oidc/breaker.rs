//! Leaves a provider alone that does not answer: a circuit breaker.

use std::sync::{Mutex, PoisonError};

use crate::Clock;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// Seconds it stays open; then one request may try.
const OPEN_SECONDS: u64 = 60;

/// Closed: requests pass. Open: none does. Half open: one does, and its outcome decides.
#[derive(Debug)]
pub(super) struct Breaker {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Second since the Unix epoch from which one request may try.
    closed_until: Option<u64>,
}

impl Breaker {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Whether a request may be sent now; whoever is told so says afterwards how it went. One that is never heard of again
    /// does no harm: after another [`OPEN_SECONDS`] the next may try.
    pub(super) fn lets_pass(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.closed_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                state.closed_until = Some(now + OPEN_SECONDS);
                true
            }
        }
    }

    pub(super) fn succeeded(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(super) fn failed(&self) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            if state.closed_until.is_none() {
                tracing::warn!(seconds = OPEN_SECONDS, "the provider does not answer and is left alone for a while");
            }
            state.closed_until = Some(now + OPEN_SECONDS);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn opens_after_five_failures_lets_one_try_after_a_minute_and_closes_with_a_success() {
        let clock = Clock::default();
        let breaker = Breaker::new(clock.clone());
        for _ in 0..FAILURES {
            assert!(breaker.lets_pass());
            breaker.failed();
        }
        assert!(!breaker.lets_pass());
        clock.advance(Duration::from_secs(OPEN_SECONDS));
        assert!(breaker.lets_pass(), "one may try");
        assert!(!breaker.lets_pass(), "and no second one beside it");
        breaker.failed();
        assert!(!breaker.lets_pass());
        clock.advance(Duration::from_secs(OPEN_SECONDS));
        assert!(breaker.lets_pass());
        breaker.succeeded();
        assert!(breaker.lets_pass() && breaker.lets_pass());
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let breaker = Breaker::new(Clock::default());
        for _ in 0..10 {
            (1..FAILURES).for_each(|_| breaker.failed());
            breaker.succeeded();
        }
        assert!(breaker.lets_pass());
    }
}
