//! Terms in a text.

use inference::translation::{Term, probe};

use super::first_line;

/// Most terms that are looked for.
const TERMS: usize = 32;

/// A text in the first line, a term in each of the others: where terms are found they stand, whole, one beside the other.
pub fn glossary(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, lines) = first_line(text);
    let terms: Vec<Term> = lines
        .lines()
        .take(TERMS)
        .map(|line| {
            let (source, target) = line.split_once('=').unwrap_or((line, line));
            Term { source: source.to_owned(), target: target.to_owned() }
        })
        .collect();
    let mut end = 0;
    for (range, term) in probe::occurrences(text, &terms) {
        assert!(end <= range.start && range.start < range.end, "{range:?} begins before {end}");
        let found = text.get(range.clone()).unwrap_or_else(|| panic!("{range:?} cuts a letter"));
        assert_eq!(small(found), small(terms[term].source.trim()));
        end = range.end;
    }
    let mut end = 0;
    for range in probe::words(text) {
        assert!(end <= range.start && range.start < range.end);
        let word = text.get(range.clone()).unwrap_or_else(|| panic!("{range:?} cuts a letter"));
        assert!(word.chars().all(char::is_alphanumeric), "{word:?}");
        end = range.end;
    }
}

fn small(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}
