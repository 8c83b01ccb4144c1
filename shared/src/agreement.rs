//! Which words of a hypothesis may become committed text: LocalAgreement-2, and its small change.
//!
//! Pure: text in, text out. A *piece* is what can be committed at once: a word with its punctuation or, in a script
//! written without spaces, one character. Whatever comes in, text that was committed stays the start of what comes
//! out.

/// Text split between what stays and what may still change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Committed text, old and new.
    pub committed: String,
    /// The unstable rest, single-spaced and trimmed.
    pub tail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece<'a> {
    text: &'a str,
    /// Whether white space stood before it.
    spaced: bool,
}

impl Piece<'_> {
    /// Two for a word, one for a character of a script without spaces: two characters make about one word there.
    fn weight(self) -> usize {
        if self.text.chars().next().is_some_and(without_spaces) { 1 } else { 2 }
    }
}

/// Commits, after `committed`, the pieces on which `previous_tail` and `continuation` (two successive hypotheses for
/// what follows; the newer as the model wrote it, see [`append`]) agree to the letter, but never the last `hold_back` words of `continuation`.
#[must_use]
pub fn agree(committed: &str, previous_tail: &str, continuation: &str, hold_back: usize) -> Agreed {
    let (before, now) = (pieces(previous_tail), pieces(continuation));
    let same = before.iter().zip(&now).take_while(|(a, b)| a.text == b.text).count();
    split_at(committed, &now, same.min(committable(&now, hold_back)))
}

/// Commits the first `words` words of `continuation` at most; for a caller that knows a bound of its own.
#[must_use]
pub fn at_most(agreed: Agreed, committed: &str, words: usize) -> Agreed {
    let Some(new) = agreed.committed.strip_prefix(committed) else { return agreed };
    let new_pieces = pieces(new);
    let mut budget = words * 2;
    let kept = new_pieces
        .iter()
        .take_while(|piece| {
            let fits = piece.weight() <= budget;
            budget = budget.saturating_sub(piece.weight());
            fits
        })
        .count();
    if kept == new_pieces.len() {
        return agreed;
    }
    let mut rest = split_at(committed, &new_pieces, kept);
    rest.tail = join(&rest.tail, &agreed.tail);
    rest
}

/// Splits `tail`, the end of `continuation`, into what is steady enough to be shown and what is not yet: shown are the
/// words that `previous_tail` (the hypothesis before) has as well, and one more word unless it is the last, which is
/// often cut off in the middle. (Arivazhagan et al. 2020, "Re-translation versus Streaming for Simultaneous Translation",
/// section 2.3, hide a fixed number of words; here a word that was found twice is not held back.)
#[must_use]
pub fn steady(previous_tail: &str, continuation: &str, tail: &str) -> (String, String) {
    let (before, now, tail) = (pieces(previous_tail), pieces(continuation), pieces(tail));
    let same = before.iter().zip(&now).take_while(|(a, b)| a.text == b.text).count();
    let more = (same + 1).min(now.len().saturating_sub(1));
    let hidden = now.len() - same.max(more);
    let (shown, hidden) = tail.split_at(tail.len().saturating_sub(hidden));
    (render(shown).trim_start().to_owned(), render(hidden).trim_start().to_owned())
}

/// Where a sentence ends in what is new in `agreed.committed`, commits no more than up to there (the last such end); the
/// rest goes back into the tail. For an utterance that is to be split, best between sentences.
#[must_use]
pub fn through_sentence(agreed: Agreed, committed: &str) -> Agreed {
    let Some(new) = agreed.committed.strip_prefix(committed) else { return agreed };
    let new_pieces = pieces(new);
    let Some(last) = new_pieces.iter().rposition(|piece| ends_sentence(piece.text)) else { return agreed };
    if last + 1 == new_pieces.len() {
        return agreed;
    }
    let mut through = split_at(committed, &new_pieces, last + 1);
    through.tail = join(&through.tail, &agreed.tail);
    through
}

/// Whether `text` ends where a sentence does: in a full stop, question or exclamation mark of any script, quotes and
/// brackets behind it aside. A full stop behind a letter, a number, or a capital and two letters at most (`J.`, `3.`,
/// `Mr.`) may be none: then the answer is no, for a sentence that is not split is no harm.
#[must_use]
pub fn ends_sentence(text: &str) -> bool {
    let closing = |c: char| matches!(c, '"' | '\'' | '”' | '’' | '»' | ')' | ']' | '」' | '』') || c.is_whitespace();
    let text = text.trim_end_matches(closing);
    if let Some(before) = text.strip_suffix('.') {
        let word = before.rsplit(char::is_whitespace).next().unwrap_or(before);
        let short = word.chars().count() <= 3 && word.starts_with(char::is_uppercase);
        let number = word.chars().all(char::is_numeric);
        let one = word.chars().count() < 2;
        return !(short || number || one || word.contains('.')) || before.ends_with('.');
    }
    text.ends_with(['!', '?', '…', '。', '！', '？', '।', '؟', '۔', '։', '።', '။', '។'])
}

