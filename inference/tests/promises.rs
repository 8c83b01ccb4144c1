//! What the workers rely on, shown with tiny models of random weights: a batch gives each row the answer it gets alone,
//! a forced prefix continues the same text, endless texts stop, faults say what is wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

mod parity_weights;
#[allow(dead_code, reason = "other tests use more of it")]
mod tiny_models;

use inference::compute::{ComputeType, EngineOptions};
use inference::error::ModelError;
use inference::speech::{AudioContext, SpeechHypothesis, SpeechModel, SpeechOptions, SpeechRequest};
use inference::translation::{TranslationModel, TranslationOptions, TranslationRequest};
use parity_weights::{signal, uniform};
use tempfile::TempDir;
use tiny_models::{change_weight, write_joint_marian, write_json, write_spm_marian, write_whisper};

fn directory(write: fn(&std::path::Path)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    dir
}

/// The reference arithmetic, so that a batch and a row alone agree to the last digits.
const EXACT: EngineOptions =
    EngineOptions { device: inference::device::DeviceChoice::Cpu, compute: ComputeType::F32, threads: 2 };

fn speech_model(dir: &TempDir) -> Result<SpeechModel, ModelError> {
    SpeechModel::load(dir.path(), &EXACT, SpeechOptions::default())
}

fn text_model(dir: &TempDir) -> Result<TranslationModel, ModelError> {
    TranslationModel::load(dir.path(), &EXACT, TranslationOptions::default())
}

fn whisper() -> SpeechModel {
    speech_model(&directory(write_whisper)).unwrap()
}

fn speech(milliseconds: usize, language: Option<&str>, prefix: &str) -> SpeechRequest {
    let mut pcm = signal(milliseconds * 16);
    let other: Vec<f32> = uniform(&format!("{milliseconds}"), pcm.len());
    pcm.iter_mut().zip(other).for_each(|(a, b)| *a = *a * 0.7 + b * 0.1);
    let (language, prefix) = (language.map(str::to_owned), prefix.to_owned());
    SpeechRequest { pcm, language, prefix, ..SpeechRequest::default() }
}

fn translation(text: &str, prefix: &str) -> TranslationRequest {
    TranslationRequest { text: text.to_owned(), prefix: prefix.to_owned(), ..TranslationRequest::default() }
}

fn alike(alone: &SpeechHypothesis, batched: &SpeechHypothesis) {
    assert_eq!((&alone.text, &alone.language, alone.truncated), (&batched.text, &batched.language, batched.truncated));
    assert!((alone.avg_logprob - batched.avg_logprob).abs() < 1e-4, "{alone:?} {batched:?}");
    assert!((alone.no_speech_prob - batched.no_speech_prob).abs() < 1e-5, "{alone:?} {batched:?}");
    assert!(alone.no_speech_prob > 0.0);
}

#[test]
fn a_batch_of_speech_gives_each_row_what_it_gets_alone() {
    let mut model = whisper();
    let batch = [
        speech(9_900, Some("en"), ""),
        speech(400, None, ""),
        speech(3_000, Some("ja"), "abcabd"),
        speech(3_100, Some("es"), "one two"),
        speech(10_000, None, "x"),
        SpeechRequest::default(),
    ];
    let together = model.transcribe(&batch).unwrap();
    for (request, batched) in batch.iter().zip(&together) {
        let alone = model.transcribe(std::slice::from_ref(request)).unwrap();
        alike(&alone[0], batched);
    }
    let lengths: std::collections::BTreeSet<usize> = together.iter().map(|answer| answer.text.len()).collect();
    assert!(lengths.len() > 2, "rows must end at different times for this to show anything: {lengths:?}");
}

#[test]
fn a_batch_of_texts_gives_each_row_what_it_gets_alone() {
    for write in [write_joint_marian, write_spm_marian] {
        let mut model = text_model(&directory(write)).unwrap();
        let batch = [
            translation("the meeting starts at nine.", ""),
            translation("a", ""),
            translation("  ", ""),
            translation("nobody knows where the green suitcase came from", "la reunión"),
            translation("the train", "el"),
        ];
        let together = model.translate(&batch).unwrap();
        for (request, batched) in batch.iter().zip(&together) {
            let alone = model.translate(std::slice::from_ref(request)).unwrap().remove(0);
            assert_eq!((&alone.text, alone.truncated), (&batched.text, batched.truncated));
            assert!((alone.avg_logprob - batched.avg_logprob).abs() < 1e-4, "{alone:?} {batched:?}");
        }
        assert_eq!(together[2].text, "", "nothing to translate gives nothing");
        assert!(together.iter().filter(|answer| !answer.text.is_empty()).count() > 2, "{together:?}");
    }
}

#[test]
fn a_forced_prefix_continues_the_same_speech() {
    let mut model = whisper();
    // Japanese has no leading space, so that any cut of the text is a prefix as the model decoded it.
    let full = model.transcribe(&[speech(2_000, Some("ja"), "")]).unwrap().remove(0).text;
    assert!(full.len() > 6, "{full}");
    for cut in [1, 4, full.len() - 1] {
        let rest = model.transcribe(&[speech(2_000, Some("ja"), &full[..cut])]).unwrap().remove(0).text;
        assert!(rest.starts_with(&full[cut..]), "{full} cut at {cut} went on as {rest}");
    }
}

