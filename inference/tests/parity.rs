//! Our Whisper and Marian against Hugging Face transformers, with the real configurations of whisper-tiny and
//! opus-mt-en-es and random weights. training/reference/make_fixtures.py stored the reference numbers; the weights are
//! made anew here, written as a model directory and loaded as any other model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

mod parity_reference;
mod parity_weights;

use candle_core::{Device, IndexOp, Tensor};
use inference::compute::{Compute, Precision};
use inference::decode::{Decoded, Decoding, Rules, Strategy, Task};
use inference::decoder::{Decoder, Source};
use inference::directory::ModelDirectory;
use inference::marian::Marian;
use inference::mel::LogMel;
use inference::text_network::TextNetwork;
use inference::whisper::Whisper;
use parity_reference::Reference;
use parity_weights::signal;

/// Largest difference allowed, in 32-bit floats.
const TOLERANCE: f32 = 1e-3;
const SAMPLES: usize = 51_200;

fn close(reference: &Reference, name: &str, computed: &Tensor) {
    let distance = reference.distance(name, computed);
    eprintln!("{name}: largest difference {distance:.2e}");
    assert!(distance <= TOLERANCE, "{name} differs by {distance}");
}

fn pick(tensor: &Tensor, dim: usize, ids: &[u32]) -> Tensor {
    tensor.contiguous().unwrap().index_select(&Tensor::new(ids, &Device::Cpu).unwrap(), dim).unwrap()
}

fn number(value: &serde_json::Value) -> f32 {
    value.as_f64().unwrap() as f32
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

/// Our kernels and candle's operations: both must agree with the reference.
fn ways() -> [(&'static str, Compute); 2] {
    [("kernels", Compute::host(Precision::F32)), ("candle", Compute::candle(&Device::Cpu))]
}

fn greedy(decoder: &Decoder, rules: &Rules, sources: &[Source], tasks: Vec<Task>) -> Vec<Decoded> {
    let mut decoding = Decoding::new(1);
    let requests = sources.iter().cloned().zip(tasks).enumerate().map(|(i, (source, task))| (i, source, task));
    let mut done = decoding.admit(decoder, rules, requests.collect()).unwrap();
    while !decoding.is_empty() {
        done.extend(decoding.step(decoder, rules).unwrap());
    }
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, decoded)| decoded).collect()
}

fn task(prompt: &[u32], limit: usize) -> Task {
    Task { prompt: prompt.to_vec(), fresh: true, limit, strategy: Strategy::Greedy, timestamps: false, probe: None }
}

#[test]
fn whisper_equals_transformers_in_a_full_and_in_a_trimmed_window() {
    let reference = Reference::load("whisper");
    let dir = tempfile::tempdir().unwrap();
    reference.write_model(dir.path());
    for (way, compute) in ways() {
        eprintln!("{way}:");
        let whisper = Whisper::load(&ModelDirectory::open(dir.path()).unwrap(), &compute).unwrap();
        for window in ["full", "trimmed"] {
            whisper_equals(&whisper, &reference, window);
        }
    }
}

