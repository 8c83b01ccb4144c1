//! chrF: how far the letters of translations agree with the references.
//!
//! Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", as sacrebleu computes chrF2: character
//! n-grams of 1 to 6, blanks left out, recall counted twice (beta 2), the mean over the orders that both sides have. The
//! counts of all sentences are added up before the score is made of them.

use std::collections::HashMap;

/// Longest n-grams.
const ORDER: usize = 6;
/// Beta squared: beta is 2.
const RECALL_WEIGHT: f64 = 4.0;

/// Counts of n-grams, of one sentence or of many added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Chrf {
    /// For each order: n-grams of the translation, of the reference, of both.
    counts: [[usize; 3]; ORDER],
}

impl Chrf {
    /// Of one sentence.
    pub(super) fn of(translation: &str, reference: &str) -> Self {
        let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<char>>();
        let (translation, reference) = (letters(translation), letters(reference));
        let mut counts = [[0; 3]; ORDER];
        for (order, count) in counts.iter_mut().enumerate() {
            let (ours, theirs) = (grams(&translation, order + 1), grams(&reference, order + 1));
            let both = ours.iter().map(|(gram, n)| theirs.get(gram).map_or(0, |m| *n.min(m))).sum();
            let of_theirs: usize = theirs.values().sum();
            // What no n-gram of the reference could agree with does not count against a translation.
            let of_ours = if theirs.is_empty() { 0 } else { ours.values().sum() };
            *count = [of_ours, of_theirs, both];
        }
        Self { counts }
    }

    /// Adds another.
    pub(super) fn add(&mut self, other: Self) {
        for (mine, theirs) in self.counts.iter_mut().flatten().zip(other.counts.iter().flatten()) {
            *mine += theirs;
        }
    }

    /// 0 to 100; `None` where there is no reference.
    pub(super) fn score(&self) -> Option<f64> {
        if self.counts[0][1] == 0 {
            return None;
        }
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for [ours, theirs, both] in self.counts {
            if ours > 0 && theirs > 0 {
                precision += both as f64 / ours as f64;
                recall += both as f64 / theirs as f64;
                orders += 1.0;
            }
        }
        if precision + recall == 0.0 {
            return Some(0.0);
        }
        let (precision, recall) = (precision / orders, recall / orders);
        Some(100.0 * (1.0 + RECALL_WEIGHT) * precision * recall / (RECALL_WEIGHT * precision + recall))
    }
}

fn grams(letters: &[char], order: usize) -> HashMap<&[char], usize> {
    let mut grams = HashMap::new();
    for gram in letters.windows(order) {
        *grams.entry(gram).or_default() += 1;
    }
    grams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_hand() {
        // a, b, c against a, b, d: 2 of 3 letters and 1 of 2 pairs agree, no triple does.
        let score = Chrf::of("a bc", "ab d").score().unwrap();
        let mean = (2.0 / 3.0 + 1.0 / 2.0) / 3.0;
        assert!((score - 100.0 * mean).abs() < 1e-9, "{score}");
        assert_eq!(Chrf::of("hola", "hola").score(), Some(100.0));
        assert_eq!(Chrf::of("", "hola").score(), Some(0.0));
        assert_eq!(Chrf::of("hola", "").score(), None);
    }
}
