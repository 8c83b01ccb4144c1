//! The recipe that made the demo models still works: in miniature it speaks, trains, exports, and the loader that the
//! workers use takes what came out. `cargo xtask test` installs the Python packages it wants and runs it.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use inference::{
    compute::EngineOptions,
    speech::{SpeechModel, SpeechOptions, SpeechRequest},
    translation::{TranslationModel, TranslationOptions, TranslationRequest},
};
use tests::stack::repository;

#[test]
#[ignore = "wants a Python with training/requirements.txt, named by SUBTIDE_PYTHON; `cargo xtask test` brings one"]
fn the_recipe_in_miniature_makes_models_that_the_workers_load() {
    let python = env::var("SUBTIDE_PYTHON").expect("SUBTIDE_PYTHON names a Python with training/requirements.txt");
    let out = tempfile::tempdir().expect("a temporary directory");
    let mut training = Command::new(python);
    training.args(["-m", "training", "smoke", "--out"]).arg(out.path()).current_dir(repository());
    // As many threads as cores spin against each other while other tests run.
    training.env("OMP_WAIT_POLICY", "PASSIVE").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = training.stderr(Stdio::inherit()).output().expect("Python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(output.status.success(), "the smoke run failed: {}", output.status);
    assert!(text.lines().last().is_some_and(|line| line.starts_with("smoke ok")), "no `smoke ok` at the end");
    assert!(loads(out.path()), "a model was not loaded");
}

/// A decode fails where a tensor or a token is missing.
fn loads(out: &Path) -> bool {
    let engine = EngineOptions::default();
    let mut speech = SpeechModel::load(&out.join("demo-stt-en"), &engine, SpeechOptions::default()).expect("it loads");
    speech.transcribe(&[SpeechRequest { pcm: vec![0.0; 16_000], ..SpeechRequest::default() }]).expect("it decodes");
    let mut text = TranslationModel::load(&out.join("demo-mt-en-es"), &engine, TranslationOptions::default())
        .expect("the translator loads");
    text.translate(&[TranslationRequest { text: "One, two.".to_owned(), ..TranslationRequest::default() }]).is_ok()
}
