//! How a service tries again: exponential back-off with full jitter.
//!
//! The n-th delay is uniform between zero and `min(max, first * 2^n)`. Drawing from the whole interval, rather than
//! around its end, is what keeps many clients from coming back at the same moment; source: "Exponential Backoff And
//! Jitter", AWS Architecture Blog, 2015, formula "Full Jitter".

use std::time::Duration;

use rand::Rng as _;

/// Delays between attempts at one thing.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// The first delay is at most `first`; each next one at most twice as long, and never longer than `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, ceiling: first.min(max) }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.ceiling.mul_f64(rand::rng().random::<f64>());
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        delay
    }

    /// To be called after a success: the next failure starts from the beginning.
    pub fn reset(&mut self) {
        self.ceiling = self.first.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(1);

    /// The longest of many draws of the n-th delay.
    fn longest(n: usize) -> Duration {
        let draw = || {
            let mut backoff = Backoff::new(FIRST, MAX);
            (0..=n).map(|_| backoff.next_delay()).last().unwrap_or_default()
        };
        (0..500).map(|_| draw()).max().unwrap_or_default()
    }

    #[test]
    fn delays_grow_up_to_the_maximum() {
        // Of 500 draws, all lie in the lower half with a probability of 2^-500.
        for (n, ceiling_ms) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            let (longest, ceiling) = (longest(n), Duration::from_millis(ceiling_ms));
            assert!(longest <= ceiling && longest > ceiling / 2, "delay {n}: {longest:?} of {ceiling:?}");
        }
    }

    #[test]
    fn delays_are_spread_over_the_whole_interval() {
        let mut backoff = Backoff::new(MAX, MAX);
        let shorter_than_a_quarter = (0..1000).filter(|_| backoff.next_delay() < MAX / 4).count();
        assert!((150..350).contains(&shorter_than_a_quarter), "{shorter_than_a_quarter} of 1000");
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new(FIRST, MAX);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }
}
