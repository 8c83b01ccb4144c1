//! Where a text may be cut so that each piece can be translated by itself: behind sentences, and behind clauses where a
//! sentence is long. Pure.
//!
//! A text that grows at its end keeps its cuts: each depends only on what stands before it and on the first letter
//! behind it. So what was cut off once need not be looked at again.

use shared::agreement::words;
use unicode_normalization::char::is_combining_mark;

/// A sentence of more words is cut behind the first clause that ends after so many: longer ones are rare in what
/// translation models learn from, and each new word of an open sentence has all of it translated again.
pub(crate) const LONG: usize = 25;
/// Most words of one piece, where no clause ends either. Translation models lose words at the end of longer texts.
pub(crate) const MAX_WORDS: usize = 60;

/// Never the end of a sentence with the full stop behind them, which is an abbreviation's: titles, and what stands
/// before an example or a number.
const BEFORE_A_NAME: [&str; 40] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "mt", "rev", "hon", "gen", "col", "lt", "sgt", "capt", "gov", "sen", "rep",
    "messrs", "mme", "mlle", "sr", "sra", "srta", "dra", "ud", "uds", "hr", "sig", "vs", "cf", "ca", "approx", "no",
    "nr", "nos", "fig", "art", "vol", "pp", "núm",
];
/// The end of a sentence only where the next word begins with a capital letter.
const MAY_END: [&str; 15] =
    ["etc", "inc", "ltd", "co", "corp", "jr", "bros", "dept", "est", "usw", "bzw", "ecc", "a.m", "p.m", "resp"];

/// `text` in pieces to translate one by one; one after the other they are `text`.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    cut(text, sentence_cut).into_iter().flat_map(|sentence| cut(sentence, clause_cut)).collect()
}

fn cut(text: &str, next: impl Fn(&str) -> Option<usize>) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(at) = next(rest) {
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// Behind the first sentence of `text` and the marks that close it, when more follows.
fn sentence_cut(text: &str) -> Option<usize> {
    text.char_indices().filter(|(_, c)| ends_sentence(*c)).find_map(|(at, c)| {
        let behind = &text[at + c.len_utf8()..];
        let closed = behind.trim_start_matches(|c| ends_sentence(c) || closes(c));
        let next = closed.trim_start().chars().next()?;
        let apart = closed.starts_with(char::is_whitespace) || is_wide(c);
        (apart && (c != '.' || stop_ends_sentence(&text[..at], next))).then_some(text.len() - closed.len())
    })
}

/// Whether the full stop behind `before` ends a sentence, where the next word begins with `next`.
fn stop_ends_sentence(before: &str, next: char) -> bool {
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let length = word.chars().count();
    let initial = length == 1 && word.chars().all(char::is_alphabetic);
    let ordinal = length <= 2 && !word.is_empty() && word.chars().all(char::is_numeric);
    if MAY_END.contains(&word.as_str()) {
        return !next.is_lowercase();
    }
    // A stop within the word: `e.g.`, `U.S.`, `z.B.`
    let letters = word.contains('.') && !word.contains(char::is_numeric);
    !(initial || ordinal || letters || BEFORE_A_NAME.contains(&word.as_str()))
}

/// Behind the first clause that ends after [`LONG`] words, or else behind [`MAX_WORDS`] words, when more follows.
fn clause_cut(text: &str) -> Option<usize> {
    if words(text) <= LONG {
        return None;
    }
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let (end, next) = (at + c.len_utf8(), chars.peek()?.1);
        let apart = next.is_whitespace() || is_wide(c) && !is_combining_mark(next);
        if !apart || c.is_whitespace() || text[end..].trim_start().is_empty() {
            continue;
        }
        let so_far = words(&text[..end]);
        if so_far >= MAX_WORDS || so_far >= LONG && ends_clause(c) {
            return Some(end);
        }
    }
    None
}

fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '｡' | '．' | '।' | '॥' | '؟' | '۔' | '։' | '።' | '။' | '។')
}

