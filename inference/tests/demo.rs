//! What the demo models do with speech and text of their domain: times, places looked at, terms.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use inference::compute::{ComputeType, EngineOptions};
use inference::device::DeviceChoice;
use inference::model_thread::Model;
use inference::speech::{SpeechHypothesis, SpeechModel, SpeechOptions, SpeechRequest};
use inference::translation::{Term, TranslationModel, TranslationOptions, TranslationRequest};
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
fn terms_that_were_not_said_are_not_written_and_probabilities_stay_the_models_own() {
    let options = SpeechOptions { beams: 4, ..SpeechOptions::default() };
    let mut search = SpeechModel::load(&models("demo-stt-en"), &EXACT, options).unwrap();
    let mut model = model();
    let terms =
        "London, Dublin, Saturday, meeting, Zephyr, Quillon, Harrow, Tamsin, Marlowe, Osprey, Calypso, Montague";
    let terms: Vec<String> = terms.split(", ").map(str::to_owned).collect();
    for pcm in utterances() {
        let plain = SpeechRequest { pcm, ..SpeechRequest::default() };
        let biased = SpeechRequest { terms: terms.clone(), ..plain.clone() };
        let plain = search.transcribe(&[plain]).unwrap().remove(0);
        let biased = model.transcribe(&[biased]).unwrap().remove(0);
        assert_eq!(plain.text, biased.text);
        let off = (plain.avg_logprob - biased.avg_logprob).abs();
        assert!(off < 1e-4, "a bonus is no probability: {} {}", plain.avg_logprob, biased.avg_logprob);
    }
}

fn translator() -> TranslationModel {
    TranslationModel::load(&models("demo-mt-en-es"), &EXACT, TranslationOptions::default()).unwrap()
}

fn text(text: &str, prefix: &str, terms: &[(&str, &str)]) -> TranslationRequest {
    let term = |(source, target): &(&str, &str)| Term { source: (*source).to_owned(), target: (*target).to_owned() };
    let terms = terms.iter().map(term).collect();
    TranslationRequest { text: text.to_owned(), prefix: prefix.to_owned(), terms, ..TranslationRequest::default() }
}

type Called = &'static [(&'static str, &'static str, &'static str)];

/// English, and for each term: as the text has it, as the model translates it (nothing where it must not), its target.
const SENTENCES: [(&str, Called); 6] = [
    ("The meeting is on Saturday at two.", &[("meeting", "reunión", "cónclave")]),
    ("The session will be in London.", &[("london", "Londres", "Londinium")]),
    (
        "I lost a suitcase in the meeting room.",
        &[("meeting", "", "cónclave"), ("meeting room", "sala de reuniones", "sala capitular")],
    ),
    (
        "The train from Dublin arrives at eleven.",
        &[("Dublin", "Dublín", "Baile Átha Cliath"), ("train", "tren", "ferrocarril")],
    ),
    ("The laptop is in the kitchen.", &[("laptop", "ordenador portátil", "cacharro"), ("bedroom", "", "alcoba")]),
    ("The doctor spoke with the doctor.", &[("doctor", "médico", "galeno")]),
];

#[test]
fn terms_stand_in_the_translation_and_the_rest_is_the_models_own() {
    let mut model = translator();
    let (mut requests, mut wanted) = (Vec::new(), Vec::new());
    for (source, terms) in SENTENCES {
        let mut whole = model.translate(&[text(source, "", &[])]).unwrap().remove(0).text;
        for (_, own, target) in terms.iter().filter(|(_, own, _)| !own.is_empty()) {
            assert!(whole.contains(own), "{whole}");
            whole = whole.replace(own, target);
        }
        let terms: Vec<(&str, &str)> = terms.iter().map(|(term, _, target)| (*term, *target)).collect();
        let request = text(source, "", &terms);
        assert_eq!(model.translate(std::slice::from_ref(&request)).unwrap()[0].text, whole);
        requests.push(request);
        wanted.push(whole);
    }
    // As they come, while others are being decoded again.
    let mut answers = Vec::new();
    for (i, request) in requests.into_iter().enumerate() {
        model.admit(vec![(i as u64, Arc::new(request))]).unwrap();
        (0..4).for_each(|_| answers.extend(model.step().unwrap()));
    }
    while answers.len() < SENTENCES.len() {
        answers.extend(model.step().unwrap());
    }
    for (i, answer) in answers {
        assert_eq!(answer.unwrap().text, wanted[i as usize]);
    }
}

#[test]
fn terms_the_model_says_or_the_text_lacks_or_the_prefix_translates_change_nothing() {
    let mut model = translator();
    let source = "The meeting is on Saturday at two.";
    let plain = model.translate(&[text(source, "", &[])]).unwrap().remove(0);
    let terms = [("meeting", "reunión"), ("Saturday", "Sábado"), ("meet", "ver"), ("Sunday", "domingo"), ("two", " ")];
    assert_eq!(model.translate(&[text(source, "", &terms)]).unwrap()[0], plain);
    let begun = model.translate(&[text(source, "La reunión", &[])]).unwrap().remove(0);
    assert_eq!(model.translate(&[text(source, "La reunión", &[("meeting", "cónclave")])]).unwrap()[0].text, begun.text);
    let behind = model.translate(&[text(source, "La reunión", &[("Saturday", "sabbat")])]).unwrap().remove(0);
    assert_eq!(behind.text, begun.text.replace("sábado", "sabbat"));
    let said = model.translate(&[text(source, "La cónclave", &[("meeting", "cónclave")])]).unwrap().remove(0);
    assert_eq!(said, model.translate(&[text(source, "La cónclave", &[])]).unwrap()[0]);
}
