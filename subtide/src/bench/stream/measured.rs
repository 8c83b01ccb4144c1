//! All that is measured of a session; sessions are added up to groups, language pairs and totals.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::language::Language;

use super::{
    corpus::Reference,
    erasure::Erasure,
    faults::{self, Faults},
    figures::{Delay, Figures, delays_json},
    recognition::Recognition,
    translated::Translated,
    view::{self, Arrival},
    word_errors::WordErrors,
};

/// What was measured of one session, or of many added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Measured {
    /// Recordings played.
    pub(super) sessions: usize,
    /// How long they were.
    pub(super) audio_ms: u64,
    /// How long somebody spoke.
    pub(super) speech_ms: u64,
    /// How long nobody did.
    pub(super) quiet_ms: u64,
    /// Errors of the final captions.
    pub(super) errors: WordErrors,
    /// From the end of each word that is right until it was first shown.
    pub(super) first_shown: Vec<Delay>,
    /// Until it was committed.
    pub(super) committed: Vec<Delay>,
    /// From the last word of a sentence that a pause follows to its final caption, milliseconds.
    pub(super) finals: Vec<f64>,
    /// Text of captions taken back.
    pub(super) erasure: Erasure,
    /// Caption events.
    pub(super) updates: usize,
    /// What must not happen.
    pub(super) faults: Faults,
    /// By target.
    pub(super) translations: BTreeMap<Language, Translated>,
}

impl Measured {
    /// Measures one session: `arrivals` against `reference`. `silence_ms`: how long the gateway waits for an utterance to
    /// go on.
    pub(super) fn of(reference: &Reference, targets: &[Language], arrivals: &[Arrival], silence_ms: u64) -> Self {
        let captions = view::captions(arrivals);
        let recognition = Recognition::of(reference, &captions);
        let (first_shown, committed) = recognition.delays(&captions);
        let endings = recognition.endings(reference, silence_ms);
        let finals = endings
            .iter()
            .filter_map(|ending| Some(captions.get(&ending.utterance)?.last()?.at_ms as f64 - ending.end_ms as f64));
        let mut erasure = Erasure::default();
        for view in captions.values() {
            erasure.add(Erasure::of(view.texts().iter().map(String::as_str)));
        }
        let translated = |target: &Language| {
            let views = view::translations(arrivals, target);
            (target.clone(), Translated::of(reference, target, &views, &endings))
        };
        let speech_ms = reference.utterances.iter().map(|u| u.end_ms.saturating_sub(u.start_ms)).sum();
        let mut faults = faults::of_events(arrivals, targets);
        faults.sentences_missed = recognition.sentences_missed(reference);
        (faults.invented_utterances, faults.invented_words) = faults::invented(reference, &captions);
        Self {
            sessions: 1,
            audio_ms: reference.duration_ms,
            speech_ms,
            quiet_ms: reference.duration_ms.saturating_sub(speech_ms),
            errors: recognition.errors(),
            finals: finals.collect(),
            first_shown,
            committed,
            erasure,
            updates: captions.values().map(|view| view.shown.len()).sum(),
            faults,
            translations: targets.iter().map(translated).collect(),
        }
    }

    /// Adds another.
    pub(super) fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.audio_ms += other.audio_ms;
        self.speech_ms += other.speech_ms;
        self.quiet_ms += other.quiet_ms;
        self.errors.add(other.errors);
        self.first_shown.extend(&other.first_shown);
        self.committed.extend(&other.committed);
        self.finals.extend(&other.finals);
        self.erasure.add(other.erasure);
        self.updates += other.updates;
        self.faults.add(&other.faults);
        for (target, translated) in &other.translations {
            self.translations.entry(target.clone()).or_default().add(translated);
        }
    }

    /// Caption events by second of speech.
    pub(super) fn update_rate(&self) -> Option<f64> {
        (self.speech_ms > 0).then(|| self.updates as f64 * 1000.0 / self.speech_ms as f64)
    }

    /// Words shown by minute in which nobody speaks.
    pub(super) fn invented_a_minute(&self) -> Option<f64> {
        (self.quiet_ms > 0).then(|| self.faults.invented_words as f64 * 60_000.0 / self.quiet_ms as f64)
    }

    /// For machines.
    pub(super) fn json(&self, silence_ms: f64) -> Value {
        let errors = self.errors;
        let translations: BTreeMap<String, Value> = self
            .translations
            .iter()
            .map(|(target, translated)| (target.to_string(), translated.json(silence_ms)))
            .collect();
        json!({
            "sessions": self.sessions,
            "audio_ms": self.audio_ms,
            "speech_ms": self.speech_ms,
            "captions": {
                "wer": errors.rate(),
                "words": errors.reference,
                "replaced": errors.replaced,
                "missing": errors.missing,
                "added": errors.added,
                "word_to_first_shown": delays_json(&self.first_shown),
                "word_to_committed": delays_json(&self.committed),
                "end_to_final_ms": Figures::of(self.finals.iter().copied()).map(Figures::json),
                "end_to_final_beyond_silence_ms":
                    Figures::of(self.finals.iter().map(|ms| ms - silence_ms)).map(Figures::json),
                "normalised_erasure": self.erasure.normalised(),
                "words_erased": self.erasure.erased,
                "words_final": self.erasure.kept,
                "updates_a_second": self.update_rate(),
            },
            "translations": translations,
            "faults": self.faults,
            "invented_words_a_minute": self.invented_a_minute(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stream::{
        corpus::tests::{reference, spoken},
        view::tests::{caption, translation},
    };

    #[test]
    fn sessions_add_up() {
        let targets = ["es".parse().unwrap()];
        let reference = reference(vec![spoken("one two", "uno dos", 0, 1000)], 4000);
        let arrivals = [
            caption(1200, 1, 1100, ("one", " too"), false),
            caption(1900, 2, 1200, ("one two", ""), true),
            translation(2000, 2, ("uno dos", ""), true),
        ];
        let one = Measured::of(&reference, &targets, &arrivals, 600);
        let mut two = one.clone();
        two.add(&one);
        assert_eq!((one.sessions, one.quiet_ms, one.finals.as_slice()), (1, 3000, &[900.0][..]));
        assert_eq!((two.sessions, two.audio_ms, two.errors.reference, two.first_shown.len()), (2, 8000, 4, 4));
        let (one, two) = (one.json(600.0), two.json(600.0));
        assert_eq!(one["captions"]["end_to_final_beyond_silence_ms"]["p95"], 300.0);
        assert_eq!(one["captions"]["normalised_erasure"], 0.5);
        assert_eq!(one["captions"]["updates_a_second"], two["captions"]["updates_a_second"]);
        assert_eq!(two["translations"]["es"]["chrf"], 100.0);
    }
}
