//! The engine on an NVIDIA GPU against the reference numbers: 32-bit floats as close as on a CPU, bfloat16 within 2 %.
//! `cargo test --release -p inference --features cuda --test gpu -- --include-ignored` on a machine with a GPU.

#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

#[allow(dead_code, reason = "other tests use more of it")]
mod parity_reference;
#[allow(dead_code, reason = "other tests use more of it")]
mod parity_weights;

use inference::compute::{Compute, ComputeType, EngineOptions};
use inference::device::DeviceChoice;
use inference::directory::ModelDirectory;
use inference::marian::Marian;
use inference::mel::LogMel;
use inference::text_network::TextNetwork;
use inference::whisper::Whisper;
use parity_reference::Reference;
use parity_weights::sound;

const SAMPLES: usize = 51_200;

/// The greatest difference allowed, in units of the greatest logit.
fn allowed(compute: ComputeType) -> f32 {
    if compute == ComputeType::F32 { 1e-4 } else { 2e-2 }
}

fn on_gpu(compute: ComputeType) -> Compute {
    Compute::open(&EngineOptions { device: DeviceChoice::Cuda(0), compute, threads: 0 }).unwrap()
}

/// Logits on a CPU in 32-bit floats, which the parity tests hold against the reference, and on the GPU.
fn compare(what: &str, compute: ComputeType, exact: &[f32], found: &[f32]) {
    let most = exact.iter().fold(0f32, |most, value| most.max(value.abs()));
    let off = exact.iter().zip(found).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / most;
    eprintln!("{what} in {compute}: {off:.2e} of the greatest logit");
    assert_eq!(exact.len(), found.len());
    assert!(off <= allowed(compute), "{what} in {compute} is off by {off}");
}

fn whisper_logits(directory: &ModelDirectory, compute: &Compute, prompt: &[u32]) -> Vec<f32> {
    let whisper = Whisper::load(directory, compute).unwrap();
    let frames = 3_000;
    let sources = whisper.sources(&[LogMel::new(80).compute(&sound(0, SAMPLES), frames)], frames).unwrap();
    let mut batch = whisper.decoder().batch(&sources).unwrap();
    let hidden = whisper.decoder().forward(&[prompt.to_vec()], &mut batch).unwrap();
    let logits = whisper.decoder().logits(&hidden).unwrap();
    logits.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn marian_logits(directory: &ModelDirectory, compute: &Compute, sources: &[Vec<u32>]) -> Vec<f32> {
    let marian = Marian::load(directory, compute).unwrap();
    let mut batch = marian.decoder().batch(&marian.sources(sources).unwrap()).unwrap();
    let prompts = vec![vec![marian.config().start(), 17, 4711]; sources.len()];
    let logits = marian.decoder().logits(&marian.decoder().forward(&prompts, &mut batch).unwrap()).unwrap();
    logits.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
#[ignore = "wants an NVIDIA GPU; `cargo xtask prove engine` runs it where there is one"]
fn a_gpu_agrees_with_the_cpu() {
    let exact = Compute::open(&EngineOptions { compute: ComputeType::F32, ..EngineOptions::default() }).unwrap();
    let types = [ComputeType::F32, ComputeType::Bf16, ComputeType::F16];
    let reference = Reference::case("whisper", "tiny");
    let dir = tempfile::tempdir().unwrap();
    reference.write_model(dir.path());
    let directory = ModelDirectory::open(dir.path()).unwrap();
    let prompt = reference.list("/text");
    let cpu = whisper_logits(&directory, &exact, &prompt);
    for compute in types {
        compare("whisper", compute, &cpu, &whisper_logits(&directory, &on_gpu(compute), &prompt));
    }
    let reference = Reference::case("marian", "opus-mt");
    let dir = tempfile::tempdir().unwrap();
    reference.write_model(dir.path());
    let directory = ModelDirectory::open(dir.path()).unwrap();
    let sources: Vec<Vec<u32>> = reference.read("/sources");
    let cpu = marian_logits(&directory, &exact, &sources);
    for compute in types {
        compare("marian", compute, &cpu, &marian_logits(&directory, &on_gpu(compute), &sources));
    }
}
