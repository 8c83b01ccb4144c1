//! How fast audio may come: a little faster than it is spoken.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Audio a second: clocks of sound cards differ, and a client that stood still for a moment must catch up.
const SPEED: f64 = 1.25;
/// Audio that may come at once.
const BURST: Duration = Duration::from_secs(10);

/// A token bucket of audio (leaky bucket as a meter, ITU-T I.371): refilled at [`SPEED`] up to [`BURST`].
#[derive(Debug)]
pub(crate) struct Pace {
    /// Seconds of audio that may come; below zero after a frame that was larger than what was left.
    left: f64,
    counted: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { left: BURST.as_secs_f64(), counted: Instant::now() }
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let refilled = self.left + now.duration_since(self.counted).as_secs_f64() * SPEED;
        // What was granted above the burst is kept until it is used.
        self.left = refilled.min(BURST.as_secs_f64().max(self.left));
        self.counted = now;
    }

    /// Audio that came.
    pub(crate) fn heard(&mut self, audio: Duration) {
        self.refill();
        self.left -= audio.as_secs_f64();
    }

    /// This much may come at once instead of a burst, which who connects again and again would get each time.
    pub(crate) fn grant(&mut self, audio: Duration) {
        self.refill();
        self.left = audio.as_secs_f64();
    }

    /// Resolves when more may come. Cancel-safe.
    pub(crate) async fn ready(&self) {
        if self.left < 0.0 {
            sleep_until(self.counted + Duration::from_secs_f64(-self.left / SPEED)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until `seconds` of audio have been let in, a tenth of a second a frame.
    async fn time_for(pace: &mut Pace, seconds: u32) -> f64 {
        let start = Instant::now();
        for _ in 0..seconds * 10 {
            pace.ready().await;
            pace.heard(Duration::from_millis(100));
        }
        pace.ready().await;
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn audio_is_let_in_at_a_quarter_more_than_it_is_spoken() {
        let mut pace = Pace::new();
        assert!(time_for(&mut pace, 10).await < 0.1, "the burst is free");
        let wanted = 50.0 / SPEED;
        let took = time_for(&mut pace, 50).await;
        assert!((took - wanted).abs() < 0.2, "{took} s for 50 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_granted_comes_at_once_instead_of_a_burst_and_pauses_are_not_saved_up() {
        let mut pace = Pace::new();
        pace.grant(Duration::from_secs(60));
        assert!(time_for(&mut pace, 60).await < 0.1);
        assert!(time_for(&mut pace, 10).await > 7.0, "who comes back has no burst besides");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(time_for(&mut pace, 10).await < 0.1);
        assert!(time_for(&mut pace, 10).await > 7.0, "an hour of silence is no more than one burst");
    }
}
