//! What a speech model says about its prefix and its language, shown with a tiny model of random weights.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

#[allow(dead_code, reason = "other tests use more of it")]
mod parity_weights;
#[allow(dead_code, reason = "other tests use more of it")]
mod tiny_models;

use std::path::Path;

use inference::compute::{ComputeType, EngineOptions};
use inference::speech::{SpeechModel, SpeechOptions, SpeechRequest};
use parity_weights::signal;
use tempfile::TempDir;
use tiny_models::{change_weight, write_whisper};

const EXACT: EngineOptions =
    EngineOptions { device: inference::device::DeviceChoice::Cpu, compute: ComputeType::F32, threads: 2 };

fn directory(write: fn(&Path)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    dir
}

fn whisper(options: SpeechOptions) -> SpeechModel {
    SpeechModel::load(directory(write_whisper).path(), &EXACT, options).unwrap()
}

fn speech(milliseconds: usize) -> SpeechRequest {
    SpeechRequest { pcm: signal(milliseconds * 16), language: Some("en".to_owned()), ..SpeechRequest::default() }
}

#[test]
fn words_of_the_prefix_come_first() {
    let mut model = whisper(SpeechOptions::default());
    let request = SpeechRequest { words: true, ..speech(3_000) };
    let whole = model.transcribe(std::slice::from_ref(&request)).unwrap().remove(0);
    // A prefix is a text of its own, with a space before it: the model says something else behind it.
    let mut heard = |prefix: &str| {
        let prefix = prefix.to_owned();
        let request = SpeechRequest { prefix: prefix.clone(), ..request.clone() };
        let heard = model.transcribe(&[request]).unwrap().remove(0);
        assert_eq!(
            heard.words.iter().map(|word| word.text.as_str()).collect::<String>(),
            format!(" {prefix}{}", heard.text)
        );
        heard
    };
    let (broken, whole_words) = (heard("ab cd ef"), heard("ab cd."));
    assert_eq!(broken.words[..2].iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), [" ab", " cd"]);
    assert_eq!(broken.prefix_words, 2, "the third goes on behind the prefix: {:?}", broken.words);
    assert_eq!(whole_words.prefix_words, 2, "{:?}", whole_words.words);
    assert!(broken.words.iter().all(|word| (0.0..=1.0).contains(&word.probability)));
    assert!(broken.words[..2].iter().all(|word| word.probability < 0.1), "what the model would never say");
    assert!(whole.words.iter().all(|word| word.probability > 0.1), "what it says: {:?}", whole.words);
}

#[test]
fn the_language_heard_is_the_expected_one_unless_another_is_all_but_certain() {
    let dir = directory(write_whisper);
    let hear = |expected: Option<&str>| {
        let mut model = SpeechModel::load(dir.path(), &EXACT, SpeechOptions::default()).unwrap();
        let expected_language = expected.map(str::to_owned);
        let request = SpeechRequest { language: None, expected_language, ..speech(1_000) };
        let heard = model.transcribe(&[request]).unwrap().remove(0);
        (heard.language, heard.language_probability)
    };
    let (likeliest, share) = hear(None);
    assert!(share < 0.8, "random weights are not sure: {share}");
    let other = ["en", "es", "ja"].into_iter().find(|name| *name != likeliest).unwrap();
    let (kept, its_share) = hear(Some(other));
    assert_eq!(kept, other);
    assert!(its_share < share, "its own probability, not the likeliest one's");
    assert_eq!(hear(Some("tlh")), (likeliest.clone(), share), "a language the model lacks");
    // Scores 50 times as far apart: now it is sure.
    change_weight(dir.path(), "model.decoder.embed_tokens.weight", |weights| {
        let languages = (weights.narrow(0, 258, 3).unwrap() * 50.0).unwrap();
        Some(weights.slice_assign(&[258..261, 0..32], &languages).unwrap())
    });
    let (certain, share) = hear(None);
    assert!(share >= 0.8, "{share}");
    let other = ["en", "es", "ja"].into_iter().find(|name| *name != certain).unwrap();
    assert_eq!(hear(Some(other)), (certain, share));
}