/// `committed` and a model's `continuation` of it as one text: a leading space says that a new word begins.
#[must_use]
pub fn append(committed: &str, continuation: &str) -> String {
    let new_word = continuation.starts_with(char::is_whitespace);
    let rest = normalise(continuation);
    let between_characters = committed.ends_with(without_spaces) && rest.starts_with(without_spaces);
    let space = if new_word && !between_characters { " " } else { "" };
    put_together(committed, space, &rest)
}

/// `committed` and a `tail`, or two texts that were heard one after the other, as one. A space goes between them unless
/// the second opens with closing punctuation or the rest of a contraction, or one of them is written without spaces.
#[must_use]
pub fn join(committed: &str, tail: &str) -> String {
    let rest = normalise(tail);
    let space = if wants_space(committed, &rest) { " " } else { "" };
    put_together(committed, space, &rest)
}

/// What goes on the wire as the tail: `tail` with the space, if any, that belongs between it and `committed`, so that a
/// client puts the two together with nothing in between.
#[must_use]
pub fn following(committed: &str, tail: &str) -> String {
    join(committed, tail).split_off(committed.len())
}

fn put_together(committed: &str, space: &str, rest: &str) -> String {
    match (committed.is_empty(), rest.is_empty()) {
        (true, _) => rest.to_owned(),
        (false, true) => committed.to_owned(),
        (false, false) => format!("{committed}{space}{rest}"),
    }
}

/// `text` trimmed and with single spaces.
#[must_use]
pub fn normalise(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many words `text` has; a character of a script without spaces counts half.
#[must_use]
pub fn words(text: &str) -> usize {
    pieces(text).iter().map(|piece| piece.weight()).sum::<usize>().div_ceil(2)
}

/// What `full`, a text found without forcing `committed` as its start, says after it: the rest of `full` behind the
/// stretch that is nearest to `committed` by edit distance over words (case and punctuation aside). Made for [`append`].
#[must_use]
pub fn stitch(committed: &str, full: &str) -> String {
    let (said, heard) = (pieces(committed), pieces(full));
    let (said_folded, heard_folded): (Vec<_>, Vec<_>) =
        (said.iter().map(|p| fold(p.text)).collect(), heard.iter().map(|p| fold(p.text)).collect());
    // Row i of the edit-distance table: distance of the first i words of `said` to each prefix of `heard`.
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in said_folded.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in heard_folded.iter().enumerate() {
            let replaced = row[j] + usize::from(word != other);
            next.push(replaced.min(row[j + 1] + 1).min(next[j] + 1));
        }
        row = next;
    }
    let best = (0..row.len()).min_by_key(|&j| (row[j], j.abs_diff(said.len()))).unwrap_or(0);
    if best == 0 { format!(" {}", normalise(full)) } else { render(&heard[best..]) }
}

/// When `text` ends in a phrase said three times or more in a row (a model that fell into a loop): the text up to the
/// end of the first of them.
#[must_use]
pub fn without_loop(text: &str) -> Option<String> {
    const LONGEST: usize = 12;
    let all = pieces(text);
    let words: Vec<&str> = all.iter().map(|piece| piece.text).collect();
    for n in 1..=LONGEST.min(words.len() / 3) {
        let phrase = &words[words.len() - n..];
        let times = words.rchunks_exact(n).take_while(|chunk| *chunk == phrase).count();
        if times >= 3 {
            return Some(render(&all[..words.len() - n * (times - 1)]));
        }
    }
    None
}

