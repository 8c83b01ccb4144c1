//! BLEU: how far the words of translations agree with the references.
//!
//! Papineni, Roukos, Ward, Zhu 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation", as sacrebleu
//! computes it: words as `mteval-v13a` cuts them, n-grams of 1 to 4, counts of the whole corpus, and where an order has no
//! match its precision is smoothed exponentially (Chen and Cherry 2014, method 3).

use std::collections::HashMap;

/// Longest n-grams.
const ORDER: usize = 4;

/// Counts of n-grams, of one sentence or of many added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bleu {
    matches: [usize; ORDER],
    totals: [usize; ORDER],
    length: usize,
    reference_length: usize,
}

impl Bleu {
    /// Of one sentence.
    pub(super) fn of(translation: &str, reference: &str) -> Self {
        let (translation, reference) = (tokens_13a(translation), tokens_13a(reference));
        let mut counts = Self { length: translation.len(), reference_length: reference.len(), ..Self::default() };
        for order in 0..ORDER {
            let (ours, theirs) = (grams(&translation, order + 1), grams(&reference, order + 1));
            counts.totals[order] = ours.values().sum();
            counts.matches[order] = ours.iter().map(|(gram, n)| theirs.get(gram).map_or(0, |m| *n.min(m))).sum();
        }
        counts
    }

    /// Adds another.
    pub(super) fn add(&mut self, other: Self) {
        for order in 0..ORDER {
            self.matches[order] += other.matches[order];
            self.totals[order] += other.totals[order];
        }
        self.length += other.length;
        self.reference_length += other.reference_length;
    }

    /// 0 to 100; `None` where there is no reference.
    pub(super) fn score(&self) -> Option<f64> {
        if self.reference_length == 0 {
            return None;
        }
        if self.matches.iter().all(|n| *n == 0) || self.totals.contains(&0) {
            return Some(0.0);
        }
        let mut smoothing = 1.0;
        let mut logarithms = 0.0;
        for (matches, total) in self.matches.iter().zip(&self.totals) {
            let precision = if *matches == 0 {
                smoothing *= 2.0;
                1.0 / (smoothing * *total as f64)
            } else {
                *matches as f64 / *total as f64
            };
            logarithms += (100.0 * precision).ln();
        }
        let short = self.length < self.reference_length;
        let brevity = if short { (1.0 - self.reference_length as f64 / self.length as f64).exp() } else { 1.0 };
        Some(brevity * (logarithms / ORDER as f64).exp())
    }
}

fn grams(tokens: &[String], order: usize) -> HashMap<&[String], usize> {
    let mut grams = HashMap::new();
    for gram in tokens.windows(order) {
        *grams.entry(gram).or_default() += 1;
    }
    grams
}

/// Words as `mteval-v13a` cuts them: ASCII punctuation stands alone, but for points and commas between digits, and
/// hyphens unless a digit stands before them; apostrophes stay where they are.
fn tokens_13a(text: &str) -> Vec<String> {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut letters = vec![' '];
    for c in text.trim_end().chars() {
        if stands_alone(c) { letters.extend([' ', c, ' ']) } else { letters.push(c) }
    }
    letters.push(' ');
    let point = |c: char| matches!(c, '.' | ',');
    let letters = pairs(&letters, |a, b| !a.is_ascii_digit() && point(b), |a, b| vec![a, ' ', b, ' ']);
    let letters = pairs(&letters, |a, b| point(a) && !b.is_ascii_digit(), |a, b| vec![' ', a, ' ', b]);
    let letters = pairs(&letters, |a, b| a.is_ascii_digit() && b == '-', |a, b| vec![a, ' ', b, ' ']);
    letters.into_iter().collect::<String>().split_whitespace().map(str::to_owned).collect()
}

fn stands_alone(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

/// Replaces neighbours for which `found` holds, from left to right; a letter replaced is not looked at again.
fn pairs(letters: &[char], found: impl Fn(char, char) -> bool, by: impl Fn(char, char) -> Vec<char>) -> Vec<char> {
    let mut out = Vec::with_capacity(letters.len());
    let mut at = 0;
    while at < letters.len() {
        match letters.get(at + 1) {
            Some(next) if found(letters[at], *next) => {
                out.extend(by(letters[at], *next));
                at += 2;
            }
            _ => {
                out.push(letters[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_13a_does() {
        assert_eq!(
            tokens_13a("It's 3.5, (no) 1990-2000 well-known."),
            ["It's", "3.5", ",", "(", "no", ")", "1990", "-", "2000", "well-known", "."]
        );
    }

    #[test]
    fn counted_by_hand() {
        // Matches of 1 to 4: 4 of 5, 3 of 4, 2 of 3, 1 of 2; both have five words.
        let score = Bleu::of("a b c d x", "a b c d e").score().unwrap();
        let expected = 100.0 * (0.8_f64 * 0.75 * (2.0 / 3.0) * 0.5).powf(0.25);
        assert!((score - expected).abs() < 1e-9, "{score}");
        // Too short by one of five words.
        let score = Bleu::of("a b c d", "a b c d e").score().unwrap();
        assert!((score - 100.0 * (-0.25_f64).exp()).abs() < 1e-9, "{score}");
        assert_eq!(Bleu::of("x", "y").score(), Some(0.0));
        assert_eq!(Bleu::of("x", "").score(), None);
    }
}
