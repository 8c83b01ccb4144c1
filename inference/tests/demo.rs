//! What the demo models do with real speech: times, places looked at, terms.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

use std::path::{Path, PathBuf};

use inference::compute::{ComputeType, EngineOptions};
use inference::device::DeviceChoice;
use inference::speech::{SpeechHypothesis, SpeechModel, SpeechOptions, SpeechRequest};
use serde_json::Value;

const EXACT: EngineOptions = EngineOptions { device: DeviceChoice::Cpu, compute: ComputeType::F32, threads: 2 };

fn models(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name)
}

/// The utterances of the demo recording, each with 100 ms before it.
fn utterances() -> Vec<Vec<f32>> {
    let wave = std::fs::read(models("demo-speech/demo.wav")).unwrap();
    let data = wave.windows(4).position(|name| name == b"data").unwrap() + 8;
    let samples: Vec<f32> =
        wave[data..].chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect();
    let manifest: Value = serde_json::from_slice(&std::fs::read(models("demo-speech/manifest.json")).unwrap()).unwrap();
    let at = |utterance: &Value, key: &str| utterance[key].as_u64().unwrap() as usize * 16;
    let cut = |utterance: &Value| samples[at(utterance, "start_ms") - 1_600..at(utterance, "end_ms") + 4_800].to_vec();
    manifest["utterances"].as_array().unwrap().iter().map(cut).collect()
}

fn model() -> SpeechModel {
    SpeechModel::load(&models("demo-stt-en"), &EXACT, SpeechOptions::default()).unwrap()
}

fn timed(model: &mut SpeechModel, pcm: &[f32], prefix: &str) -> SpeechHypothesis {
    let request =
        SpeechRequest { pcm: pcm.to_vec(), prefix: prefix.to_owned(), words: true, ..SpeechRequest::default() };
    model.transcribe(&[request]).unwrap().remove(0)
}

#[test]
fn words_are_the_same_whether_they_were_decoded_or_forced() {
    let mut model = model();
    for pcm in utterances() {
        let whole = timed(&mut model, &pcm, "");
        let prefix: String = whole.words[..3].iter().map(|word| word.text.as_str()).collect();
        let forced = timed(&mut model, &pcm, &prefix);
        assert_eq!(forced.prefix_words, 3);
        let texts = |heard: &SpeechHypothesis| heard.words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&forced), texts(&whole));
        for (forced, whole) in forced.words.iter().zip(&whole.words) {
            assert_eq!((forced.start_ms, forced.end_ms), (whole.start_ms, whole.end_ms), "{forced:?} {whole:?}");
            assert_eq!(forced.attended_ms, whole.attended_ms);
            assert!((forced.probability - whole.probability).abs() < 1e-4, "{forced:?} {whole:?}");
        }
    }
}

#[test]
fn the_last_word_of_speech_cut_off_looks_at_its_end_and_the_others_do_not() {
    let mut model = model();
    let (mut near, mut clips) = (0, 0);
    for pcm in utterances() {
        let whole = timed(&mut model, &pcm, "");
        for at in 2..whole.words.len() {
            let end = whole.words[at].end_ms;
            let cut = timed(&mut model, &pcm[..(end as usize * 16).min(pcm.len())], "");
            let (Some(last), true) = (cut.words.last(), cut.words.len() == at + 1) else { continue };
            clips += 1;
            near += usize::from(last.attended_ms + 200 >= end);
            for (word, known) in cut.words.iter().zip(&whole.words).take(at - 1) {
                assert!(word.attended_ms <= known.end_ms + 200, "{word:?} of a clip of {end} ms: {known:?}");
            }
        }
    }
    assert!(clips > 30 && near * 10 >= clips * 9, "{near} of {clips}");
}

#[test]
fn terms_that_were_not_said_are_not_written() {
    let mut model = model();
    let terms =
        "Zephyr, Quillon, Harrow, Tamsin, Brindley, Marlowe, Osprey, Calypso, Vantage, Redwood, Montague, Pellegrin";
    for pcm in utterances() {
        let plain = SpeechRequest { pcm, ..SpeechRequest::default() };
        let biased = SpeechRequest { terms: terms.split(", ").map(str::to_owned).collect(), ..plain.clone() };
        let heard = model.transcribe(&[plain, biased]).unwrap();
        assert_eq!(heard[0].text, heard[1].text);
    }
}
