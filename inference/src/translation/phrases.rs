//! Whole words of a text, and where phrases stand in it.

use std::ops::Range;

use super::Term;

/// Letters of scripts that put no spaces between words: each is a word of its own here. Thai and Lao, Burmese, Khmer,
/// kana, Han (Unicode blocks).
const SPACELESS: [(char, char); 6] = [
    ('\u{0e00}', '\u{0eff}'),
    ('\u{1000}', '\u{109f}'),
    ('\u{1780}', '\u{17ff}'),
    ('\u{3040}', '\u{30ff}'),
    ('\u{3400}', '\u{9fff}'),
    ('\u{20000}', '\u{3ffff}'),
];

/// Whether two letters side by side belong to one word.
fn one_word(a: char, b: char) -> bool {
    let lone = |letter: char| SPACELESS.iter().any(|(first, last)| (*first..=*last).contains(&letter));
    a.is_alphanumeric() && b.is_alphanumeric() && !lone(a) && !lone(b)
}

/// Whether a word may begin or end at a byte of the text.
pub(super) fn boundary(text: &str, at: usize) -> bool {
    let (before, after) = (text[..at].chars().next_back(), text[at..].chars().next());
    !before.zip(after).is_some_and(|(before, after)| one_word(before, after))
}

/// Byte ranges of the words: runs of letters and digits, without punctuation.
pub(super) fn words(text: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, letter) in text.char_indices().filter(|(_, letter)| letter.is_alphanumeric()) {
        let end = at + letter.len_utf8();
        match words.last_mut() {
            Some(word) if word.end == at && !boundary(text, at) => word.end = end,
            _ => words.push(at..end),
        }
    }
    words
}

/// Where the text that begins at a byte and reads like `phrase`, whatever the case, ends.
fn read(text: &str, at: usize, phrase: &str) -> Option<usize> {
    let mut wanted = phrase.chars().flat_map(char::to_lowercase).peekable();
    let mut end = at;
    for letter in text[at..].chars() {
        if wanted.peek().is_none() {
            break;
        }
        if !letter.to_lowercase().all(|letter| wanted.next() == Some(letter)) {
            return None;
        }
        end += letter.len_utf8();
    }
    (wanted.peek().is_none() && boundary(text, end)).then_some(end)
}

/// Byte ranges at which a phrase stands, as whole words, whatever the case.
pub(super) fn find(text: &str, phrase: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.char_indices().filter(|_| !phrase.is_empty()) {
        if found.last().is_none_or(|last| last.end <= at)
            && boundary(text, at)
            && let Some(end) = read(text, at, phrase)
        {
            found.push(at..end);
        }
    }
    found
}

/// Where terms stand in a source text, each with its index: from left to right, of those that overlap the longest.
pub(super) fn occurrences(text: &str, terms: &[Term]) -> Vec<(Range<usize>, usize)> {
    let usable = |term: &Term| !term.source.trim().is_empty() && !term.target.trim().is_empty();
    let mut order: Vec<usize> = (0..terms.len()).filter(|i| usable(&terms[*i])).collect();
    order.sort_by_key(|i| std::cmp::Reverse(terms[*i].source.trim().chars().count()));
    let mut found: Vec<(Range<usize>, usize)> = Vec::new();
    for i in order {
        let free = find(text, terms[i].source.trim()).into_iter();
        let free: Vec<_> = free.filter(|at| found.iter().all(|(taken, _)| !overlap(taken, at))).collect();
        found.extend(free.into_iter().map(|at| (at, i)));
    }
    found.sort_by_key(|(at, _)| at.start);
    found
}

/// Whether two words may be forms of one: half of the longer is the same, or both are as short as articles are.
pub(super) fn forms_of_one(a: &str, b: &str) -> bool {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let longer = a.chars().count().max(b.chars().count());
    longer <= 3 || 2 * same >= longer
}

/// Whether two ranges have anything in common.
pub(super) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_as_whole_words_in_any_case() {
        let texts =
            |text: &str, phrase: &str| find(text, phrase).into_iter().map(|at| text[at].to_owned()).collect::<Vec<_>>();
        assert_eq!(texts("Meet at the meeting, Meeting-room, meetings.", "meeting"), ["meeting", "Meeting"]);
        assert_eq!(texts("La REUNIÓN; reunión", "Reunión"), ["REUNIÓN", "reunión"]);
        assert_eq!(texts("Das ist İstanbul", "ist"), ["ist"]);
        assert_eq!(texts("我们明天开会", "开会"), ["开会"], "no spaces, no boundaries");
        assert!(find("a b", "").is_empty() && find("", "a").is_empty());
    }

    #[test]
    fn the_longest_of_overlapping_terms_counts() {
        let term = |source: &str| Term { source: source.to_owned(), target: "x".to_owned() };
        let terms = [term("meeting"), term("meeting room"), term("  "), term("room")];
        let text = "The meeting room, a room, a meeting.";
        let found: Vec<_> = occurrences(text, &terms).into_iter().map(|(at, i)| (text[at].to_owned(), i)).collect();
        let told = |text: &str, i| (text.to_owned(), i);
        assert_eq!(found, [told("meeting room", 1), told("room", 3), told("meeting", 0)]);
    }

    #[test]
    fn words_leave_punctuation_out() {
        let text = "¿Dónde está, el 3.º 会議?";
        let found: Vec<_> = words(text).into_iter().map(|at| text[at].to_owned()).collect();
        assert_eq!(found, ["Dónde", "está", "el", "3", "º", "会", "議"]);
    }
}
