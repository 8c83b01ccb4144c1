//! A session's terms as models are asked for them. Pure.

use inference::translation::Term;
use shared::wire::GlossaryTerm;

use crate::sentences::is_wide;

/// The terms of a session that have a translation.
#[derive(Debug, Default)]
pub(crate) struct Glossary(Vec<Term>);

impl Glossary {
    /// Those of `terms` that say how they are translated; the others are hints for recognition alone.
    pub(crate) fn new(terms: &[GlossaryTerm]) -> Self {
        let terms = terms.iter().filter_map(|term| {
            let (source, target) = (term.source.trim().to_owned(), term.target.as_deref()?.trim().to_owned());
            (!source.is_empty() && !target.is_empty()).then_some(Term { source, target })
        });
        Self(terms.collect())
    }

    /// For the model that translates `text` into the target language: the terms that stand in it.
    pub(crate) fn for_target(&self, text: &str) -> Vec<Term> {
        self.0.iter().filter(|term| stands_in(&term.source, text)).cloned().collect()
    }

    /// For a model that translates `text` into a language in between: the terms that stand in it are kept as they are,
    /// so that the next model finds them.
    pub(crate) fn kept(&self, text: &str) -> Vec<Term> {
        let kept = |term: Term| Term { target: term.source.clone(), ..term };
        self.for_target(text).into_iter().map(kept).collect()
    }
}

/// Whether `term` stands in `text` as whole words, whatever their case. In scripts without spaces there are no words
/// to tell apart, so there it may stand anywhere.
fn stands_in(term: &str, text: &str) -> bool {
    let (term, text) = (term.to_lowercase(), text.to_lowercase());
    let in_a_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && !is_wide(c));
    let (starts, ends) = (in_a_word(term.chars().next()), in_a_word(term.chars().next_back()));
    text.match_indices(&term).any(|(at, found)| {
        let before = in_a_word(text[..at].chars().next_back());
        let behind = in_a_word(text[at + found.len()..].chars().next());
        !(starts && before || ends && behind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glossary() -> Glossary {
        let term = |source: &str, target: Option<&str>| GlossaryTerm {
            source: source.to_owned(),
            target: target.map(str::to_owned),
        };
        Glossary::new(&[
            term("board", Some("junta")),
            term("Subtide", None),
            term(" ", Some("x")),
            term("C++", Some("C++")),
            term("会议", Some("junta")),
        ])
    }

    fn found(text: &str) -> Vec<String> {
        glossary().for_target(text).into_iter().map(|term| format!("{}={}", term.source, term.target)).collect()
    }

    #[test]
    fn terms_with_a_translation_are_found_as_whole_words() {
        assert_eq!(found("The Board, not Subtide."), ["board=junta"]);
        assert!(found("The boarding pass on the keyboard").is_empty());
        assert_eq!(found("Use C++."), ["C++=C++"]);
        assert_eq!(found("今天的会议很长"), ["会议=junta"]);
    }

    #[test]
    fn on_the_way_terms_are_kept_as_they_are() {
        let kept = glossary().kept("the board");
        assert_eq!(kept, [Term { source: "board".to_owned(), target: "board".to_owned() }]);
    }
}
