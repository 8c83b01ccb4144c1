//! What must not happen: committed text reworded, words where nobody speaks, finals that do not come, loops.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::{
    agreement::without_loop,
    ids::UtteranceId,
    language::Language,
    wire::{ServerMessage, Translation},
};

use super::{
    corpus::Reference,
    erasure::appeared,
    view::{Arrival, Views},
};

/// Faults counted, of one session or of many added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Faults {
    /// Events whose committed text does not go on from what was committed before, finals included. Goal: 0, always.
    pub(super) reworded: usize,
    /// Utterances opened.
    pub(super) utterances: usize,
    /// Finals or gaps that did not come, captions and each target counted: one is owed for each utterance.
    pub(super) finals_missing: usize,
    /// Finals that came more than once.
    pub(super) finals_repeated: usize,
    /// Gaps.
    pub(super) gaps: usize,
    /// `lag` events that told of a delay.
    pub(super) lags: usize,
    /// The worst of those delays, milliseconds.
    pub(super) worst_lag_ms: u64,
    /// Finals that end in a phrase said three times or more.
    pub(super) loops: usize,
    /// Utterances of the gateway in which nobody speaks, and words that were shown in them, those in tails included.
    pub(super) invented_utterances: usize,
    /// See above.
    pub(super) invented_words: usize,
    /// Sentences of the reference of which no word was shown right.
    pub(super) sentences_missed: usize,
    /// Sessions that broke.
    pub(super) broken_sessions: usize,
}

impl Faults {
    /// Adds others.
    pub(super) fn add(&mut self, other: &Self) {
        self.reworded += other.reworded;
        self.utterances += other.utterances;
        self.finals_missing += other.finals_missing;
        self.finals_repeated += other.finals_repeated;
        self.gaps += other.gaps;
        self.lags += other.lags;
        self.worst_lag_ms = self.worst_lag_ms.max(other.worst_lag_ms);
        self.loops += other.loops;
        self.invented_utterances += other.invented_utterances;
        self.invented_words += other.invented_words;
        self.sentences_missed += other.sentences_missed;
        self.broken_sessions += other.broken_sessions;
    }
}

/// The text an event is about: utterance and, of a translation, target.
type Lane = (UtteranceId, Option<Language>);

/// Faults that show in the events alone.
pub(super) fn of_events(arrivals: &[Arrival], targets: &[Language]) -> Faults {
    let mut faults = Faults::default();
    let mut committed: BTreeMap<Lane, String> = BTreeMap::new();
    let mut settled: BTreeMap<Lane, usize> = BTreeMap::new();
    let mut opened: Vec<UtteranceId> = Vec::new();
    for Arrival { event, .. } in arrivals {
        let (lane, text, is_final) = match &event.message {
            ServerMessage::Caption(caption) => ((caption.utterance, None), &caption.committed, caption.is_final),
            ServerMessage::Translation(Translation { utterance, target, committed, is_final, .. }) => {
                ((*utterance, Some(target.clone())), committed, *is_final)
            }
            other => {
                note(other, targets, &mut faults, &mut settled, &mut opened);
                continue;
            }
        };
        let before = committed.entry(lane.clone()).or_default();
        if !text.starts_with(before.as_str()) {
            faults.reworded += 1;
        }
        before.clone_from(text);
        if is_final {
            *settled.entry(lane).or_default() += 1;
            faults.loops += usize::from(without_loop(text).is_some());
        }
    }
    faults.utterances = opened.len();
    for utterance in opened {
        for target in std::iter::once(None).chain(targets.iter().cloned().map(Some)) {
            match settled.get(&(utterance, target)) {
                None => faults.finals_missing += 1,
                Some(times) => faults.finals_repeated += times - 1,
            }
        }
    }
    faults
}

fn note(
    message: &ServerMessage,
    targets: &[Language],
    faults: &mut Faults,
    settled: &mut BTreeMap<Lane, usize>,
    opened: &mut Vec<UtteranceId>,
) {
    match message {
        ServerMessage::SpeechStarted { utterance, .. } => opened.push(*utterance),
        ServerMessage::Gap { utterance, target, .. } => {
            faults.gaps += 1;
            let Some(utterance) = *utterance else { return };
            *settled.entry((utterance, target.clone())).or_default() += 1;
            // Without a caption there is no translation: one gap tells of all.
            if target.is_none() {
                for target in targets {
                    settled.entry((utterance, Some(target.clone()))).or_insert(1);
                }
            }
        }
        ServerMessage::Lag { behind_ms, .. } if *behind_ms > 0 => {
            faults.lags += 1;
            faults.worst_lag_ms = faults.worst_lag_ms.max(*behind_ms);
        }
        _ => {}
    }
}

