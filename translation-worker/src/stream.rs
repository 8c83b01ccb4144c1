//! Translation that grows with its caption: from a caption and what was translated before to what a model is asked, and
//! from its answers to what is committed and shown. Pure.
//!
//! The committed source is cut into pieces (sentences, or clauses of long ones). A piece that is whole and committed is
//! translated once for all: its translation is committed and *settled*, and no model sees it again. Only the *open*
//! piece, part of it committed, and what follows in the tail are translated again with each caption; so the work for
//! a caption does not grow with the utterance.

use shared::{
    agreement::{Agreed, append, join, stitch, words},
    jobs::{JobKind, TranslationJob, TranslationState},
};
use unicode_normalization::UnicodeNormalization;

use crate::{
    commit::{self, Growth},
    sentences::{is_wide, pieces},
};

/// In a state's `settled_source`: where its committed text ends in the source is not known.
const UNKNOWN: usize = usize::MAX;

/// One request to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Source text.
    pub(crate) text: String,
    /// What its translation begins with.
    pub(crate) prefix: String,
}

/// What is asked for one caption.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In the order of the text; they do not depend on each other.
    pub(crate) pieces: Vec<Piece>,
    /// How many of the pieces are whole and committed, so that their translation is settled.
    whole: usize,
    /// Where they end, in bytes of the committed source; or [`UNKNOWN`].
    settled_source: usize,
    /// How many words of the piece after them are committed...
    open_committed: usize,
    /// ...of so many.
    open_words: usize,
}

/// What becomes of a caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Translated {
    /// What the session reads.
    pub(crate) shown: Agreed,
    /// What the next job finds.
    pub(crate) state: TranslationState,
}

/// What to ask for the caption of `job` after `state`.
pub(crate) fn plan(job: &TranslationJob, state: &TranslationState) -> Plan {
    let Some((source, target)) = open_part(job, state) else { return unaligned(job) };
    let text = join(source, tail(job));
    let committed = source.trim_end().len();
    let is_final = job.kind == JobKind::Final;
    let mut plan = Plan {
        pieces: Vec::new(),
        whole: 0,
        settled_source: job.committed.len() - source.len(),
        open_committed: 0,
        open_words: 0,
    };
    let (mut end, mut prefix) = (0, target.trim());
    for piece in pieces(&text).into_iter().filter(|piece| !piece.trim().is_empty()) {
        let start = end;
        end += piece.len();
        if is_final || end <= committed && end < text.len() {
            plan.whole += 1;
            plan.settled_source = job.committed.len() - source.len() + end.min(source.len());
        } else if plan.pieces.len() == plan.whole {
            plan.open_words = words(piece);
            plan.open_committed = text.get(start..committed).map_or(0, words).min(plan.open_words);
        }
        plan.pieces.push(Piece { text: piece.trim().to_owned(), prefix: std::mem::take(&mut prefix).to_owned() });
    }
    plan
}

/// The tail without the full stop that models of speech put behind whatever they have heard so far. While the text grows
/// it is a guess, mostly wrong, and a translation that believes it is made up to an end.
fn tail(job: &TranslationJob) -> &str {
    match job.kind {
        JobKind::Partial => job.tail.trim_end().trim_end_matches(['.', '。']),
        JobKind::Final => &job.tail,
    }
}

/// The parts of committed source and target that are not settled; nothing where the state does not fit the job.
fn open_part<'a>(job: &'a TranslationJob, state: &'a TranslationState) -> Option<(&'a str, &'a str)> {
    let source = job.committed.get(state.settled_source..)?;
    let target = state.committed.get(state.settled..)?;
    let before = job.committed[..state.settled_source].chars().next_back();
    let behind_a_cut = |c: char| is_wide(c) || !c.is_alphanumeric();
    let at_a_cut = source.is_empty() || source.starts_with(char::is_whitespace);
    let at_a_cut = at_a_cut || before.is_none_or(behind_a_cut);
    at_a_cut.then_some((source, target))
}

