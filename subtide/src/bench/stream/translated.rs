//! Translations beside their references: how good they are, how late, and how much of them was taken back.

use serde_json::{Value, json};
use shared::language::Language;

use super::{
    alignment::{Placed, Step, align, cut},
    bleu::Bleu,
    chrf::Chrf,
    corpus::Reference,
    erasure::Erasure,
    figures::{Delay, Figures, delays_json, tenth},
    lagging::Stretch,
    recognition::Ending,
    view::{Appearance, Views, final_words},
    words::{Word, joined, words},
};

/// What was measured of one target, of one session or of many added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Translated {
    /// From the end of the source word each word belongs to until it was first shown.
    pub(super) first_shown: Vec<Delay>,
    /// Until it was committed.
    pub(super) committed: Vec<Delay>,
    /// From the last word of a sentence that a pause follows to its final translation, milliseconds.
    pub(super) finals: Vec<f64>,
    /// Text taken back.
    pub(super) erasure: Erasure,
    /// Letters.
    pub(super) chrf: Chrf,
    /// Words.
    pub(super) bleu: Bleu,
    /// Of each utterance as the gateway cut them.
    pub(super) laal: Vec<Delay>,
    /// Of each sentence of the reference.
    pub(super) stream_laal: Vec<Delay>,
    /// Sentences with a reference.
    pub(super) sentences: usize,
    /// Of those, how many nothing was translated of.
    pub(super) untranslated: usize,
}

impl Translated {
    /// Measures the translations of one session into `target`. `endings`: see [`Ending`].
    pub(super) fn of(reference: &Reference, target: &Language, views: &Views, endings: &[Ending]) -> Self {
        let mut measured = Self::default();
        for view in views.values() {
            measured.erasure.add(Erasure::of(view.texts().iter().map(String::as_str)));
        }
        let arrival = |ending: &Ending| {
            let last = views.get(&ending.utterance)?.last()?;
            Some(last.at_ms as f64 - ending.end_ms as f64)
        };
        measured.finals = endings.iter().filter_map(arrival).collect();
        let stream = Stream::of(reference, target, views);
        measured.laal = stream.utterances(views).iter().filter_map(Stretch::laal).collect();
        for (n, sentence) in reference.utterances.iter().enumerate() {
            let Some(wanted) = sentence.translations.get(target) else { continue };
            let mine: Vec<usize> = (0..stream.words.len()).filter(|at| stream.sentence_of[*at] == n).collect();
            let text = joined(mine.iter().map(|at| &stream.words[*at]));
            measured.chrf.add(Chrf::of(&text, wanted));
            measured.bleu.add(Bleu::of(&text, wanted));
            measured.sentences += 1;
            measured.untranslated += usize::from(mine.is_empty());
            let appearances: Vec<Appearance> = mine.iter().map(|at| stream.appearances[*at]).collect();
            let ends: Vec<u64> = sentence.timed_words().iter().map(|word| word.end_ms).collect();
            for (appearance, end_ms) in appearances.iter().zip(diagonal(&ends, mine.len())) {
                measured.first_shown.extend(appearance.shown.map(|moment| moment.since(end_ms)));
                measured.committed.extend(appearance.committed.map(|moment| moment.since(end_ms)));
            }
            let stretch = Stretch {
                start_ms: sentence.start_ms as f64,
                end_ms: sentence.end_ms as f64,
                reference_words: words(wanted).len(),
                words: appearances.iter().filter_map(|appearance| appearance.committed).collect(),
            };
            measured.stream_laal.extend(stretch.laal());
        }
        measured
    }

    /// Adds another.
    pub(super) fn add(&mut self, other: &Self) {
        self.first_shown.extend(&other.first_shown);
        self.committed.extend(&other.committed);
        self.finals.extend(&other.finals);
        self.erasure.add(other.erasure);
        self.chrf.add(other.chrf);
        self.bleu.add(other.bleu);
        self.laal.extend(&other.laal);
        self.stream_laal.extend(&other.stream_laal);
        self.sentences += other.sentences;
        self.untranslated += other.untranslated;
    }

    /// For machines.
    pub(super) fn json(&self, silence_ms: f64) -> Value {
        let mean = |delays: &[Delay]| {
            let of =
                |value: fn(&Delay) -> f64| Figures::of(delays.iter().map(value)).map(|figures| tenth(figures.mean));
            json!({ "wall_ms": of(|d| d.wall_ms), "audio_ms": of(|d| d.audio_ms) })
        };
        json!({
            "word_to_first_shown": delays_json(&self.first_shown),
            "word_to_committed": delays_json(&self.committed),
            "end_to_final_ms": Figures::of(self.finals.iter().copied()).map(Figures::json),
            "end_to_final_beyond_silence_ms":
                Figures::of(self.finals.iter().map(|ms| ms - silence_ms)).map(Figures::json),
            "normalised_erasure": self.erasure.normalised(),
            "words_erased": self.erasure.erased,
            "words": self.erasure.kept,
            "chrf": self.chrf.score(),
            "bleu": self.bleu.score(),
            "laal": mean(&self.laal),
            "stream_laal": mean(&self.stream_laal),
            "sentences": self.sentences,
            "sentences_untranslated": self.untranslated,
        })
    }
}

/// The translation of a whole session, cut into the sentences of the reference.
struct Stream {
    words: Vec<Word>,
    appearances: Vec<Appearance>,
    heard: Vec<Placed>,
    steps: Vec<Step>,
    /// The sentence of each word.
    sentence_of: Vec<usize>,
}