/// Utterances in which nobody speaks, and how many words were ever shown in them.
pub(super) fn invented(reference: &Reference, captions: &Views) -> (usize, usize) {
    let spoken = |start: u64, end: u64| reference.utterances.iter().any(|u| start < u.end_ms && u.start_ms < end);
    let invented = captions.values().filter(|view| !spoken(view.start_ms, view.end_ms.max(view.start_ms + 1)));
    let mut found = (0, 0);
    for view in invented {
        let texts = view.texts();
        found = (found.0 + 1, found.1 + appeared(texts.iter().map(String::as_str)));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::stream::{
        corpus::tests::{reference, spoken},
        view::{
            captions,
            tests::{arrival, caption, translation},
        },
    };

    fn es() -> Vec<Language> {
        vec!["es".parse().unwrap()]
    }

    fn started(utterance: u32) -> Arrival {
        arrival(1, json!({"type": "speech_started", "utterance": utterance, "start_ms": 0}))
    }

    #[test]
    fn committed_text_that_does_not_go_on_is_counted() {
        let good = [
            started(1),
            caption(2, 1, 1, ("a", " b"), false),
            caption(3, 2, 1, ("a c", ""), true),
            translation(4, 2, ("x", ""), true),
        ];
        let faults = of_events(&good, &es());
        assert_eq!((faults.reworded, faults.finals_missing, faults.finals_repeated), (0, 0, 0));
        let reworded = [
            caption(2, 1, 1, ("a b", ""), false),
            caption(3, 2, 1, ("a", ""), false),
            caption(4, 3, 1, ("A b", ""), true),
        ];
        assert_eq!(of_events(&reworded, &es()).reworded, 2);
        let reworded = [translation(2, 1, ("a", ""), false), translation(3, 2, ("b", ""), true)];
        assert_eq!(of_events(&reworded, &es()).reworded, 1);
    }

    #[test]
    fn each_utterance_owes_one_final_or_gap_a_lane() {
        let gap = |target: serde_json::Value| {
            arrival(
                5,
                json!({"type": "gap", "utterance": 1, "target": target, "from_ms": 0, "to_ms": 9, "reason": "failed"}),
            )
        };
        assert_eq!(of_events(&[started(1)], &es()).finals_missing, 2);
        assert_eq!(of_events(&[started(1), gap(json!(null))], &es()).finals_missing, 0);
        let answered = [started(1), caption(2, 1, 1, ("a", ""), true), gap(json!("es"))];
        let faults = of_events(&answered, &es());
        assert_eq!((faults.finals_missing, faults.gaps, faults.utterances), (0, 1, 1));
        let twice = [started(1), caption(2, 1, 1, ("a", ""), true), caption(3, 2, 1, ("a", ""), true)];
        assert_eq!(of_events(&twice, &[]).finals_repeated, 1);
    }

    #[test]
    fn loops_and_lags_are_counted() {
        let lag = |behind: u64| arrival(5, json!({"type": "lag", "behind_ms": behind, "update_interval_ms": 450}));
        let arrivals = [caption(2, 1, 1, ("go on go on go on", ""), true), lag(1500), lag(900), lag(0)];
        let faults = of_events(&arrivals, &[]);
        assert_eq!((faults.loops, faults.lags, faults.worst_lag_ms), (1, 2, 1500));
    }

    #[test]
    fn words_where_nobody_speaks_are_invented_even_in_a_tail() {
        let views = captions(&[caption(900, 1, 700, ("", "thank you"), false), caption(1400, 2, 800, ("", ""), true)]);
        assert_eq!(invented(&reference(Vec::new(), 2000), &views), (1, 2));
        assert_eq!(invented(&reference(vec![spoken("hm", "", 500, 700)], 2000), &views), (0, 0));
        assert_eq!(invented(&reference(vec![spoken("hm", "", 1500, 1700)], 2000), &views), (1, 2));
    }
}
