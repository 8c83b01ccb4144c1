//! Texts longer than a model takes well, cut where a sentence ends. Pure.

use shared::agreement::{join, words};

/// Most words of one request. Translation models are trained on single sentences, mostly shorter than this, and lose
/// words at the end of longer ones.
pub(crate) const MAX_WORDS: usize = 60;

/// `text` whole when it has at most `max_words`, else in parts of at most so many: of whole sentences where possible,
/// of clauses or words where not.
pub(crate) fn split(text: &str, max_words: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for atom in atoms(text, max_words.max(1)) {
        match parts.last_mut() {
            Some(part) if words(part) + words(&atom) <= max_words => *part = join(part, &atom),
            _ => parts.push(atom),
        }
    }
    parts
}

/// The smallest units that are not too long: the text, or its sentences, or their clauses, or words.
fn atoms(text: &str, max_words: usize) -> Vec<String> {
    let sentence_end = |c: char| matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '।' | '؟');
    let clause_end = |c: char| matches!(c, ',' | ';' | ':' | '，' | '、' | '；' | '：');
    let mut atoms = vec![text.trim().to_owned()];
    for ends in [&sentence_end as &dyn Fn(char) -> bool, &clause_end, &|c: char| c.is_whitespace(), &|_| true] {
        atoms = atoms
            .into_iter()
            .flat_map(|atom| if words(&atom) > max_words { cut_after(&atom, ends) } else { vec![atom] })
            .collect();
    }
    atoms.retain(|atom| !atom.is_empty());
    atoms
}

/// Cuts `text` behind each character that `ends` a part and, in scripts with spaces, is followed by one; so `3.5` and
/// `e.g.` in mid-word stay whole.
fn cut_after(text: &str, ends: &dyn Fn(char) -> bool) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
        let wide = u32::from(c) >= 0x0E00;
        if ends(c) && (wide || c.is_whitespace() || chars.peek().is_none_or(|next| next.is_whitespace())) {
            parts.push(String::new());
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_texts_stay_whole_and_long_ones_are_cut_between_sentences() {
        assert_eq!(split("One two. Three four.", 60), ["One two. Three four."]);
        assert_eq!(split("It is 3.5 m. Yes! Go on", 4), ["It is 3.5 m.", "Yes! Go on"]);
        assert_eq!(split("one two, three four five", 3), ["one two,", "three four five"]);
        assert_eq!(split("今天天气很好。我们去公园。", 4), ["今天天气很好。", "我们去公园。"]);
        assert!(split("  ", 4).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_part_fits(text in "([a-c]{1,3}[.,]? |好|。){0,40}", max in 1..9_usize) {
            let parts = split(&text, max);
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&parts.concat()), letters(&text));
            // Two characters make a word, so rounding may add one.
            prop_assert!(parts.iter().all(|part| words(part) <= max + 1), "{:?}", parts);
        }
    }
}
