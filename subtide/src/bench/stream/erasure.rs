//! How much shown text was taken back: normalised erasure.
//!
//! Arivazhagan, Cherry, Macherey, Foster 2020, "Re-translation versus Streaming for Simultaneous Translation", section
//! 2.2: E of an update is the number of words to be deleted from the end of the text shown before to make room for the
//! new one, `|o(i-1)| - |LCP(o(i), o(i-1))|`, LCP being the longest common start. Normalised erasure is the sum of all E by
//! the words of the final text: 0 where text only grows. What is compared is what people see, to the letter:
//! committed text and tail, case and punctuation included.

use super::words::written;

/// Words taken back and words that stayed, of one text or of many added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Erasure {
    /// Words deleted over all updates.
    pub(super) erased: usize,
    /// Words of the last texts.
    pub(super) kept: usize,
}

impl Erasure {
    /// Of one text, as it was shown from update to update.
    pub(super) fn of<'a>(shown: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut erased, mut before) = (0, Vec::new());
        for text in shown {
            let now = written(text);
            erased += before.len() - common_start(&before, &now);
            before = now;
        }
        Self { erased, kept: before.len() }
    }

    /// Adds another.
    pub(super) fn add(&mut self, other: Self) {
        self.erased += other.erased;
        self.kept += other.kept;
    }

    /// Words taken back by words that stayed.
    pub(super) fn normalised(self) -> Option<f64> {
        (self.kept > 0).then(|| self.erased as f64 / self.kept as f64)
    }
}

/// How many words ever appeared while a text was shown, those included that were taken back again.
pub(super) fn appeared<'a>(shown: impl IntoIterator<Item = &'a str>) -> usize {
    let (mut appeared, mut before) = (0, Vec::new());
    for text in shown {
        let now = written(text);
        appeared += now.len() - common_start(&before, &now);
        before = now;
    }
    appeared
}

fn common_start(a: &[&str], b: &[&str]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_only_grows_erases_nothing() {
        assert_eq!(Erasure::of(["a", "a b", "a b c d"]), Erasure { erased: 0, kept: 4 });
        assert_eq!(Erasure::of([]).normalised(), None);
    }

    #[test]
    fn everything_behind_the_first_change_is_erased() {
        // "x c" and then ", " of "b": 2 words behind "a b", then "b" itself for its comma and "d" behind it.
        let shown = ["a b x c", "a b d", "a b, d e"];
        assert_eq!(Erasure::of(shown), Erasure { erased: 2 + 2, kept: 4 });
        assert_eq!(Erasure::of(shown).normalised(), Some(1.0));
        assert_eq!(appeared(shown), 4 + 1 + 3);
    }

    #[test]
    fn text_that_vanishes_counts() {
        assert_eq!(Erasure::of(["thank you", ""]), Erasure { erased: 2, kept: 0 });
        assert_eq!(appeared(["thank you", ""]), 2);
    }
}