fn ends_clause(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | '，' | '、' | '；' | '：' | '､' | '،' | '؛' | '—' | '–') || ends_sentence(c)
}

/// Quotation marks and brackets behind the end of a sentence.
fn closes(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | ')' | ']' | '」' | '』' | '）' | '】' | '》')
}

/// Whether `c` belongs to a script written without spaces, its punctuation included.
pub(crate) fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x109F | 0x1780..=0x17FF | 0x3000..=0x30FF | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xF900..=0xFAFF | 0xFF00..=0xFFEF | 0x20000..=0x2FA1F)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trimmed(text: &str) -> Vec<&str> {
        pieces(text).into_iter().map(str::trim).collect()
    }

    #[test]
    fn sentences_are_cut_where_more_follows() {
        assert_eq!(trimmed("One two. Three four."), ["One two.", "Three four."]);
        assert_eq!(
            trimmed("Yes! Go on, she said. \"Why?\" He left… then"),
            ["Yes!", "Go on, she said.", "\"Why?\"", "He left…", "then"]
        );
        assert_eq!(trimmed("“It is late.” We left"), ["“It is late.”", "We left"]);
        assert_eq!(trimmed("今天天气很好。我们去公园。"), ["今天天气很好。", "我们去公园。"]);
        assert_eq!(trimmed("他说：「好。」我们走。"), ["他说：「好。」", "我们走。"]);
        assert_eq!(trimmed("كيف حالك؟ أنا بخير"), ["كيف حالك؟", "أنا بخير"]);
        assert_eq!(trimmed("all lower case. as some models write"), ["all lower case.", "as some models write"]);
        assert_eq!(pieces(""), [""]);
    }

    #[test]
    fn abbreviations_numbers_and_initials_do_not_end_a_sentence() {
        for whole in [
            "It is 3.5 m and costs 1.000.000 pesos.",
            "Mr. Smith met Dr. J. Brown, e.g. In Paris.",
            "At 5 p.m. we left, etc. and so on.",
            "The U.S. Senate met on the 3. Mai at example.com today",
            "See No. 5 and Fig. A",
        ] {
            assert_eq!(pieces(whole), [whole]);
        }
        assert_eq!(trimmed("We left at 5 p.m. They stayed."), ["We left at 5 p.m.", "They stayed."]);
        assert_eq!(trimmed("That was in 2024. It rained."), ["That was in 2024.", "It rained."]);
    }

    #[test]
    fn a_long_sentence_is_cut_behind_a_clause_and_else_behind_the_most_words() {
        let clause = |words: usize| vec!["word"; words].join(" ");
        let text = format!("{}, {}, {}, and more", clause(5), clause(22), clause(3));
        assert_eq!(trimmed(&text), [format!("{}, {},", clause(5), clause(22)), format!("{}, and more", clause(3))]);
        let lengths: Vec<usize> = trimmed(&clause(130)).into_iter().map(words).collect();
        assert_eq!(lengths, [60, 60, 10]);
        assert_eq!(trimmed(&format!("{},", clause(30))).len(), 1, "nothing follows");
        assert!(pieces(&"好".repeat(300)).into_iter().all(|piece| words(piece) <= MAX_WORDS));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_piece_fits(text in "([a-cA]{1,3}[.,]? |好|。|e\u{301}){0,200}") {
            let parts = pieces(&text);
            prop_assert_eq!(&parts.concat(), &text);
            prop_assert!(parts.iter().all(|part| words(part) <= MAX_WORDS + 1), "{:?}", parts);
        }

        #[test]
        fn cuts_stay_where_they_are_when_the_text_grows(words in prop::collection::vec("[a-cA]{1,3}[.,]?", 1..90)) {
            let text = words.join(" ");
            let grown = format!("{text} Next");
            let (before, after) = (pieces(&text), pieces(&grown));
            prop_assert_eq!(&before[..before.len() - 1], &after[..before.len() - 1]);
        }
    }
}
