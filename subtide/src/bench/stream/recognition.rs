//! Captions beside what was said: which words are right, and how long after the voice each came.

use shared::ids::UtteranceId;

use super::{
    alignment::{Placed, Step, align},
    corpus::{Reference, TimedWord},
    figures::Delay,
    view::{Appearance, Views, final_words},
    word_errors::WordErrors,
};

/// A word that is right but lies so far outside the utterance it was heard in is another that only reads the same.
const LEEWAY_MS: u64 = 500;
/// A sentence ends an utterance of its own when the pause behind it is so much longer than the gateway's silence.
pub(super) const PAUSE_BEYOND_MS: u64 = 300;

/// The final captions of a session laid beside its recording's words.
#[derive(Debug)]
pub(super) struct Recognition {
    /// Words of the recording.
    pub(super) spoken: Vec<TimedWord>,
    /// The sentence each belongs to.
    pub(super) sentences: Vec<usize>,
    steps: Vec<Step>,
    heard: Vec<Placed>,
    origins: Vec<(UtteranceId, usize)>,
}

/// A sentence that is followed by a pause, and the utterance that its last word was heard in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    /// End of its last word, milliseconds since the start of the recording.
    pub(super) end_ms: u64,
    /// The utterance of the gateway.
    pub(super) utterance: UtteranceId,
}

impl Recognition {
    /// Lays the final texts of `captions` beside the words of `reference`.
    pub(super) fn of(reference: &Reference, captions: &Views) -> Self {
        let (mut spoken, mut sentences) = (Vec::new(), Vec::new());
        for (n, utterance) in reference.utterances.iter().enumerate() {
            spoken.extend(utterance.timed_words());
            sentences.resize(spoken.len(), n);
        }
        let (heard, origins) = final_words(captions);
        let steps = align(&placed(&spoken, &sentences), &heard);
        Self { spoken, sentences, steps, heard, origins }
    }

    /// Word errors.
    pub(super) fn errors(&self) -> WordErrors {
        WordErrors::of(&self.steps)
    }

    /// For each word that was recognised right: from its end until it was first shown, and until it was committed.
    pub(super) fn delays(&self, captions: &Views) -> (Vec<Delay>, Vec<Delay>) {
        let appearances: Vec<Appearance> = captions.values().flat_map(|view| view.appearances()).collect();
        let (mut shown, mut committed) = (Vec::new(), Vec::new());
        for step in &self.steps {
            let Step::Same(word, at) = *step else { continue };
            let (word, heard) = (&self.spoken[word], &self.heard[at]);
            if word.start_ms > heard.end_ms + LEEWAY_MS || heard.start_ms > word.end_ms + LEEWAY_MS {
                continue;
            }
            shown.extend(appearances[at].shown.map(|moment| moment.since(word.end_ms)));
            committed.extend(appearances[at].committed.map(|moment| moment.since(word.end_ms)));
        }
        (shown, committed)
    }

    /// The sentences that are followed by a pause, as far as anything of them was heard.
    pub(super) fn endings(&self, reference: &Reference, silence_ms: u64) -> Vec<Ending> {
        let mut last_heard = vec![None; reference.utterances.len()];
        for step in &self.steps {
            if let Step::Same(word, at) | Step::Replaced(word, at) = *step {
                last_heard[self.sentences[word]] = Some(self.origins[at].0);
            }
        }
        let paused = |n: usize| {
            let next = reference.utterances.get(n + 1);
            next.is_none_or(|next| next.start_ms >= reference.utterances[n].end_ms + silence_ms + PAUSE_BEYOND_MS)
        };
        let ending = |(n, utterance): (usize, Option<UtteranceId>)| {
            Some(Ending { end_ms: reference.utterances[n].end_ms, utterance: utterance? })
        };
        last_heard.into_iter().enumerate().filter(|(n, _)| paused(*n)).filter_map(ending).collect()
    }

    /// Sentences of which no word was recognised right.
    pub(super) fn sentences_missed(&self, reference: &Reference) -> usize {
        let mut missed = vec![true; reference.utterances.len()];
        for step in &self.steps {
            if let Step::Same(word, _) = *step {
                missed[self.sentences[word]] = false;
            }
        }
        missed.into_iter().filter(|missed| *missed).count()
    }
}

/// Words of a recording for an alignment.
pub(super) fn placed(spoken: &[TimedWord], sentences: &[usize]) -> Vec<Placed> {
    let one = |(word, sentence): (&TimedWord, &usize)| Placed {
        word: word.word.folded.clone(),
        start_ms: word.start_ms,
        end_ms: word.end_ms,
        utterance: *sentence,
    };
    spoken.iter().zip(sentences).map(one).collect()
}

impl Delay {
    /// From `end_ms` to this moment.
    pub(super) fn since(self, end_ms: u64) -> Self {
        Self { wall_ms: self.wall_ms - end_ms as f64, audio_ms: self.audio_ms - end_ms as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stream::{
        corpus::tests::{reference, spoken},
        view::{captions, tests::caption},
    };

    #[test]
    fn delays_count_from_the_end_of_each_word_that_is_right() {
        // "the" ends at 500 ms, "cat" at 1000 ms, "sat" at 1500 ms; "cat" is heard as "bat".
        let reference = reference(vec![spoken("The cat sat.", "", 0, 1500)], 4000);
        let captions = captions(&[
            caption(900, 1, 700, ("", "the"), false),
            caption(1800, 2, 1600, ("the", " bat sat"), false),
            caption(2600, 3, 1900, ("the bat sat", ""), true),
        ]);
        let recognition = Recognition::of(&reference, &captions);
        assert_eq!(recognition.errors(), WordErrors { reference: 3, replaced: 1, missing: 0, added: 0 });
        let (shown, committed) = recognition.delays(&captions);
        let delay = |wall_ms, audio_ms| Delay { wall_ms, audio_ms };
        assert_eq!(shown, [delay(400.0, 200.0), delay(300.0, 100.0)]);
        assert_eq!(committed, [delay(1300.0, 1100.0), delay(1100.0, 400.0)]);
        let ending = Ending { end_ms: 1500, utterance: UtteranceId(1) };
        assert_eq!(recognition.endings(&reference, 600), [ending]);
        assert_eq!(recognition.sentences_missed(&reference), 0);
    }

    #[test]
    fn only_sentences_before_a_pause_end() {
        let sentences = vec![spoken("one", "", 0, 500), spoken("two", "", 1300, 1500), spoken("three", "", 2500, 3000)];
        let reference = reference(sentences, 4000);
        let captions = captions(&[caption(4000, 1, 3500, ("one two four", ""), true)]);
        let recognition = Recognition::of(&reference, &captions);
        let ends: Vec<_> = recognition.endings(&reference, 600).iter().map(|ending| ending.end_ms).collect();
        assert_eq!(ends, [1500, 3000], "800 ms of pause are too short to be sure");
        assert_eq!(recognition.sentences_missed(&reference), 1);
    }

    #[test]
    fn a_word_heard_at_another_time_has_no_delay() {
        let reference = reference(vec![spoken("go", "", 5000, 5500)], 6000);
        let captions = captions(&[caption(900, 1, 700, ("go", ""), true)]);
        assert_eq!(Recognition::of(&reference, &captions).delays(&captions), (Vec::new(), Vec::new()));
    }
}
