//! The scores of translations and words beside those of the programs everybody uses; `fixtures/scores.json` says how they
//! were made.

use serde::Deserialize;

use super::{
    alignment::{Placed, align},
    bleu::Bleu,
    chrf::Chrf,
    word_errors::WordErrors,
    words::words,
};

#[derive(Deserialize)]
struct Fixture {
    pairs: Vec<Pair>,
    scores: Vec<Scores>,
}

#[derive(Deserialize)]
struct Pair {
    translation: String,
    reference: String,
}

#[derive(Deserialize)]
struct Scores {
    of: Vec<usize>,
    bleu: f64,
    chrf: f64,
    wer: f64,
    replaced: usize,
    missing: usize,
    added: usize,
}

fn placed(text: &str) -> Vec<Placed> {
    let one = |word: super::words::Word| Placed { word: word.folded, start_ms: 0, end_ms: 0, utterance: 0 };
    words(text).into_iter().map(one).collect()
}

#[test]
fn scores_are_those_of_sacrebleu_and_jiwer() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/scores.json")).unwrap();
    for expected in &fixture.scores {
        let (mut bleu, mut chrf, mut errors) = (Bleu::default(), Chrf::default(), WordErrors::default());
        for Pair { translation, reference } in expected.of.iter().map(|n| &fixture.pairs[*n]) {
            bleu.add(Bleu::of(translation, reference));
            chrf.add(Chrf::of(translation, reference));
            errors.add(WordErrors::of(&align(&placed(reference), &placed(translation))));
        }
        let near = |ours: Option<f64>, theirs: f64| (ours.unwrap() - theirs).abs() < 1e-9;
        assert!(near(bleu.score(), expected.bleu), "BLEU of {:?}: {:?}, not {}", expected.of, bleu, expected.bleu);
        assert!(near(chrf.score(), expected.chrf), "chrF of {:?}: {:?}, not {}", expected.of, chrf, expected.chrf);
        assert!(near(errors.rate(), expected.wer), "WER of {:?}: {errors:?}, not {}", expected.of, expected.wer);
        let sums = errors.replaced + errors.missing + errors.added;
        assert_eq!(sums, expected.replaced + expected.missing + expected.added);
        // Kinds of error can be told apart in several ways; what they leave over cannot.
        assert_eq!(errors.added as i64 - errors.missing as i64, expected.added as i64 - expected.missing as i64);
    }
}
