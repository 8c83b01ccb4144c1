//! Tokens and their times to words, as openai-whisper makes them (`tokenizer.py`, `split_to_word_tokens`; `timing.py`,
//! `merge_punctuations` and `add_word_timestamps`).

use super::POSITION_MS;

/// Languages whose words no space parts; there every character that is whole at the end of a token is a word.
const SPACELESS: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];
/// Python's `string.punctuation`.
const ASCII_PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
/// Punctuation that belongs to the word after it...
const PREPENDED: &str = "\"'“¿([{-";
/// ...and to the word before it.
const APPENDED: &str = "\"'.。,，!！?？:：”)]}、";
const SENTENCE_ENDS: &str = ".。!！?？";
/// Beside a sentence's end no word is longer than twice the median word, and that median counts for no more than this.
const LONGEST_MEDIAN_MS: u32 = 700;

/// What a text token stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenText {
    /// Its bytes: part of a character is possible. See [`token_bytes`].
    pub bytes: Vec<u8>,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// The encoder position it looks at most ([`most_attended`](super::most_attended)).
    pub attended: u32,
}

/// A word with its place in the audio.
#[derive(Debug, Clone, PartialEq)]
pub struct AlignedWord {
    /// As decoded: the space before it and its punctuation included, so that words in a row are the text again.
    pub text: String,
    /// Where it begins, in milliseconds from the start of the window.
    pub start_ms: u32,
    /// Where it ends.
    pub end_ms: u32,
    /// Mean probability of its tokens, without those of punctuation joined to it.
    pub probability: f32,
    /// Where the latest encoder position ends that any of its tokens looks at most, punctuation included, in
    /// milliseconds from the start of the window: a word that leans on the end of the audio may change with more of it
    /// (AlignAtt: Papi et al. 2023, section 3).
    pub attended_ms: u32,
    /// Index, among the text's tokens, of the one after its last.
    pub end_token: usize,
}

/// The bytes of a token of a byte-level vocabulary, as tokenizer.json writes it (`Ġword`): bytes that do not print are
/// written as the characters from U+0100 on (GPT-2, `encoder.py`, `bytes_to_unicode`). `None` for what is no such token.
pub fn token_bytes(token: &str) -> Option<Vec<u8>> {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let byte = |character: char| match u32::from(character) {
        code @ 0..0x100 => Some(code as u8).filter(|byte| prints(*byte)),
        code => (0..=u8::MAX).filter(|byte| !prints(*byte)).nth(code as usize - 0x100),
    };
    token.chars().map(byte).collect()
}

/// The words of a text. `pieces` are its text tokens, without timestamps and other specials; `times` the position each
/// begins at ([`token_times`](super::token_times)) and one more, the end of the last. `language` is a Whisper code.
///
/// Punctuation is joined to its word, and a word at the end of a sentence, or the first after one, is cut where it
/// would be more than twice as long as the median: it held a pause.
pub fn words(pieces: &[TokenText], times: &[u32], language: &str) -> Vec<AlignedWord> {
    let at = |index: usize| times.get(index).or(times.last()).copied().unwrap_or(0) * POSITION_MS;
    let mut start = 0;
    let mut words: Vec<AlignedWord> = split(pieces, language)
        .into_iter()
        .map(|(text, count)| {
            let tokens = &pieces[start..start + count];
            let probability = tokens.iter().map(|piece| piece.probability).sum::<f32>() / count as f32;
            let attended = tokens.iter().map(|piece| piece.attended).max().unwrap_or(0);
            let (start_ms, end_ms) = (at(start), at(start + count));
            start += count;
            let attended_ms = (attended + 1) * POSITION_MS;
            AlignedWord { text, start_ms, end_ms, probability, attended_ms, end_token: start }
        })
        .collect();
    cut_pauses(&mut words);
    join_punctuation(&mut words);
    words.retain(|word| !word.text.is_empty());
    words
}

/// Texts with the number of tokens each takes.
fn split(pieces: &[TokenText], language: &str) -> Vec<(String, usize)> {
    let characters = split_at_characters(pieces);
    if SPACELESS.contains(&language) {
        return characters;
    }
    let mut words: Vec<(String, usize)> = Vec::new();
    for (text, count) in characters {
        match words.last_mut() {
            Some(last) if !text.starts_with(' ') && !ASCII_PUNCTUATION.contains(text.trim()) => {
                last.0.push_str(&text);
                last.1 += count;
            }
            _ => words.push((text, count)),
        }
    }
    words
}