fn split_at(committed: &str, pieces: &[Piece<'_>], at: usize) -> Agreed {
    let (new, rest) = pieces.split_at(at);
    Agreed { committed: append(committed, &render(new)), tail: render(rest).trim_start().to_owned() }
}

/// How many of `pieces` lie before the last `hold_back` words.
fn committable(pieces: &[Piece<'_>], hold_back: usize) -> usize {
    let mut budget = hold_back * 2;
    let held = pieces
        .iter()
        .rev()
        .take_while(|piece| {
            let held = budget > 0;
            budget = budget.saturating_sub(piece.weight());
            held
        })
        .count();
    pieces.len() - held
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found: Vec<Piece<'_>> = Vec::new();
    let (mut start, mut spaced) = (None, false);
    let mut after_character = false;
    for (at, c) in text.char_indices() {
        let alone = without_spaces(c);
        if let Some(from) = start
            && (c.is_whitespace() || (alone || after_character) && !attaches(c))
        {
            found.push(Piece { text: &text[from..at], spaced });
            (start, spaced) = (None, false);
        }
        if c.is_whitespace() {
            spaced = true;
        } else if start.is_none() {
            start = Some(at);
            after_character = alone;
        }
    }
    if let Some(from) = start {
        found.push(Piece { text: &text[from..], spaced });
    }
    found
}

fn render(pieces: &[Piece<'_>]) -> String {
    let mut text = String::new();
    for piece in pieces {
        if piece.spaced {
            text.push(' ');
        }
        text.push_str(piece.text);
    }
    text
}

fn fold(word: &str) -> String {
    let letters: String = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if letters.is_empty() { word.to_owned() } else { letters }
}

fn wants_space(left: &str, right: &str) -> bool {
    let (Some(end), Some(first)) = (left.chars().next_back(), right.chars().next()) else { return false };
    let contraction = matches!(first, '\'' | '’' | '-') && right.chars().nth(1).is_some_and(char::is_alphanumeric);
    let closing = matches!(first, '.' | ',' | '!' | '?' | ';' | ':' | '…' | ')' | ']' | '}' | '%' | '»' | '”');
    !(contraction || closing || without_spaces(first) || without_spaces(end))
}

/// Whether `c` belongs to a script written without spaces between words (Han, Kana, Thai, Lao, Khmer, Myanmar), its
/// punctuation included.
#[must_use]
pub fn without_spaces(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3000..=0x30FF | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0xFF00..=0xFFEF | 0x20000..=0x2FA1F)
}

/// Whether `c` is a mark that cannot stand without the character before it.
fn attaches(c: char) -> bool {
    matches!(u32::from(c),
        0x0300..=0x036F | 0x0E31 | 0x0E34..=0x0E3A | 0x0E47..=0x0E4E | 0x0EB1 | 0x0EB4..=0x0EBC | 0x0EC8..=0x0ECE
        | 0x102B..=0x103E | 0x17B4..=0x17D3 | 0x3099 | 0x309A)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agreed(committed: &str, tail: &str) -> Agreed {
        Agreed { committed: committed.to_owned(), tail: tail.to_owned() }
    }

    #[test]
    fn what_two_hypotheses_share_is_committed_without_the_last_word() {
        assert_eq!(agree("", "", "the cat", 1), agreed("", "the cat"));
        assert_eq!(agree("", "the cat", " the cat sat", 1), agreed("the cat", "sat"));
        assert_eq!(agree("the", "cat sat on", " cat sat on", 1), agreed("the cat sat", "on"));
        assert_eq!(agree("the", "cat sat on", " dog sat on", 1), agreed("the", "dog sat on"));
        assert_eq!(agree("play", "ing on", "ing on", 1), agreed("playing", "on"));
    }

    #[test]
    fn a_difference_in_punctuation_or_case_stops_the_commit() {
        assert_eq!(agree("", "well, I am here", "well I am here now", 1), agreed("", "well I am here now"));
        assert_eq!(agree("", "so the end", "so The end of", 1), agreed("so", "The end of"));
    }

    #[test]
    fn scripts_without_spaces_are_compared_by_character() {
        assert_eq!(agree("今天", "天气很好", "天气很好我们", 1), agreed("今天天气很好", "我们"));
        assert_eq!(agree("", "สวัสดีครับ", "สวัสดีครับผม", 1), agreed("สวัสดีครับ", "ผม"));
        assert_eq!(words("今天天气"), 2);
    }

    #[test]
    fn joining_puts_a_space_only_where_one_belongs() {
        assert_eq!(join("Hello", "world"), "Hello world");
        assert_eq!(join("Hello", ", world"), "Hello, world");
        assert_eq!(join("it", "'s  late"), "it's late");
        assert_eq!(join("你好", "。"), "你好。");
        assert_eq!((join("", " a "), join("a", "  ")), ("a".to_owned(), "a".to_owned()));
        assert_eq!((append("play", "ing"), append("play", " on")), ("playing".to_owned(), "play on".to_owned()));
        assert_eq!((append("你好", " 吗"), append("", " a")), ("你好吗".to_owned(), "a".to_owned()));
    }

    #[test]
    fn a_tail_on_the_wire_carries_its_own_space() {
        assert_eq!(following("the tide", "comes in"), " comes in");
        assert_eq!(following("the tide", ", then"), ", then");
        assert_eq!(following("今天", "天气"), "天气");
        assert_eq!((following("", " a "), following("a", "")), ("a".to_owned(), String::new()));
    }

    #[test]
    fn a_bound_of_the_callers_own_moves_words_back_into_the_tail() {
        assert_eq!(at_most(agreed("a b c d", "e"), "a", 2), agreed("a b c", "d e"));
        assert_eq!(at_most(agreed("a b", "e"), "a", 2), agreed("a b", "e"));
        assert_eq!(at_most(agreed("a b", ""), "a", 0), agreed("a", "b"));
    }

    #[test]
    fn a_word_is_shown_when_it_was_found_twice_or_another_follows_it() {
        let shown = |before: &str, now: &str| steady(before, now, now.trim_start()).0;
        assert_eq!(shown("", " the"), "");
        assert_eq!(shown("the", " the"), "the");
        assert_eq!(shown("the", " the tide"), "the");
        assert_eq!(shown("the", " the tide comes in"), "the tide");
        assert_eq!(shown("the tied", " the tide comes in"), "the tide");
        assert_eq!(shown("a tied", " the tide comes in"), "the");
        assert_eq!(steady("the tide", " the tide comes in", "comes in"), ("comes".to_owned(), "in".to_owned()));
        assert_eq!(steady("the tide", " the tide", ""), (String::new(), String::new()));
        assert_eq!(steady("今天", "今天天气", "天气"), ("天".to_owned(), "气".to_owned()));
    }

    #[test]
    fn sentences_end_in_marks_of_any_script() {
        for whole in ["It is late.", "Really?\"", "今天天气很好。", "هل أنت هنا؟", "wait...", "वह आया।"]
        {
            assert!(ends_sentence(whole), "{whole}");
        }
        for open in ["It is", "J. R. R.", "the U.S.", "", "3.", "so,", "I spoke to Mr.", "at 10."] {
            assert!(!ends_sentence(open), "{open}");
        }
    }

    #[test]
    fn what_is_committed_can_stop_at_the_end_of_a_sentence() {
        assert_eq!(through_sentence(agreed("It is late. We go", "home"), "It"), agreed("It is late.", "We go home"));
        assert_eq!(through_sentence(agreed("It is late.", "We"), "It"), agreed("It is late.", "We"));
        assert_eq!(through_sentence(agreed("We go home", "now"), "We"), agreed("We go home", "now"));
        assert_eq!(through_sentence(agreed("Late. We go", "now"), "Late. We"), agreed("Late. We go", "now"));
    }

    #[test]
    fn stitching_finds_where_the_committed_text_ends() {
        assert_eq!(stitch("The cat sat", "the cat, sat on the mat"), " on the mat");
        assert_eq!(stitch("The big cat sat", "the cat sat on"), " on");
        assert_eq!(stitch("", "all of it"), " all of it");
        assert_eq!(stitch("more than was heard now", "more than"), "");
    }

    #[test]
    fn a_loop_is_cut_after_its_first_round() {
        assert_eq!(without_loop("so I said go on go on go on").as_deref(), Some("so I said go on"));
        assert_eq!(without_loop("very very good"), None);
        assert_eq!(without_loop(""), None);
    }

    /// Short texts over few words, so that agreement, repetition and odd spacing really occur.
    fn text() -> impl Strategy<Value = String> {
        let word =
            prop::sample::select(vec!["a", "b", "B", "c,", "it", "'s", "。", "好", "天", " ", ".", "", "e\u{301}"]);
        prop::collection::vec(word, 0..12).prop_map(|words| words.join(" ").replace("好 天", "好天"))
    }

    proptest! {
        #[test]
        fn committed_text_only_grows(committed in text(), tail in text(), new in text(), hold in 0..4_usize) {
            let result = agree(&committed, &tail, &new, hold);
            if !committed.is_empty() {
                prop_assert!(result.committed.starts_with(&committed));
            }
            let bounded = at_most(result.clone(), &committed, hold);
            prop_assert!(result.committed.starts_with(&bounded.committed));
            prop_assert!(bounded.committed.starts_with(&committed) || committed.is_empty());
        }

        #[test]
        fn no_piece_is_lost_or_invented(tail in text(), new in text(), hold in 0..4_usize) {
            let result = agree("", &tail, &new, hold);
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&result.committed) + &letters(&result.tail), letters(&new));
        }

        #[test]
        fn the_last_word_is_held_back(tail in text(), new in text()) {
            let result = agree("", &tail, &new, 1);
            prop_assert!(result.tail.is_empty() == normalise(&new).is_empty());
        }

        #[test]
        fn a_stitched_rest_is_an_end_of_the_full_text(committed in text(), full in text()) {
            let rest: String = stitch(&committed, &full).split_whitespace().collect();
            let whole: String = full.split_whitespace().collect();
            prop_assert!(whole.ends_with(&rest));
        }
    }
}
