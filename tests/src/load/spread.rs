//! Medians and percentiles.

/// Times of something that happened often, microseconds.
#[derive(Debug, Clone, Default)]
pub struct Spread(Vec<u32>);

impl Spread {
    /// Of these times, microseconds.
    #[must_use]
    pub fn of(mut times: Vec<u32>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of them do not exceed, milliseconds; zero when there are none.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).map_or(0.0, |time| f64::from(*time) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let spread = Spread::of((1..=200).rev().map(|ms| ms * 1000).collect());
        assert_eq!([50, 95, 99, 100].map(|p| spread.percentile_ms(p)), [100.0, 190.0, 198.0, 200.0]);
        assert_eq!(Spread::default().percentile_ms(99), 0.0);
    }
}