fn whisper_equals(whisper: &Whisper, reference: &Reference, window: &str) {
    let decoder = whisper.decoder();
    let (prompt, forced) = (reference.list("/prompt"), reference.list("/forced"));
    let (dims, ids) = (reference.list("/dims"), reference.list("/ids"));
    let end = reference.at("/end").as_u64().unwrap() as u32;
    let not_first = reference.list("/config/begin_suppress_tokens");
    let rules = Rules::new(decoder, end, &reference.list("/never"), &not_first).unwrap();
    let frames = 2 * reference.at(&format!("/{window}/positions")).as_u64().unwrap() as usize;
    let encoded = whisper.encode(&[LogMel::new(80).compute(&signal(SAMPLES), frames)], frames).unwrap();
    let kept = pick(&encoded.i(0).unwrap(), 0, &reference.list(&format!("/{window}/kept")));
    close(reference, &format!("encoder_{window}"), &pick(&kept, 1, &dims));

    let sources = decoder.remember(&encoded, &[frames / 2]).unwrap();
    let whole = [prompt.as_slice(), &forced].concat();
    let logits = logits_at_once(decoder, &sources, &[whole.clone()]);
    close(reference, &format!("logits_{window}"), &pick(&logits, 1, &ids));
    let stepwise = logits_one_by_one(decoder, &sources, &whole);
    close(reference, &format!("logits_{window}"), &pick(&stepwise, 1, &ids));

    let task = Task { probe: Some((0, 50362)), ..task(&prompt, 12) };
    let decoded = greedy(decoder, &rules, &sources, vec![task]).remove(0);
    assert_eq!(decoded.tokens, reference.list(&format!("/{window}/tokens")), "{window}");
    assert!((decoded.avg_logprob - number(reference.at(&format!("/{window}/avg_logprob")))).abs() < TOLERANCE);
    let no_speech = number(reference.at(&format!("/{window}/no_speech")));
    assert!((decoded.probed / no_speech - 1.0).abs() < TOLERANCE, "{} {no_speech}", decoded.probed);
}

fn logits_at_once(decoder: &Decoder, sources: &[Source], rows: &[Vec<u32>]) -> Tensor {
    let mut batch = decoder.batch(sources).unwrap();
    decoder.logits(&decoder.forward(rows, &mut batch).unwrap()).unwrap()
}

fn logits_one_by_one(decoder: &Decoder, sources: &[Source], tokens: &[u32]) -> Tensor {
    let mut batch = decoder.batch(sources).unwrap();
    let step = |token: &u32| decoder.logits(&decoder.forward(&[vec![*token]], &mut batch).unwrap()).unwrap();
    Tensor::cat(&tokens.iter().map(step).collect::<Vec<_>>(), 0).unwrap()
}

#[test]
fn marian_equals_transformers_in_a_batch_of_unequal_lengths() {
    let reference = Reference::load("marian");
    let dir = tempfile::tempdir().unwrap();
    reference.write_model(dir.path());
    for (way, compute) in ways() {
        eprintln!("{way}:");
        marian_equals(&Marian::load(&ModelDirectory::open(dir.path()).unwrap(), &compute).unwrap(), &reference);
    }
}

fn marian_equals(marian: &Marian, reference: &Reference) {
    let decoder = marian.decoder();
    let sources: Vec<Vec<u32>> = serde_json::from_value(reference.at("/sources").clone()).unwrap();
    let (dims, ids, forced) = (reference.list("/dims"), reference.list("/ids"), reference.list("/forced"));

    let encoded = marian.encode(&sources).unwrap();
    let ends = |(i, row): (usize, &Vec<u32>)| pick(&encoded.i(i).unwrap(), 0, &[0, row.len() as u32 - 1]);
    let ends: Vec<Tensor> = sources.iter().enumerate().map(ends).collect();
    close(reference, "encoder", &pick(&Tensor::stack(&ends, 0).unwrap(), 2, &dims));

    let start = marian.config().start();
    let prompt = [&[start], forced.as_slice()].concat();
    let remembered = marian.sources(&sources).unwrap();
    let logits = logits_at_once(decoder, &remembered, &vec![prompt; sources.len()]);
    close(reference, "logits", &pick(&logits, 1, &ids));

    let rules = Rules::new(decoder, marian.config().eos_token_id, &[marian.config().pad_token_id], &[]).unwrap();
    let decoded = greedy(decoder, &rules, &remembered, vec![task(&[start], 12); sources.len()]);
    for (i, row) in decoded.iter().enumerate() {
        assert_eq!(row.tokens, reference.list(&format!("/rows/{i}/tokens")), "row {i}");
        let logprob = number(reference.at(&format!("/rows/{i}/avg_logprob")));
        assert!((row.avg_logprob - logprob).abs() < TOLERANCE, "row {i}: {} {logprob}", row.avg_logprob);
    }
}
