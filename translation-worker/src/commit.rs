//! Which words of a translation become committed, and which are shown. Pure.
//!
//! The constants were chosen with `examples/erasure.rs`.

use shared::{
    agreement::{Agreed, agree, at_most, join, normalise, words},
    jobs::TranslationState,
};

/// Words at the end of a partial translation that are never committed: the next words of the source often reorder
/// them.
const HOLD_BACK: usize = 2;
/// The newest committed words of the source whose share of the translation is not committed yet: what follows them often
/// decides how they are translated. With one word of patience a final is almost always what its sentences are translated
/// to when they come as a whole.
const PATIENCE: usize = 1;
/// Words shown beyond those that two successive translations agree on (the last words, masked from display, of
/// Arivazhagan et al., "Re-translation versus Streaming for Simultaneous Translation", 2020, but as many as are in doubt
/// instead of a fixed number).
const AHEAD: usize = 1;
/// As many words at its end may the earlier translation have got wrong before none is shown [`AHEAD`]: a new word of the
/// source changes the last word of a translation as a matter of course.
const SLIP: usize = 1;

/// A translation that grew. Offsets are in bytes of `text`.
#[derive(Debug)]
pub(crate) struct Growth {
    /// The committed text before, and what follows it now.
    pub(crate) text: String,
    /// End of what is settled.
    pub(crate) settled: usize,
    /// End of the translation of the open piece.
    pub(crate) open_end: usize,
    /// Words of the open piece's source that are committed...
    pub(crate) open_committed: usize,
    /// ...of so many.
    pub(crate) open_words: usize,
}

/// The translation of a caption that is still growing, `state` being what there was of it before.
///
/// What is settled is committed. Of what follows, words are committed when two successive translations agree on them,
/// and never a larger share of the open piece's translation than is committed of its source: what derives from the
/// unstable rest must not be fixed before it.
pub(crate) fn partial(state: &TranslationState, growth: &Growth) -> Agreed {
    let fixed = growth.settled.max(state.committed.len());
    let (before, rest) = growth.text.split_at(fixed);
    let agreed = agree(&state.committed, &state.tail, &growth.text[state.committed.len()..], HOLD_BACK);
    if agreed.committed.len() <= fixed {
        return Agreed { committed: before.to_owned(), tail: normalise(rest) };
    }
    let open = growth.text.get(growth.settled..growth.open_end).map_or(0, words);
    let share = open * growth.open_committed.saturating_sub(PATIENCE) / growth.open_words.max(1);
    let already = words(&growth.text[growth.settled..fixed]);
    at_most(agreed, before, share.saturating_sub(already))
}

/// The translation of a whole utterance: all of it is committed.
pub(crate) fn last(growth: &Growth) -> Agreed {
    Agreed { committed: growth.text.clone(), tail: String::new() }
}

/// What of the tail of `agreed` is shown, `state` being what there was before: the words that stood in the translation
/// before, and [`AHEAD`] more where that one was right but for its end.
pub(crate) fn steady(state: &TranslationState, agreed: &Agreed) -> String {
    let before = join(&state.committed, &state.tail);
    let before = before.strip_prefix(agreed.committed.as_str()).unwrap_or_default();
    let same = agree("", before, &agreed.tail, 0).committed;
    if words(before) > words(&same) + SLIP {
        return same;
    }
    let all = Agreed { committed: agreed.tail.clone(), tail: String::new() };
    at_most(all, "", words(&same) + AHEAD).committed
}

/// The "translation" into the language spoken: the caption itself.
pub(crate) fn copy(committed: &str, tail: &str) -> Agreed {
    Agreed { committed: committed.to_owned(), tail: normalise(tail) }
}

#[cfg(test)]
mod tests {
    use shared::ids::Revision;

    use super::*;

    fn state(committed: &str, tail: &str) -> TranslationState {
        let (committed, tail) = (committed.to_owned(), tail.to_owned());
        TranslationState { revision: Revision(1), committed, tail, ..TranslationState::default() }
    }

    fn grown(text: &str, settled: usize, (open_committed, open_words): (usize, usize)) -> Growth {
        Growth { text: text.to_owned(), settled, open_end: text.len(), open_committed, open_words }
    }

    fn agreed(committed: &str, tail: &str) -> Agreed {
        Agreed { committed: committed.to_owned(), tail: tail.to_owned() }
    }

    #[test]
    fn nothing_is_committed_before_the_source_is() {
        let before = state("", "la casa es verde");
        let text = "la casa es verde";
        assert_eq!(partial(&before, &grown(text, 0, (0, 4))), agreed("", text));
        assert_eq!(partial(&before, &grown(text, 0, (1, 4))), agreed("", text), "nor with its newest word");
    }

    #[test]
    fn as_much_is_committed_as_of_the_source_but_not_the_last_two_words() {
        let before = state("", "la casa es verde");
        let growth = grown("la casa es verde y", 0, (3, 5));
        assert_eq!(partial(&before, &growth), agreed("la casa", "es verde y"));
        assert_eq!(partial(&before, &grown("la casa es verde", 0, (5, 5))), agreed("la casa", "es verde"));
    }

    #[test]
    fn what_is_settled_is_committed_whatever_was_thought_before() {
        let before = state("La casa", "era roja");
        let growth = grown("La casa es verde. Y", "La casa es verde.".len(), (1, 2));
        assert_eq!(partial(&before, &growth), agreed("La casa es verde.", "Y"));
    }

    #[test]
    fn words_are_shown_once_they_stood_twice_and_one_more_where_little_changed() {
        let shown = |before: &str, tail: &str| steady(&state("", before), &agreed("", tail));
        assert_eq!(shown("", "la casa"), "la");
        assert_eq!(shown("la casa", "la casa es verde"), "la casa es");
        assert_eq!(shown("la casa es", "la casa era verde"), "la casa era");
        assert_eq!(shown("la casa es verde", "la casa era roja y"), "la casa");
        assert_eq!(shown("房子", "房子是绿色的"), "房子是绿", "two characters make a word");
        let committed = agreed("la casa", "es verde");
        assert_eq!(steady(&state("la", "casa es roja"), &committed), "es verde");
        assert_eq!(steady(&state("la", "mesa era roja"), &committed), "es", "nothing of it is left to compare with");
    }
}
