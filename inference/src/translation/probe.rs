//! For the fuzz targets alone (`tests/src/fuzzing`): where terms are found.

use std::ops::Range;

use super::{Term, phrases};

/// Where terms stand in a source text, each with its index.
#[must_use]
pub fn occurrences(text: &str, terms: &[Term]) -> Vec<(Range<usize>, usize)> {
    phrases::occurrences(text, terms)
}

/// Byte ranges of the words of a text.
#[must_use]
pub fn words(text: &str) -> Vec<Range<usize>> {
    phrases::words(text)
}
