//! Our Whisper and Marian against Hugging Face transformers, with the real configurations of whisper-tiny and
//! opus-mt-en-es and random weights. training/reference/make_fixtures.py stored the reference numbers; the weights are
//! made anew here, written as a model directory and loaded as any other model.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there and then")]

mod parity_reference;
mod parity_weights;

use candle_core::{Device, IndexOp, Tensor};
use inference::decoder::Decoder;
use inference::directory::ModelDirectory;
use inference::greedy::{Probe, Row, Rules, greedy};
use inference::marian::Marian;
use inference::mel::LogMel;
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
        let features = Tensor::from_vec(features, (bands, frames), &Device::Cpu).unwrap();
        close(&reference, name, &pick(&features, 1, &reference.list(&format!("/{name}/frames"))));
    }
}

fn load_whisper(reference: &Reference) -> Whisper {
    let dir = tempfile::tempdir().unwrap();
    reference.write_model(dir.path());
    Whisper::load(&ModelDirectory::open(dir.path()).unwrap(), &Device::Cpu).unwrap()
}

#[test]
fn whisper_equals_transformers_in_a_full_and_in_a_trimmed_window() {
    let reference = Reference::load("whisper");
    let whisper = load_whisper(&reference);
    let decoder = whisper.decoder();
    let (prompt, forced) = (reference.list("/prompt"), reference.list("/forced"));
    let (dims, ids) = (reference.list("/dims"), reference.list("/ids"));
    let end = reference.at("/end").as_u64().unwrap() as u32;
    let not_first = reference.list("/config/begin_suppress_tokens");
    let rules = Rules::new(decoder, end, &reference.list("/never"), &not_first).unwrap();
    let mut mel = LogMel::new(80);
    for window in ["full", "trimmed"] {
        let frames = 2 * reference.at(&format!("/{window}/positions")).as_u64().unwrap() as usize;
        let encoded = whisper.encode(&[mel.compute(&signal(SAMPLES), frames)], frames).unwrap();
        let kept = pick(&encoded.i(0).unwrap(), 0, &reference.list(&format!("/{window}/kept")));
        close(&reference, &format!("encoder_{window}"), &pick(&kept, 1, &dims));

        let mut state = decoder.begin(&encoded, None).unwrap();
        let whole = [prompt.as_slice(), &forced].concat();
        let logits = logits_at_once(decoder, &mut state, &whole);
        close(&reference, &format!("logits_{window}"), &pick(&logits, 1, &ids));
        let stepwise = logits_one_by_one(decoder, &mut state, &whole);
        close(&reference, &format!("logits_{window}"), &pick(&stepwise, 1, &ids));

        let rows = [Row { prompt: prompt.clone(), fresh: true, limit: 12 }];
        let probe = Probe { positions: &[0], token: 50362 };
        let decoded = greedy(decoder, &mut state, &rows, &rules, Some(probe)).unwrap().remove(0);
        assert_eq!(decoded.tokens, reference.list(&format!("/{window}/tokens")), "{window}");
        assert!((decoded.avg_logprob - number(reference.at(&format!("/{window}/avg_logprob")))).abs() < TOLERANCE);
        let no_speech = number(reference.at(&format!("/{window}/no_speech")));
        assert!((decoded.probed / no_speech - 1.0).abs() < TOLERANCE, "{} {no_speech}", decoded.probed);
    }
}

fn logits_at_once(decoder: &Decoder, state: &mut inference::decoder::DecoderState, tokens: &[u32]) -> Tensor {
    state.restart(&vec![0; state.rows()], tokens.len()).unwrap();
    decoder.logits(&decoder.forward(tokens, state).unwrap()).unwrap()
}

fn logits_one_by_one(decoder: &Decoder, state: &mut inference::decoder::DecoderState, tokens: &[u32]) -> Tensor {
    state.restart(&vec![0; state.rows()], tokens.len()).unwrap();
    let step = |token: &u32| decoder.logits(&decoder.forward(&[*token], state).unwrap()).unwrap();
    Tensor::cat(&tokens.iter().map(step).collect::<Vec<_>>(), 0).unwrap()
}

#[test]
fn marian_equals_transformers_in_a_batch_of_unequal_lengths() {
    let reference = Reference::load("marian");
    let dir = tempfile::tempdir().unwrap();
    reference.write_model(dir.path());
    let marian = Marian::load(&ModelDirectory::open(dir.path()).unwrap(), &Device::Cpu).unwrap();
    let decoder = marian.decoder();
    let sources: Vec<Vec<u32>> = serde_json::from_value(reference.at("/sources").clone()).unwrap();
    let (dims, ids, forced) = (reference.list("/dims"), reference.list("/ids"), reference.list("/forced"));

    let encoded = marian.encode(&sources).unwrap();
    let ends = |(i, row): (usize, &Vec<u32>)| pick(&encoded.i(i).unwrap(), 0, &[0, row.len() as u32 - 1]);
    let ends: Vec<Tensor> = sources.iter().enumerate().map(ends).collect();
    close(&reference, "encoder", &pick(&Tensor::stack(&ends, 0).unwrap(), 2, &dims));

    let start = marian.config().start();
    let prompt = [&[start], forced.as_slice()].concat();
    let mut state = marian.begin(&sources).unwrap();
    let logits = logits_at_once(decoder, &mut state, &prompt.repeat(sources.len()));
    close(&reference, "logits", &pick(&logits, 1, &ids));

    let rules = Rules::new(decoder, marian.config().eos_token_id, &[marian.config().pad_token_id], &[]).unwrap();
    let rows = vec![Row { prompt: vec![start], fresh: true, limit: 12 }; sources.len()];
    let decoded = greedy(decoder, &mut state, &rows, &rules, None).unwrap();
    for (i, row) in decoded.iter().enumerate() {
        assert_eq!(row.tokens, reference.list(&format!("/rows/{i}/tokens")), "row {i}");
        let logprob = number(reference.at(&format!("/rows/{i}/avg_logprob")));
        assert!((row.avg_logprob - logprob).abs() < TOLERANCE, "row {i}: {} {logprob}", row.avg_logprob);
    }
}
