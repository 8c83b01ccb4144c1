//! Text to words, for comparison and for counting.
//!
//! A *word* is what stands between blanks or, in a script written without spaces, one character, as in
//! [`shared::agreement`].

use shared::agreement::without_spaces;

/// One word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// For comparison: lower case, without punctuation around it. Never empty.
    pub(super) folded: String,
    /// As it is written, with the punctuation that goes with it.
    pub(super) written: String,
    /// Whether a blank stands before it.
    pub(super) spaced: bool,
}

/// The words of `text` as they are compared. What has neither letter nor digit is no word; it goes with the word
/// before it.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::new();
    let mut opening = String::new();
    for (piece, spaced) in pieces(text) {
        let folded = fold(piece);
        match found.last_mut() {
            _ if !folded.is_empty() => {
                let written = std::mem::take(&mut opening) + piece;
                found.push(Word { folded, written, spaced });
            }
            Some(before) => {
                if spaced {
                    before.written.push(' ');
                }
                before.written.push_str(piece);
            }
            None => opening.push_str(piece),
        }
    }
    found
}

/// The words of `text` as they are written, to the letter.
pub(super) fn written(text: &str) -> Vec<&str> {
    pieces(text).into_iter().map(|(piece, _)| piece).collect()
}

/// `words` as a text again.
pub(super) fn joined<'a>(words: impl IntoIterator<Item = &'a Word>) -> String {
    let mut text = String::new();
    for word in words {
        if word.spaced && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word.written);
    }
    text
}

/// Pieces between blanks, characters of scripts without spaces alone, each with whether a blank stands before it.
fn pieces(text: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    for chunk in text.split_whitespace() {
        let mut spaced = true;
        let mut from = 0;
        for (at, c) in chunk.char_indices() {
            if without_spaces(c) {
                if from < at {
                    found.push((&chunk[from..at], spaced));
                    spaced = false;
                }
                from = at + c.len_utf8();
                found.push((&chunk[at..from], spaced));
                spaced = false;
            }
        }
        if from < chunk.len() {
            found.push((&chunk[from..], spaced));
        }
    }
    found
}

/// Lower case without the punctuation around a word; that inside it (`don't`, `3.5`) stays.
fn fold(piece: &str) -> String {
    let kept = piece.trim_matches(|c: char| !(c.is_alphanumeric() || without_spaces(c) && !is_punctuation(c)));
    kept.chars().map(|c| if c == '’' { '\'' } else { c }).flat_map(char::to_lowercase).collect()
}

/// Punctuation of the scripts without spaces: the ideographic block of marks and the wide forms of ASCII's.
fn is_punctuation(c: char) -> bool {
    matches!(u32::from(c), 0x3000..=0x3004 | 0x3008..=0x3020 | 0x3030 | 0x30FB | 0xFF00..=0xFF0F | 0xFF1A..=0xFF20
        | 0xFF3B..=0xFF40 | 0xFF5B..=0xFF65 | 0x0E2F | 0x0E5A | 0x0E5B | 0x17D4..=0x17DA | 0x104A..=0x104F)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.folded).collect()
    }

    #[test]
    fn case_and_punctuation_around_words_do_not_count() {
        assert_eq!(folded("The train, at 3.5 — “Don’t” wait!"), ["the", "train", "at", "3.5", "don't", "wait"]);
        assert_eq!(folded("¿Qué? ..."), ["qué"]);
        assert!(folded(" - ").is_empty());
    }

    #[test]
    fn scripts_without_spaces_are_taken_by_character() {
        assert_eq!(folded("今天，天气"), ["今", "天", "天", "气"]);
        assert_eq!(folded("在 Dublin 下雨"), ["在", "dublin", "下", "雨"]);
        assert_eq!(written("今天。 ok!"), ["今", "天", "。", "ok!"]);
    }

    #[test]
    fn words_put_together_are_the_text_again() {
        for text in ["The train, at 3.5 — “Don’t” wait!", "今天，天气 ok", "¿Qué? ..."] {
            assert_eq!(joined(&words(text)), text);
        }
    }
}
