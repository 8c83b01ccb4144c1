//! Word errors: replaced, missing and added words by the words of the reference (WER).
//!
//! The measure of the NIST evaluations of speech recognition (`sclite`), here over folded words: case and punctuation
//! aside. It is a ratio of sums, so that the errors of many recordings are added up before they are divided.

use super::alignment::Step;

/// Words counted in an alignment, or in many added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WordErrors {
    /// Words of the reference.
    pub(super) reference: usize,
    /// Words replaced by others.
    pub(super) replaced: usize,
    /// Words of the reference that nothing stands for.
    pub(super) missing: usize,
    /// Words that stand for none of the reference.
    pub(super) added: usize,
}

impl WordErrors {
    /// Of one alignment.
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut errors = Self::default();
        for step in steps {
            match step {
                Step::Same(..) => errors.reference += 1,
                Step::Replaced(..) => (errors.reference, errors.replaced) = (errors.reference + 1, errors.replaced + 1),
                Step::Missing(_) => (errors.reference, errors.missing) = (errors.reference + 1, errors.missing + 1),
                Step::Added(_) => errors.added += 1,
            }
        }
        errors
    }

    /// Adds others.
    pub(super) fn add(&mut self, other: Self) {
        self.reference += other.reference;
        self.replaced += other.replaced;
        self.missing += other.missing;
        self.added += other.added;
    }

    /// Errors by words of the reference; `None` where nothing was said.
    pub(super) fn rate(self) -> Option<f64> {
        let errors = self.replaced + self.missing + self.added;
        (self.reference > 0).then(|| errors as f64 / self.reference as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted() {
        let steps = [Step::Same(0, 0), Step::Replaced(1, 1), Step::Missing(2), Step::Added(2), Step::Same(3, 3)];
        let errors = WordErrors::of(&steps);
        assert_eq!(errors, WordErrors { reference: 4, replaced: 1, missing: 1, added: 1 });
        assert_eq!(errors.rate(), Some(0.75));
        assert_eq!(WordErrors::default().rate(), None);
        let mut both = errors;
        both.add(errors);
        assert_eq!((both.reference, both.rate()), (8, Some(0.75)));
    }
}
