//! The recordings that ship, and how well text agrees with them.

use serde::Deserialize;

use crate::stack::repository;

/// What `models/demo-speech/manifest.json` says of one utterance.
#[derive(Debug, Clone, Deserialize)]
pub struct Spoken {
    /// English, as spoken.
    pub text: String,
    /// Its translation by hand.
    pub spanish: String,
    /// First word, milliseconds from the start of the recording.
    pub start_ms: u64,
    /// End of the last word, likewise.
    pub end_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    file: String,
    utterances: Vec<Spoken>,
}

/// The demo's recording: path of the wav file, and what is said in it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn demo() -> (std::path::PathBuf, Vec<Spoken>) {
    let directory = repository().join("models/demo-speech");
    let text = std::fs::read_to_string(directory.join("manifest.json")).unwrap_or_else(|e| panic!("{e}"));
    let manifest: Manifest = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"));
    (directory.join(manifest.file), manifest.utterances)
}

/// The samples (s16le) of a 16 kHz mono wav with a plain 44-byte header.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn pcm(path: &std::path::Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let data = bytes.windows(4).position(|four| four == b"data").map(|at| at + 8);
    bytes[data.unwrap_or_else(|| panic!("{} has no data", path.display()))..].to_vec()
}

/// Word error rate: edits (substitutions, insertions, deletions) a word of `reference`. Case and punctuation do not
/// count.
#[must_use]
pub fn word_error_rate(reference: &str, heard: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let plain: String =
            text.to_lowercase().chars().map(|c| if c.is_alphanumeric() || c == '\'' { c } else { ' ' }).collect();
        plain.split_whitespace().map(str::to_owned).collect()
    };
    let (reference, heard) = (words(reference), words(heard));
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, expected) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, word) in heard.iter().enumerate() {
            let substituted = diagonal + usize::from(expected != word);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[heard.len()] as f64 / reference.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_a_word() {
        assert!(word_error_rate("The meeting starts.", "the MEETING starts") < 1e-9);
        assert!((word_error_rate("one two three four", "one too three") - 0.5).abs() < 1e-9);
        assert!((word_error_rate("a", "a b c") - 2.0).abs() < 1e-9);
    }
}