/// For a committed source that is not the one the state speaks of (it only grows, so this is a fault elsewhere): all of
/// it is translated again, and the end of the committed translation is looked for in the new one.
fn unaligned(job: &TranslationJob) -> Plan {
    let text = join(&job.committed, tail(job));
    let texts = pieces(&text).into_iter().map(str::trim).filter(|piece| !piece.is_empty());
    let pieces: Vec<Piece> = texts.map(|text| Piece { text: text.to_owned(), prefix: String::new() }).collect();
    let (open_committed, open_words) = (words(&job.committed), words(&text));
    Plan { pieces, whole: 0, settled_source: UNKNOWN, open_committed, open_words }
}

/// The "translation" into the language spoken: the caption itself, all of whose committed text is settled.
pub(crate) fn copy(job: &TranslationJob) -> Translated {
    let shown = commit::copy(&job.committed, &job.tail);
    let (committed, tail, end) = (shown.committed.clone(), shown.tail.clone(), job.committed.len());
    let state = TranslationState { revision: job.revision, committed, tail, settled_source: end, settled: end };
    Translated { shown, state }
}

impl Plan {
    /// What the `answers` to [`Self::pieces`], in their order, make of `state`.
    pub(crate) fn conclude(&self, job: &TranslationJob, state: &TranslationState, answers: &[String]) -> Translated {
        let is_final = job.kind == JobKind::Final;
        let growth = self.growth(state, answers);
        let agreed = if is_final { commit::last(&growth) } else { commit::partial(state, &growth) };
        let shown = Agreed { tail: commit::steady(state, &agreed), committed: agreed.committed.clone() };
        let settled = if self.settled_source == UNKNOWN { 0 } else { growth.settled };
        let (revision, settled_source) = (job.revision, self.settled_source);
        let Agreed { committed, tail } = agreed;
        Translated { shown, state: TranslationState { revision, committed, tail, settled_source, settled } }
    }

