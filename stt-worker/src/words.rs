//! Where the words of a text lie in the audio. Pure.

use inference::alignment::AlignedWord;
use shared::wire::Word;

/// `words` as the client gets them: their times counted from the session's first sample, as the utterance's `start_ms`.
pub(crate) fn on_the_wire(words: &[AlignedWord], start_ms: u64) -> Vec<Word> {
    let word = |word: &AlignedWord| Word {
        text: word.text.trim().to_owned(),
        start_ms: start_ms + u64::from(word.start_ms),
        end_ms: start_ms + u64::from(word.end_ms),
        probability: word.probability,
    };
    words.iter().map(word).collect()
}

/// Whether `words` are those of `text`, spaces aside.
pub(crate) fn are_of(words: &[AlignedWord], text: &str) -> bool {
    letters(text).eq(words.iter().flat_map(|word| letters(&word.text)))
}

/// Drops the words behind `text`, with which `words` begin.
pub(crate) fn keep_first(words: &mut Vec<AlignedWord>, text: &str) {
    let mut left = letters(text).count();
    let kept = words.iter().take_while(|word| {
        let here = left > 0;
        left = left.saturating_sub(letters(&word.text).count());
        here
    });
    words.truncate(kept.count());
}

/// Where `text`, with which `words` begin, ends in the audio: milliseconds from its start. `None` for no text, or one that
/// ends in mid-word.
pub(crate) fn end_of(text: &str, words: &[AlignedWord]) -> Option<u32> {
    let count = letters(text).count();
    let mut seen = 0;
    for word in words {
        seen += letters(&word.text).count();
        if seen >= count {
            return (seen == count && count > 0).then_some(word.end_ms);
        }
    }
    None
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str]) -> Vec<AlignedWord> {
        let word = |(at, text): (usize, &&str)| AlignedWord {
            text: (*text).to_owned(),
            start_ms: at as u32 * 100,
            end_ms: at as u32 * 100 + 90,
            probability: 0.5,
            attended_ms: 0,
            end_token: 0,
        };
        texts.iter().enumerate().map(word).collect()
    }

    #[test]
    fn a_text_ends_where_its_last_word_does() {
        let heard = words(&[" The", " tide", " comes."]);
        assert_eq!(end_of("The tide", &heard), Some(190));
        assert_eq!(
            (end_of("", &heard), end_of("The ti", &heard), end_of("The tide comes. In", &heard)),
            (None, None, None)
        );
        let mut first = heard.clone();
        keep_first(&mut first, "The tide");
        assert_eq!(first.len(), 2);
        assert!(are_of(&heard, "The tide comes.") && !are_of(&heard, "The tide"));
    }

    #[test]
    fn times_count_from_the_session_s_first_sample() {
        let sent = on_the_wire(&words(&[" a", " b"]), 5000);
        assert_eq!((sent[1].text.as_str(), sent[1].start_ms, sent[1].end_ms), ("b", 5100, 5190));
    }
}
