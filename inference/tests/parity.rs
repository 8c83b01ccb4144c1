//! Our networks against Hugging Face transformers, with real configurations and random weights, computed by our kernels
//! and by candle. training/reference/make_fixtures.py stored the reference numbers; the weights are made anew here,
//! written as a model directory and loaded as any other model.
//!
//! The ignored tests take larger cases, which a Python with torch and transformers makes on the spot (`PYTHON` names
//! it), or made before: `python -m training.reference.make_fixtures --full --out FOLDER`, then `PARITY_FIXTURES=FOLDER`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

mod parity_reference;
mod parity_sequences;
mod parity_texts;
mod parity_weights;
mod parity_whisper;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use candle_core::{Device, Tensor};
use inference::compute::{Compute, Precision};
use inference::decoder::{Decoder, Source};
use inference::directory::ModelDirectory;
use inference::mel::LogMel;
use parity_reference::Reference;
use parity_weights::signal;
use tempfile::TempDir;

/// Largest difference allowed, in 32-bit floats.
const TOLERANCE: f32 = 1e-3;
/// Samples of each made-up sound: 3.2 s.
const SAMPLES: usize = 51_200;

/// Networks of hundreds of megabytes: one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn close(reference: &Reference, name: &str, computed: &Tensor) {
    let distance = reference.distance(name, computed);
    eprintln!("{} {name}: largest difference {distance:.2e}", reference.name());
    assert!(distance <= TOLERANCE, "{} {name} differs by {distance}", reference.name());
}

fn pick(tensor: &Tensor, dim: usize, ids: &[u32]) -> Tensor {
    tensor.contiguous().unwrap().index_select(&Tensor::new(ids, &Device::Cpu).unwrap(), dim).unwrap()
}

/// Hidden states of every token of every row, row after row.
fn hidden_at_once(decoder: &Decoder, sources: &[Source], rows: &[Vec<u32>]) -> Tensor {
    decoder.forward(rows, &mut decoder.batch(sources).unwrap()).unwrap()
}

/// The same, one token a step.
fn hidden_one_by_one(decoder: &Decoder, sources: &[Source], rows: &[Vec<u32>]) -> Tensor {
    let mut batch = decoder.batch(sources).unwrap();
    let step = |i: usize| rows.iter().map(|row| vec![row[i]]).collect::<Vec<_>>();
    let steps = (0..rows[0].len()).map(|i| decoder.forward(&step(i), &mut batch).unwrap());
    let stacked = Tensor::stack(&steps.collect::<Vec<_>>(), 1).unwrap();
    stacked.flatten(0, 1).unwrap()
}

/// A model directory as the reference's network had it.
fn model(reference: &Reference) -> (TempDir, ModelDirectory) {
    let dir = tempfile::tempdir().unwrap();
    reference.write_model(dir.path());
    let opened = ModelDirectory::open(dir.path()).unwrap();
    (dir, opened)
}

/// How a network computes, and how much of it is looked at.
struct Way {
    compute: Compute,
    /// All windows and texts; a few otherwise.
    thorough: bool,
}

/// Our kernels, and candle's operations for a shorter look: both must agree with the reference.
fn each_way(check: impl Fn(&Way)) {
    eprintln!("kernels:");
    check(&Way { compute: Compute::host(Precision::F32), thorough: true });
    eprintln!("candle:");
    check(&Way { compute: Compute::candle(&Device::Cpu), thorough: false });
}

/// The larger cases of an architecture: those in the folder `PARITY_FIXTURES` names, or made on the spot by `PYTHON`.
fn full(family: &str) -> Vec<Reference> {
    if let Some(folder) = std::env::var_os("PARITY_FIXTURES") {
        return Reference::cases(&PathBuf::from(folder), family);
    }
    let folder = tempfile::tempdir().unwrap();
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&python);
    command.args(["-m", "training.reference.make_fixtures", family, "--full", "--out"]).arg(folder.path());
    let status = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).status().unwrap();
    assert!(status.success(), "{} could not make the larger cases: it needs torch and transformers", python.display());
    Reference::cases(folder.path(), family)
}

#[test]
fn log_mel_equals_the_feature_extractor() {
    let reference = Reference::load("mel");
    let pcm = signal(SAMPLES);
    for name in ["mel_80", "mel_128", "mel_edge"] {
        let case = reference.at(&format!("/{name}"));
        let bands = case["bands"].as_u64().unwrap() as usize;
        let frames = case["window_frames"].as_u64().unwrap() as usize;
        let features = LogMel::new(bands).compute(&pcm, frames);
        let features = Tensor::from_vec(features, (frames, bands), &Device::Cpu).unwrap().t().unwrap();
        close(&reference, name, &pick(&features, 1, &reference.list(&format!("/{name}/frames"))));
    }
}

/// A test for each case: the architecture's check, its file, and the case's name.
macro_rules! cases {
    ($($test:ident: $check:path, $family:literal, $case:literal;)*) => {
        $(#[test]
        fn $test() {
            let _alone = alone();
            $check(&Reference::case($family, $case));
        })*
    };
}

cases! {
    whisper_tiny_equals_transformers: parity_whisper::check, "whisper", "tiny";
    whisper_tiny_english_equals_transformers: parity_whisper::check, "whisper", "tiny.en";
    whisper_base_equals_transformers: parity_whisper::check, "whisper", "base";
    whisper_large_v3_widths_equal_transformers: parity_whisper::check, "whisper", "large-v3";
    whisper_large_v3_turbo_widths_equal_transformers: parity_whisper::check, "whisper", "large-v3-turbo";
    opus_mt_equals_transformers: parity_texts::marian, "marian", "opus-mt";
    opus_mt_tc_big_widths_equal_transformers: parity_texts::marian, "marian", "tc-big";
    marian_of_two_vocabularies_equals_transformers: parity_texts::marian, "marian", "separate";
    nllb_200_distilled_600m_widths_equal_transformers: parity_texts::m2m100, "m2m100", "nllb-600m";
    madlad_400_3b_widths_equal_transformers: parity_texts::t5, "t5", "madlad-3b";
    t5_small_equals_transformers: parity_texts::t5, "t5", "t5-small";
}

/// The same for the larger cases, all of an architecture.
macro_rules! full_cases {
    ($($test:ident: $check:path, $family:literal;)*) => {
        $(#[test]
        #[ignore = "large, and needs Python: `cargo xtask prove engine` runs it"]
        fn $test() {
            let _alone = alone();
            full($family).iter().for_each($check);
        })*
    };
}

full_cases! {
    full_whisper_equals_transformers: parity_whisper::check, "whisper";
    full_marian_equals_transformers: parity_texts::marian, "marian";
    full_m2m100_equals_transformers: parity_texts::m2m100, "m2m100";
    full_t5_equals_transformers: parity_texts::t5, "t5";
}