impl Stream {
    fn of(reference: &Reference, target: &Language, views: &Views) -> Self {
        let (mut wanted, mut sentences) = (Vec::new(), Vec::new());
        for (n, sentence) in reference.utterances.iter().enumerate() {
            let text = sentence.translations.get(target).map(|text| words(text)).unwrap_or_default();
            wanted.extend(text.into_iter().map(|word| Placed {
                word: word.folded,
                start_ms: sentence.start_ms,
                end_ms: sentence.end_ms,
                utterance: n,
            }));
            sentences.resize(wanted.len(), n);
        }
        let (heard, _) = final_words(views);
        let steps = align(&wanted, &heard);
        let sentence_of = cut(&steps, &sentences, &heard);
        let words = views.values().flat_map(|view| view.words()).collect();
        let appearances = views.values().flat_map(|view| view.appearances()).collect();
        Self { words, appearances, heard, steps, sentence_of }
    }

    /// The utterances of the gateway, each with the words of its translation and as many of the reference as lie beside
    /// them.
    fn utterances(&self, views: &Views) -> Vec<Stretch> {
        let stretch = |view: &super::view::View| Stretch {
            start_ms: view.start_ms as f64,
            end_ms: view.end_ms as f64,
            reference_words: 0,
            words: Vec::new(),
        };
        let mut stretches: Vec<Stretch> = views.values().map(stretch).collect();
        for (word, appearance) in self.heard.iter().zip(&self.appearances) {
            stretches[word.utterance].words.extend(appearance.committed);
        }
        let mut last = None;
        for step in &self.steps {
            if let Step::Same(_, at) | Step::Replaced(_, at) = step {
                last = Some(self.heard[*at].utterance);
            }
            if let (Step::Same(..) | Step::Replaced(..) | Step::Missing(_), Some(last)) = (step, last) {
                stretches[last].reference_words += 1;
            }
        }
        stretches
    }
}

/// For each of `count` target words the end of the source word it belongs to: word j of |Y| to word ceil(j |X| / |Y|) of
/// |X|, the diagonal that average lagging takes for ideal (Ma et al. 2019, "STACL", section 4.2).
fn diagonal(source_ends_ms: &[u64], count: usize) -> impl Iterator<Item = u64> + '_ {
    (1..=count).filter_map(move |word| {
        source_ends_ms.get((word * source_ends_ms.len()).div_ceil(count).checked_sub(1)?).copied()
    })
}

#[cfg(test)]
mod tests {
    use shared::ids::UtteranceId;

    use super::*;
    use crate::bench::stream::{
        corpus::tests::{reference, spoken},
        view::{
            tests::{caption, translation},
            translations,
        },
    };

    #[test]
    fn target_words_belong_to_source_words_along_the_diagonal() {
        let ends = [100, 200, 300];
        assert_eq!(diagonal(&ends, 3).collect::<Vec<_>>(), [100, 200, 300]);
        assert_eq!(diagonal(&ends, 2).collect::<Vec<_>>(), [200, 300]);
        assert_eq!(diagonal(&ends, 6).collect::<Vec<_>>(), [100, 100, 200, 200, 300, 300]);
        assert_eq!(diagonal(&[], 2).count(), 0);
    }

    #[test]
    fn one_utterance_with_two_sentences_is_cut_in_two() {
        let es: Language = "es".parse().unwrap();
        let sentences = vec![spoken("one two", "uno dos", 0, 1000), spoken("three four", "tres cuatro", 1000, 2000)];
        let reference = reference(sentences, 3000);
        let views = translations(
            &[
                caption(1200, 1, 1100, ("one two", " three"), false),
                translation(1300, 1, ("uno dos", " tras"), false),
                caption(2600, 2, 2000, ("one two three four", ""), true),
                translation(2700, 2, ("uno dos, tres cinco.", ""), true),
            ],
            &es,
        );
        let ending = Ending { end_ms: 2000, utterance: UtteranceId(1) };
        let measured = Translated::of(&reference, &es, &views, &[ending]);
        assert_eq!((measured.sentences, measured.untranslated, measured.finals.as_slice()), (2, 0, &[700.0][..]));
        // "dos" is written with a comma in the end: it and "tras" behind it are taken back.
        assert_eq!(measured.erasure, Erasure { erased: 2, kept: 4 });
        let mut chrf = Chrf::of("uno dos,", "uno dos");
        chrf.add(Chrf::of("tres cinco.", "tres cuatro"));
        assert_eq!(measured.chrf, chrf);
        let walls: Vec<f64> = measured.committed.iter().map(|delay| delay.wall_ms).collect();
        assert_eq!(walls, [800.0, 300.0, 1200.0, 700.0]);
        let audio: Vec<f64> = measured.first_shown.iter().map(|delay| delay.audio_ms).collect();
        assert_eq!(audio, [600.0, 100.0, 500.0, 0.0]);
        // Sentence 1: words at 1300 ms, after its end; sentence 2 at 2700 - 1000 ms, likewise.
        let lags: Vec<f64> = measured.stream_laal.iter().map(|delay| delay.wall_ms).collect();
        assert_eq!(lags, [1300.0, 1700.0]);
        // The whole utterance, 2 s: 1300 - 0, 1300 - 500, 2700 - 1000; the last word comes after the end again.
        assert!((measured.laal[0].wall_ms - (1300.0 + 800.0 + 1700.0) / 3.0).abs() < 1e-9);
    }
}
