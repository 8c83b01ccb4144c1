//! Ratios of pairs: what one of two costs more, and how sure that is.

use serde::Serialize;

/// Half-widths of a 95 % interval in standard errors, by degrees of freedom from 1 on (Student's t, 0.975).
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// The same beyond that.
const T_MANY: f64 = 2.0;

/// The mean of the logarithms of the ratios of pairs, with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    mean: f64,
    half_width: f64,
}

/// A cost in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Percent {
    /// The most likely.
    pub(super) mean: f64,
    /// 95 % confidence: not less than this...
    pub(super) low: f64,
    /// ...and not more.
    pub(super) high: f64,
}

impl Cost {
    /// Of durations of the same work, with something and without; `None` from fewer than two pairs.
    pub(super) fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let logs: Vec<f64> = pairs.iter().map(|(with, without)| (with / without).ln()).collect();
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let t = T.get(logs.len().checked_sub(2)?).copied().unwrap_or(T_MANY);
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Some(Self { mean, half_width: t * (variance / n).sqrt() })
    }

    /// How much less is done in the same time.
    pub(super) fn of_throughput(self) -> Percent {
        self.percent(|log| 1.0 - (-log).exp())
    }

    /// How much more the same work takes.
    pub(super) fn of_work(self) -> Percent {
        self.percent(|log| log.exp() - 1.0)
    }

    fn percent(self, share: impl Fn(f64) -> f64) -> Percent {
        let percent = |log: f64| 100.0 * share(log);
        let Self { mean, half_width } = self;
        Percent { mean: percent(mean), low: percent(mean - half_width), high: percent(mean + half_width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_slower_for_a_while_changes_nothing() {
        let cost = Cost::of(&[(1.1, 1.0), (2.2, 2.0), (5.5, 5.0)]).unwrap();
        let work = cost.of_work();
        assert!((work.mean - 10.0).abs() < 1e-9 && (work.high - work.low).abs() < 1e-9, "{work:?}");
        assert!((cost.of_throughput().mean - 100.0 / 11.0).abs() < 1e-9);
    }

    #[test]
    fn two_pairs_that_disagree_are_not_sure() {
        // Logarithms 0 and ln 1.21: mean ln 1.1, standard error ln 1.1.
        let work = Cost::of(&[(1.0, 1.0), (1.21, 1.0)]).unwrap().of_work();
        assert!((work.mean - 10.0).abs() < 1e-9);
        assert!((work.high - 100.0 * (1.1_f64.powf(13.706) - 1.0)).abs() < 0.1, "{work:?}");
        assert!(work.low < 0.0);
        assert_eq!(Cost::of(&[(1.0, 1.0)]), None);
        assert_eq!(Cost::of(&[]), None);
    }
}
