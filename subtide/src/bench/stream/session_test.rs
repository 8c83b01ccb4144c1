//! One real session, measured here and by a program of its own; `fixtures/session.json` says which.

use serde_json::Value;

use super::{
    corpus::Reference,
    measured::Measured,
    view::{Arrival, tests::arrival},
};

const SILENCE_MS: u64 = 600;

#[test]
fn a_session_has_the_figures_that_were_found_without_this_program() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/session.json")).unwrap();
    let reference: Reference = serde_json::from_value(fixture["reference"].clone()).unwrap();
    let one = |event: &Value| arrival(event["at_ms"].as_u64().unwrap(), event.clone());
    let arrivals: Vec<Arrival> = fixture["arrivals"].as_array().unwrap().iter().map(one).collect();
    let measured = Measured::of(&reference, &reference.targets, &arrivals, SILENCE_MS);
    let found = measured.json(SILENCE_MS as f64);
    let (captions, spanish, expected) = (&found["captions"], &found["translations"]["es"], &fixture["expected"]);
    let near = |name: &str, ours: &Value, theirs: &Value, tolerance: f64| {
        let apart = (ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs();
        assert!(apart <= tolerance, "{name}: {ours}, not {theirs}");
    };
    let delays = [
        ("shown", &captions["word_to_first_shown"]["wall_ms"]),
        ("committed", &captions["word_to_committed"]["wall_ms"]),
        ("final_beyond_silence", &captions["end_to_final_beyond_silence_ms"]),
    ];
    // Milliseconds are rounded to tenths.
    for (name, ours) in delays {
        for (n, figure) in ["p50", "p95", "mean"].into_iter().enumerate() {
            near(name, &ours[figure], &expected[name][n], 0.05);
        }
    }
    near("StreamLAAL", &spanish["stream_laal"]["wall_ms"], &expected["stream_laal"][0], 0.05);
    near("StreamLAAL by the audio", &spanish["stream_laal"]["audio_ms"], &expected["stream_laal"][1], 0.05);
    near("erasure", &captions["normalised_erasure"], &expected["erasure"], 1e-9);
    near("erasure of translations", &spanish["normalised_erasure"], &expected["translation_erasure"], 1e-9);
    near("WER", &captions["wer"], &expected["wer"], 1e-9);
    near("BLEU", &spanish["bleu"], &expected["bleu"], 1e-9);
    near("chrF", &spanish["chrf"], &expected["chrf"], 1e-9);
    assert_eq!(measured.faults.reworded + measured.faults.finals_missing, 0);
    assert_eq!(measured.faults.utterances, reference.utterances.len());
}
