//! A histogram as Prometheus counts it: how many values were at most each bound.

/// Bounds in rising order, each with the number of values at or below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Histogram {
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// Of bounds and counts in any order.
    pub(super) fn of(buckets: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut buckets: Vec<_> = buckets.into_iter().collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { buckets }
    }

    /// Takes in another one with the same bounds; one with others is left out, for it cannot be added.
    pub(super) fn add(&mut self, other: &Self) {
        if self.has_bounds_of(other) {
            self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| mine.1 += theirs.1);
        }
    }

    fn has_bounds_of(&self, other: &Self) -> bool {
        let bounds = |histogram: &Self| histogram.buckets.iter().map(|bucket| bucket.0).collect::<Vec<_>>();
        bounds(self) == bounds(other)
    }

    /// What came since `earlier`; all of it, where its process began anew in between.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let began_anew = self.count() < earlier.count() || !self.has_bounds_of(earlier);
        if began_anew {
            return self.clone();
        }
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self { buckets: pairs.map(|(now, then)| (now.0, now.1 - then.1)).collect() }
    }

    /// Values counted.
    pub(super) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |bucket| bucket.1)
    }

    /// The value that a share `q` of all is at or below, within its bucket as if values were spread evenly there: what
    /// Prometheus' `histogram_quantile` says. Beyond the last finite bound it is that bound.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count();
        if rank <= 0.0 {
            return None;
        }
        let at = self.buckets.iter().position(|bucket| bucket.1 >= rank)?;
        let (bound, up_to) = self.buckets[at];
        let (from, before) = at.checked_sub(1).map_or((0.0, 0.0), |previous| self.buckets[previous]);
        if bound.is_infinite() {
            return Some(from);
        }
        Some(from + (bound - from) * (rank - before) / (up_to - before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: [f64; 4]) -> Histogram {
        Histogram::of([0.1, 0.5, 1.0, f64::INFINITY].into_iter().zip(counts))
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let all = histogram([2.0, 6.0, 8.0, 10.0]);
        assert_eq!(all.quantile(0.1), Some(0.05));
        assert_eq!(all.quantile(0.6), Some(0.5));
        assert_eq!(all.quantile(0.99), Some(1.0), "nothing is known beyond the last bound");
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(histogram([0.0; 4]).quantile(0.5), None);
    }

    #[test]
    fn what_came_in_between_is_told_and_a_new_beginning_noticed() {
        let (then, now) = (histogram([1.0, 1.0, 1.0, 1.0]), histogram([1.0, 3.0, 3.0, 3.0]));
        assert_eq!(now.since(&then), histogram([0.0, 2.0, 2.0, 2.0]));
        assert_eq!(then.since(&now), then, "the process began anew");
    }

    #[test]
    fn only_what_has_the_same_bounds_is_added() {
        let mut all = histogram([1.0, 1.0, 1.0, 1.0]);
        all.add(&histogram([0.0, 1.0, 1.0, 2.0]));
        all.add(&Histogram::of([(7.0, 100.0)]));
        assert_eq!(all, histogram([1.0, 2.0, 2.0, 3.0]));
    }
}
