//! Which words of a translation become committed. Pure.

use shared::{
    agreement::{Agreed, agree, append, at_most, join, normalise, words},
    jobs::TranslationState,
};

/// Words at the end of a partial translation that are never committed: the next words of the source often reorder
/// them.
const HOLD_BACK: usize = 2;

/// The translation of a caption that is still growing. `continuation` is what the model says after
/// `state.committed`.
///
/// Words are committed when two successive translations agree on them, and never a larger share of the translation
/// than the committed source is of the whole source: what derives from the unstable rest must not be fixed before it.
pub(crate) fn partial(
    state: &TranslationState,
    source_committed: &str,
    source_tail: &str,
    continuation: &str,
) -> Agreed {
    let agreed = agree(&state.committed, &state.tail, continuation, HOLD_BACK);
    let source = words(&join(source_committed, source_tail)).max(1);
    let target = words(&append(&state.committed, continuation));
    let share = target * words(source_committed) / source;
    at_most(agreed, &state.committed, share.saturating_sub(words(&state.committed)))
}

/// The translation of a whole utterance: all of it is committed.
pub(crate) fn last(state: &TranslationState, continuation: &str) -> Agreed {
    Agreed { committed: append(&state.committed, continuation), tail: String::new() }
}

/// The "translation" into the language spoken: the caption itself.
pub(crate) fn copy(committed: &str, tail: &str) -> Agreed {
    Agreed { committed: committed.to_owned(), tail: normalise(tail) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::ids::Revision;

    use super::*;

    fn state(committed: &str, tail: &str) -> TranslationState {
        let (committed, tail) = (committed.to_owned(), tail.to_owned());
        TranslationState { revision: Revision(1), committed, tail, ..TranslationState::default() }
    }

    #[test]
    fn nothing_is_committed_before_the_source_is() {
        let agreed = partial(&state("", "la casa es verde"), "", "the house is green", " la casa es verde");
        assert_eq!((agreed.committed.as_str(), agreed.tail.as_str()), ("", "la casa es verde"));
    }

    #[test]
    fn as_much_is_committed_as_of_the_source_but_not_the_last_two_words() {
        let before = state("", "la casa es verde");
        let agreed = partial(&before, "the house", "is green", " la casa es verde y");
        assert_eq!((agreed.committed.as_str(), agreed.tail.as_str()), ("la casa", "es verde y"));
        let agreed = partial(&before, "the house is green", "", " la casa es verde");
        assert_eq!((agreed.committed.as_str(), agreed.tail.as_str()), ("la casa", "es verde"));
    }

    proptest! {
        #[test]
        fn committed_text_is_append_only_whatever_the_model_says(
            steps in prop::collection::vec(("[a-c]( [a-c]{1,2}){0,4}", "( [a-c]{1,2}[,.]?){0,6}"), 1..12),
        ) {
            let mut state = TranslationState::default();
            for (source, continuation) in &steps {
                let text = partial(&state, source, "x", continuation);
                prop_assert!(text.committed.starts_with(&state.committed));
                let revision = state.revision.next();
                state = TranslationState { revision, committed: text.committed, tail: text.tail, ..state };
            }
            let text = last(&state, &steps[0].1);
            prop_assert!(text.committed.starts_with(&state.committed) && text.tail.is_empty());
        }
    }
}
