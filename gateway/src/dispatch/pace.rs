//! How much new audio a partial caption waits for. Pure.
//!
//! With one decode of each utterance in flight, sessions and workers form a closed queue: asking again at once would only
//! make the queue longer, not the answers more frequent. So as much time is left between an answer and the next question
//! as the answer took. The captions are then as frequent as without, and each waits half as long (Little's law: sessions
//! = throughput x (answer time + pause)); and workers that fall behind are asked less.

use std::time::Duration;

use super::{PARTIAL_STEP_MS, PARTIAL_TIMEOUT};

/// Weight of the newest answer in the mean: about five answers are remembered.
const NEWEST: f64 = 0.3;

/// How long answers take at present.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    answer_ms: f64,
}

impl Pace {
    /// An answer came, or was given up, after `waited`.
    pub(super) fn answered(&mut self, waited: Duration) {
        let waited = waited.min(PARTIAL_TIMEOUT);
        self.answer_ms += NEWEST * (waited.as_secs_f64() * 1000.0 - self.answer_ms);
    }

    /// Nothing was asked for a while: what is known grows old.
    pub(super) fn rested(&mut self) {
        self.answer_ms /= 2.0;
    }

    /// New audio between two partials, milliseconds: [`PARTIAL_STEP_MS`] to [`PARTIAL_TIMEOUT`].
    pub(super) fn interval_ms(self) -> u64 {
        let most = PARTIAL_TIMEOUT.as_secs_f64() * 1000.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the timeout")]
        let stretched = (2.0 * self.answer_ms).clamp(0.0, most) as u64;
        stretched.max(PARTIAL_STEP_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_answers_stretch_the_interval_and_fast_ones_shorten_it_again() {
        let mut pace = Pace::default();
        pace.answered(Duration::from_millis(60));
        assert_eq!(pace.interval_ms(), PARTIAL_STEP_MS);
        (0..20).for_each(|_| pace.answered(Duration::from_secs(1)));
        assert!((1900..=2000).contains(&pace.interval_ms()), "{}", pace.interval_ms());
        (0..20).for_each(|_| pace.answered(Duration::from_secs(60)));
        assert_eq!(pace.interval_ms(), 6000);
        pace.rested();
        assert!(pace.interval_ms() > 5000, "a timeout is counted as no more than itself: {pace:?}");
        (0..20).for_each(|_| pace.answered(Duration::from_millis(60)));
        assert_eq!(pace.interval_ms(), PARTIAL_STEP_MS);
    }
}