#[test]
fn a_forced_prefix_continues_the_same_translation() {
    let mut model = text_model(&directory(write_joint_marian)).unwrap();
    let mut cuts = 0;
    for source in ["they were reading a long letter", "no", "the train", "where is it", "in a garden, on monday."] {
        // Behind a first word, so that any cut of the text is a prefix as the model decoded it.
        let full = model.translate(&[translation(source, "el")]).unwrap().remove(0).text;
        for (cut, _) in full.char_indices().filter(|(at, _)| *at > 0 && !full[..*at].ends_with(' ')) {
            let rest = model.translate(&[translation(source, &format!("el{}", &full[..cut]))]).unwrap().remove(0).text;
            assert!(rest.starts_with(&full[cut..]), "{full} cut at {cut} went on as {rest}");
            cuts += 1;
        }
    }
    assert!(cuts > 12, "{cuts}");
}

#[test]
fn a_text_that_goes_round_in_circles_stops_and_is_marked() {
    let dir = directory(write_whisper);
    // Without gains the last state is the same at every position: one token for ever.
    change_weight(dir.path(), "model.decoder.layer_norm.weight", |gains| Some(gains.zeros_like().unwrap()));
    let mut model = speech_model(&dir).unwrap();
    let answer = model.transcribe(&[speech(5_000, Some("en"), "")]).unwrap().remove(0);
    assert!(answer.truncated);
    assert_eq!(answer.text.len(), 4, "{}", answer.text);
}

#[test]
fn a_prefix_that_fills_the_model_gives_an_empty_truncated_answer() {
    let mut model = whisper();
    let batch = [speech(1_000, Some("en"), &"a".repeat(200)), speech(1_000, Some("en"), "")];
    let answers = model.transcribe(&batch).unwrap();
    assert!(answers[0].truncated && answers[0].text.is_empty());
    alike(&model.transcribe(&batch[1..]).unwrap()[0], &answers[1]);
}

fn full_context() -> SpeechModel {
    let options = SpeechOptions { context: AudioContext::Full, ..SpeechOptions::default() };
    SpeechModel::load(directory(write_whisper).path(), &EXACT, options).unwrap()
}

#[test]
fn the_full_window_is_there_on_request() {
    let request = speech(1_000, Some("en"), "");
    let trimmed = whisper().transcribe(std::slice::from_ref(&request)).unwrap();
    let full = full_context().transcribe(std::slice::from_ref(&request)).unwrap();
    let mut padded = request.clone();
    padded.pcm.resize(160_000, 0.0);
    let as_padded = whisper().transcribe(&[padded]).unwrap();
    assert_eq!(full[0].no_speech_prob, as_padded[0].no_speech_prob);
    assert_ne!(full[0].no_speech_prob, trimmed[0].no_speech_prob);
}

#[test]
fn languages_are_those_of_the_tokens_or_of_the_list() {
    let dir = directory(write_whisper);
    let model = speech_model(&dir).unwrap();
    assert_eq!(model.languages(), ["en", "es", "ja"]);
    assert_eq!(model.window_samples(), 160_000);
    write_json(dir.path(), "generation_config.json", &serde_json::json!({ "lang_to_id": { "<|es|>": 259 } }));
    let mut model = speech_model(&dir).unwrap();
    assert_eq!(model.languages(), ["es"]);
    assert_eq!(model.transcribe(&[speech(500, None, "")]).unwrap()[0].language, "es");
    write_json(dir.path(), "generation_config.json", &serde_json::json!({ "is_multilingual": false }));
    let model = speech_model(&dir).unwrap();
    assert_eq!(model.languages(), ["en"]);
}

#[test]
fn requests_the_model_cannot_take_are_refused_by_name() {
    let mut model = whisper();
    let error = model.transcribe(&[speech(500, Some("de"), "")]).unwrap_err();
    assert!(error.to_string().contains("\"de\"") && error.to_string().contains("en, es, ja"), "{error}");
    let error = model.transcribe(&[speech(10_001, Some("en"), "")]).unwrap_err();
    assert!(matches!(error, ModelError::TooLong { got: 160_016, limit: 160_000, .. }), "{error}");
}

#[test]
fn what_is_wrong_with_a_directory_is_said_with_its_name() {
    let load = |dir: &TempDir| speech_model(dir).unwrap_err().to_string();
    let dir = directory(write_whisper);
    change_weight(dir.path(), "model.encoder.layers.1.fc1.weight", |_| None);
    assert!(load(&dir).contains("model.encoder.layers.1.fc1.weight is missing"), "{}", load(&dir));
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    assert!(load(&dir).contains("has no model.safetensors"), "{}", load(&dir));
    write_json(dir.path(), "preprocessor_config.json", &serde_json::json!({ "hop_length": 320 }));
    assert!(load(&dir).contains("preprocessor_config.json: hop_length is 320"), "{}", load(&dir));
    std::fs::remove_file(dir.path().join("preprocessor_config.json")).unwrap();
    write_json(dir.path(), "config.json", &serde_json::json!({ "d_model": 32 }));
    assert!(load(&dir).contains("config.json") && load(&dir).contains("encoder_layers"), "{}", load(&dir));
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    assert!(load(&dir).contains("has no tokenizer.json"), "{}", load(&dir));

    let dir = directory(write_spm_marian);
    let load = |dir: &TempDir| text_model(dir).unwrap_err().to_string();
    std::fs::write(dir.path().join("target.spm"), "not a model").unwrap();
    assert!(load(&dir).contains("target.spm"), "{}", load(&dir));
    std::fs::remove_file(dir.path().join("target.spm")).unwrap();
    assert!(load(&dir).contains("has no tokenizer.json, nor source.spm"), "{}", load(&dir));
}