/// The shortest runs of tokens that end where a character ends. What is no character in the whole text either stands
/// for itself, as U+FFFD.
fn split_at_characters(pieces: &[TokenText]) -> Vec<(String, usize)> {
    let whole: Vec<u8> = pieces.iter().flat_map(|piece| &piece.bytes).copied().collect();
    let whole: Vec<char> = String::from_utf8_lossy(&whole).chars().collect();
    let mut runs = Vec::new();
    let (mut bytes, mut count, mut offset) = (Vec::new(), 0, 0);
    for piece in pieces {
        bytes.extend_from_slice(&piece.bytes);
        count += 1;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let unknown = text.chars().position(|character| character == char::REPLACEMENT_CHARACTER);
        if unknown.is_none_or(|index| whole.get(offset + index) == Some(&char::REPLACEMENT_CHARACTER)) {
            offset += text.chars().count();
            runs.push((text, count));
            bytes.clear();
            count = 0;
        }
    }
    runs
}

/// Shortens words that hold the pause between two sentences.
fn cut_pauses(words: &mut [AlignedWord]) {
    let length = |word: &AlignedWord| word.end_ms.saturating_sub(word.start_ms);
    let mut lengths: Vec<u32> = words.iter().map(length).filter(|length| *length > 0).collect();
    if lengths.is_empty() {
        return;
    }
    lengths.sort_unstable();
    let middle = lengths.len() / 2;
    let twice = if lengths.len() % 2 == 1 { 2 * lengths[middle] } else { lengths[middle - 1] + lengths[middle] };
    let longest = twice.min(2 * LONGEST_MEDIAN_MS);
    for index in 1..words.len() {
        if length(&words[index]) <= longest {
            continue;
        }
        if SENTENCE_ENDS.contains(words[index].text.as_str()) {
            words[index].end_ms = words[index].start_ms + longest;
        } else if SENTENCE_ENDS.contains(words[index - 1].text.as_str()) {
            words[index].start_ms = words[index].end_ms - longest;
        }
    }
}

/// Moves the text of lone punctuation to its word; the emptied words stay in the list. What counts as punctuation is
/// whatever is found in the lists above, several characters in a row included, as in the reference.
fn join_punctuation(words: &mut [AlignedWord]) {
    let mut following = words.len().saturating_sub(1);
    for previous in (0..following).rev() {
        let text = &words[previous].text;
        if text.starts_with(' ') && PREPENDED.contains(text.trim()) {
            let joined = std::mem::take(&mut words[previous].text) + &words[following].text;
            words[following].text = joined;
            words[following].attended_ms = words[following].attended_ms.max(words[previous].attended_ms);
        } else {
            following = previous;
        }
    }
    let mut previous = 0;
    for following in 1..words.len() {
        if !words[previous].text.ends_with(' ') && APPENDED.contains(words[following].text.as_str()) {
            let joined = std::mem::take(&mut words[following].text);
            words[previous].text.push_str(&joined);
            words[previous].attended_ms = words[previous].attended_ms.max(words[following].attended_ms);
            words[previous].end_token = words[following].end_token;
        } else {
            previous = following;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_byte_alphabet_is_that_of_the_tokenizers() {
        assert_eq!(token_bytes("Ġquick").as_deref(), Some(&b" quick"[..]));
        assert_eq!(token_bytes("Ã©Ċ").as_deref(), Some("é\n".as_bytes()));
        assert_eq!(token_bytes("a b"), None);
        assert_eq!(token_bytes("日"), None);
        let bytes: BTreeSet<Vec<u8>> =
            ByteLevel::alphabet().into_iter().filter_map(|c| token_bytes(&c.to_string())).collect();
        assert_eq!(bytes.len(), 256);
    }

    #[test]
    fn missing_times_make_no_words_out_of_order() {
        let piece = |text: &str| TokenText { bytes: text.into(), probability: 0.5, attended: 4 };
        let found = words(&[piece(" a"), piece(" b"), piece(" c")], &[0, 10], "en");
        let times: Vec<_> = found.iter().map(|word| (word.start_ms, word.end_ms)).collect();
        assert_eq!(times, [(0, 200), (200, 200), (200, 200)]);
        assert!(words(&[], &[], "en").is_empty());
    }

    #[test]
    fn a_word_looks_where_the_latest_of_its_tokens_does_and_punctuation_counts() {
        let piece = |(text, attended): (&str, u32)| TokenText { bytes: text.into(), probability: 0.5, attended };
        let pieces = [(" \u{201c}", 9), ("On", 2), (" time", 30), ("ly", 20), (".", 49), (" So", 10)].map(piece);
        let found = words(&pieces, &[0, 1, 2, 3, 4, 5, 6], "en");
        let told: Vec<_> = found.iter().map(|word| (word.text.as_str(), word.attended_ms, word.end_token)).collect();
        assert_eq!(told, [(" \u{201c}On", 200, 2), (" timely.", 1000, 5), (" So", 220, 6)]);
    }
}