    /// Each answer is normalised (NFC) by itself: a combining mark at its start that belongs to the text before stays as
    /// it is, because what is committed is never written anew.
    fn growth(&self, state: &TranslationState, answers: &[String]) -> Growth {
        let answers: Vec<String> = answers.iter().map(|answer| answer.nfc().collect()).collect();
        let (open_committed, open_words) = (self.open_committed, self.open_words);
        if self.settled_source == UNKNOWN {
            let all = answers.iter().fold(String::new(), |text, answer| join(&text, answer));
            let text = append(&state.committed, &stitch(&state.committed, &all));
            return Growth { settled: 0, open_end: text.len(), text, open_committed, open_words };
        }
        let mut text = state.committed.clone();
        let mut ends = Vec::new();
        for (piece, answer) in self.pieces.iter().zip(&answers) {
            text = if piece.prefix.is_empty() { join(&text, answer) } else { append(&text, answer) };
            ends.push(text.len());
        }
        let settled = self.whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(state.settled);
        let open_end = ends.get(self.whole).copied().unwrap_or(text.len());
        Growth { text, settled, open_end, open_committed, open_words }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::ids::{Revision, SessionId, UtteranceId};

    use super::*;

    fn job(committed: &str, tail: &str, kind: JobKind) -> TranslationJob {
        TranslationJob {
            session: SessionId::random(),
            utterance: UtteranceId(1),
            revision: Revision(1),
            kind,
            start_ms: 0,
            end_ms: 0,
            source: "en".parse().unwrap(),
            target: "es".parse().unwrap(),
            committed: committed.to_owned(),
            tail: tail.to_owned(),
            glossary: Vec::new(),
            trace_parent: String::new(),
        }
    }

    fn growing(committed: &str, tail: &str) -> TranslationJob {
        job(committed, tail, JobKind::Partial)
    }

    fn state(committed: &str, settled_source: usize, settled: usize) -> TranslationState {
        TranslationState { committed: committed.to_owned(), settled_source, settled, ..TranslationState::default() }
    }

    fn asked(plan: &Plan) -> Vec<(&str, &str)> {
        plan.pieces.iter().map(|piece| (piece.text.as_str(), piece.prefix.as_str())).collect()
    }

    fn conclude(job: &TranslationJob, state: &TranslationState, answers: &[&str]) -> Translated {
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        plan(job, state).conclude(job, state, &answers)
    }

    #[test]
    fn a_whole_committed_sentence_is_settled_once_more_follows() {
        let open = growing("It is late.", "");
        assert_eq!(
            (plan(&open, &state("", 0, 0)).whole, asked(&plan(&open, &state("Es", 0, 0)))),
            (0, vec![("It is late.", "Es")])
        );
        let job = growing("It is late.", "We go");
        let before = state("Es", 0, 0);
        assert_eq!(asked(&plan(&job, &before)), [("It is late.", "Es"), ("We go", "")]);
        let after = conclude(&job, &before, &[" tarde.", "Vamos ya"]);
        assert_eq!((after.shown.committed.as_str(), after.shown.tail.as_str()), ("Es tarde.", "Vamos"));
        assert_eq!((after.state.settled_source, after.state.settled), ("It is late.".len(), "Es tarde.".len()));
        assert_eq!(after.state.tail, "Vamos ya", "the next job compares with all of it");
        let next = growing("It is late. We", "go home");
        assert_eq!(asked(&plan(&next, &after.state)), [("We go home", "")]);
    }

    #[test]
    fn only_the_open_sentence_is_forced_to_go_on_from_what_is_committed() {
        let before = state("Es tarde. Nos vamos", "It is late.".len(), "Es tarde.".len());
        let job = growing("It is late. We go home", "now. It rains");
        assert_eq!(asked(&plan(&job, &before)), [("We go home now.", "Nos vamos"), ("It rains", "")]);
        let end = self::job("It is late. We go home. It rains.", "", JobKind::Final);
        let after = conclude(&end, &before, &[" a casa.", "Llueve."]);
        assert_eq!(
            (after.shown.committed.as_str(), after.shown.tail.as_str()),
            ("Es tarde. Nos vamos a casa. Llueve.", "")
        );
        assert_eq!(
            (after.state.settled_source, after.state.settled),
            (end.committed.len(), after.shown.committed.len())
        );
    }

    #[test]
    fn sentences_without_spaces_between_them_settle_too() {
        let job = growing("他说：“好。”", "我们走");
        let after = conclude(&job, &state("", 0, 0), &["Dijo «bien».", "Vamos"]);
        assert_eq!((after.shown.committed.as_str(), after.state.settled_source), ("Dijo «bien».", job.committed.len()));
        let next = growing("他说：“好。”我们走", "吧");
        assert_eq!(asked(&plan(&next, &after.state)), [("我们走吧", "")]);
    }

    #[test]
    fn a_stop_that_was_only_guessed_is_not_translated() {
        assert_eq!(asked(&plan(&growing("", "It is."), &state("", 0, 0))), [("It is", "")]);
        assert_eq!(asked(&plan(&growing("It is late.", ""), &state("", 0, 0))), [("It is late.", "")]);
        assert_eq!(asked(&plan(&job("It is.", "", JobKind::Final), &state("", 0, 0))), [("It is.", "")]);
    }

    #[test]
    fn a_final_with_nothing_new_asks_nothing() {
        let end = job("It is late.", "", JobKind::Final);
        let before = state("Es tarde.", end.committed.len(), "Es tarde.".len());
        assert!(plan(&end, &before).pieces.is_empty());
        assert_eq!(conclude(&end, &before, &[]).shown.committed, "Es tarde.");
    }

    #[test]
    fn a_source_that_is_not_the_one_remembered_is_translated_as_a_whole() {
        for before in [state("Es tarde.", 99, 9), state("Es tarde.", 4, 9), state("Es tarde.", 0, 99)] {
            let end = job("It is late. We go.", "", JobKind::Final);
            assert_eq!(asked(&plan(&end, &before)), [("It is late.", ""), ("We go.", "")]);
            let after = conclude(&end, &before, &["Es tarde.", "Vamos."]);
            assert_eq!(after.shown.committed, "Es tarde. Vamos.");
            assert_eq!(after.state.settled_source, UNKNOWN);
            let partial = growing("It is late. We", "go.");
            let later = conclude(&partial, &after.state, &["Es tarde.", "Vamos."]);
            assert_eq!(later.shown.committed, "Es tarde. Vamos.");
        }
    }

    #[test]
    fn new_text_is_composed_but_never_what_was_committed() {
        let end = job("coffee", "", JobKind::Final);
        assert_eq!(conclude(&end, &state("", 0, 0), &["cafe\u{301}"]).shown.committed, "caf\u{e9}");
        assert_eq!(conclude(&end, &state("cafe", 0, 0), &["\u{301} n\u{303}"]).shown.committed, "cafe\u{301} \u{f1}");
        assert_eq!(
            conclude(&end, &state("", 0, 0), &["قهوة، من فضلك"]).shown.committed,
            "قهوة، من فضلك",
            "in logical order"
        );
    }

    /// A model that says something for each word it is asked, and what it says of a word depends on the words around.
    fn answer(piece: &Piece, whim: usize) -> String {
        let forced = piece.prefix.split_whitespace().count();
        let words: Vec<&str> = piece.text.split_whitespace().collect();
        let said = words.iter().enumerate().skip(forced);
        said.map(|(at, word)| format!(" {word}{}", if (at + whim).is_multiple_of(3) { words.len() % 2 } else { 2 }))
            .collect()
    }

    proptest! {
        #[test]
        fn committed_text_is_append_only_and_no_request_grows_with_the_utterance(
            words in prop::collection::vec("[a-cA]{1,3}[.,]?", 1..150),
            lags in prop::collection::vec((1..4_usize, 0..4_usize, 0..9_usize), 200),
        ) {
            let (mut state, mut heard, mut kept) = (TranslationState::default(), 0, 0);
            for (more, lag, whim) in lags {
                heard = (heard + more).min(words.len());
                kept = heard.saturating_sub(lag).max(kept);
                let kind = if heard == words.len() && kept == heard { JobKind::Final } else { JobKind::Partial };
                let job = job(&words[..kept].join(" "), &words[kept..heard].join(" "), kind);
                let plan = plan(&job, &state);
                let asked: usize = plan.pieces.iter().map(|piece| piece.text.split_whitespace().count()).sum();
                prop_assert!(asked <= 60 + 4 * 4, "{} words were asked", asked);
                let answers: Vec<String> = plan.pieces.iter().map(|piece| answer(piece, whim)).collect();
                let next = plan.conclude(&job, &state, &answers);
                prop_assert!(next.shown.committed.starts_with(&state.committed));
                prop_assert!(next.state.settled_source >= state.settled_source && next.state.settled >= state.settled);
                prop_assert!(next.state.settled <= next.state.committed.len());
                state = next.state;
                if kind == JobKind::Final {
                    prop_assert_eq!(state.committed.split_whitespace().count(), words.len(), "nothing is said twice or left out");
                    break;
                }
            }
        }

        #[test]
        fn whatever_the_state_and_the_answers_committed_text_is_append_only(
            (committed, tail, source) in ("[a-cé]{0,9}( [a-c]{1,2}[.]?){0,4}", "([a-c] ?){0,5}", "[a-cé好]{0,4}([.]? [A-c]{1,2}){0,6}"),
            (settled_source, settled) in (0..20_usize, 0..20_usize),
            answers in prop::collection::vec("( ?[a-cé\u{301}]{1,2}[,.]?){0,6}", 12),
            is_final in any::<bool>(),
        ) {
            let job = job(&source, "x y", if is_final { JobKind::Final } else { JobKind::Partial });
            let before = TranslationState { tail, ..state(&committed, settled_source, settled) };
            let after = plan(&job, &before).conclude(&job, &before, &answers);
            prop_assert!(after.shown.committed.starts_with(&committed));
            prop_assert!(after.state.committed == after.shown.committed);
        }
    }
}
