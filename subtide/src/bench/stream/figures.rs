//! Many values as a few figures.

use serde_json::{Value, json};

/// A delay in milliseconds, by the clock and by the audio.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Delay {
    /// From speech to the client's screen: what people wait (computation-aware).
    pub(super) wall_ms: f64,
    /// From speech to the end of the audio that was heard: what the policy waits for, on any machine
    /// (computation-unaware).
    pub(super) audio_ms: f64,
}

/// Mean and percentiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// Values.
    pub(super) count: usize,
    /// Mean.
    pub(super) mean: f64,
    /// The value half of all do not exceed.
    pub(super) p50: f64,
    /// The value 95 of 100 do not exceed.
    pub(super) p95: f64,
    /// The largest.
    pub(super) max: f64,
}

impl Figures {
    /// Of `values`; `None` of none. Percentiles by nearest rank: each is a value that occurred.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let max = *values.last()?;
        let rank = |share: f64| values[((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Self { count: values.len(), mean, p50: rank(0.5), p95: rank(0.95), max })
    }

    /// For machines; milliseconds are rounded to a tenth.
    pub(super) fn json(self) -> Value {
        let [mean, p50, p95, max] = [self.mean, self.p50, self.p95, self.max].map(tenth);
        json!({ "count": self.count, "mean": mean, "p50": p50, "p95": p95, "max": max })
    }
}

/// Figures of delays, by both clocks, for machines.
pub(super) fn delays_json(delays: &[Delay]) -> Value {
    json!({
        "wall_ms": wall(delays).map(Figures::json),
        "audio_ms": Figures::of(delays.iter().map(|delay| delay.audio_ms)).map(Figures::json),
    })
}

/// Figures of delays by the clock.
pub(super) fn wall(delays: &[Delay]) -> Option<Figures> {
    Figures::of(delays.iter().map(|delay| delay.wall_ms))
}

/// `value` in tenths.
pub(super) fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let figures = Figures::of((1..=20).rev().map(f64::from)).unwrap();
        assert_eq!((figures.p50, figures.p95, figures.max, figures.mean), (10.0, 19.0, 20.0, 10.5));
        let one = Figures::of([7.0]).unwrap();
        assert_eq!((one.p50, one.p95, one.count), (7.0, 7.0, 1));
        assert_eq!(Figures::of([]), None);
    }
}
