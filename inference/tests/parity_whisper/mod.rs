//! Whisper: encoder, logits, texts and cross-attention of one case.

use candle_core::{Device, IndexOp, Tensor};
use inference::decode::{Decoding, Rules, Strategy, Task};
use inference::decoder::{Source, Watch};
use inference::mel::LogMel;
use inference::whisper::Whisper;
use serde::Deserialize;

use crate::parity_reference::Reference;
use crate::parity_sequences::{self, FEW, Texts};
use crate::parity_weights::sound;
use crate::{SAMPLES, TOLERANCE, Way, close, each_way, hidden_at_once, hidden_one_by_one, model, pick};

#[derive(Deserialize)]
struct Sequence {
    sound: u32,
    #[serde(flatten)]
    texts: Texts,
}

pub(crate) fn check(reference: &Reference) {
    let (_folder, directory) = model(reference);
    each_way(|way| {
        let whisper = Whisper::load(&directory, &way.compute).unwrap();
        sides(reference, &whisper, "trimmed");
        if way.thorough {
            sides(reference, &whisper, "full");
        }
        attention(reference, &whisper);
        sequences(reference, &whisper, way);
    });
}

/// Encoder frames of a window, and the sounds' features in it.
fn features(reference: &Reference, whisper: &Whisper, window: &str, sounds: &[u32]) -> (Vec<Vec<f32>>, usize) {
    let frames = 2 * reference.read::<usize>(&format!("/windows/{window}/positions"));
    let mut mel = LogMel::new(whisper.config().num_mel_bins);
    (sounds.iter().map(|one| mel.compute(&sound(*one, SAMPLES), frames)).collect(), frames)
}

fn sides(reference: &Reference, whisper: &Whisper, window: &str) {
    let decoder = whisper.decoder();
    let (rows, frames) = features(reference, whisper, window, &[0]);
    let encoded = whisper.encode(&rows, frames).unwrap();
    let kept = pick(&encoded.i(0).unwrap(), 0, &reference.list(&format!("/windows/{window}/kept")));
    close(reference, &format!("encoder_{window}"), &pick(&kept, 1, &reference.list("/dims")));

    let sources = decoder.remember(&encoded, &[frames / 2]).unwrap();
    let (text, ids) = ([reference.list("/text")], reference.list("/ids"));
    for hidden in [hidden_at_once(decoder, &sources, &text), hidden_one_by_one(decoder, &sources, &text)] {
        close(reference, &format!("logits_{window}"), &pick(&decoder.logits(&hidden).unwrap(), 1, &ids));
    }
    no_speech(reference, whisper, window, &sources[0]);
}

/// The probability of "no speech" right after the start token.
fn no_speech(reference: &Reference, whisper: &Whisper, window: &str, source: &Source) {
    let task = Task {
        prompt: reference.list("/text"),
        fresh: false,
        limit: 1,
        strategy: Strategy::Greedy,
        timestamps: false,
        probe: Some((0, reference.read("/no_speech"))),
        bias: None,
        text_from: 0,
    };
    let rules = rules(reference, whisper);
    let done = Decoding::new(1).admit(whisper.decoder(), &rules, vec![((), source.clone(), task)]).unwrap();
    let (ours, theirs) = (done[0].1.probed, reference.read::<f32>(&format!("/windows/{window}/no_speech")));
    assert!((ours / theirs - 1.0).abs() < TOLERANCE, "{ours} {theirs}");
}

/// Cross-attention of two heads over the text, each token told the one before: what word timestamps are made of.
fn attention(reference: &Reference, whisper: &Whisper) {
    let decoder = whisper.decoder();
    let (rows, frames) = features(reference, whisper, "trimmed", &[0]);
    let heads: Vec<(usize, usize)> = reference.read("/attention_heads");
    let mut watch = Watch::new(&heads);
    let text = reference.list("/text");
    let mut batch = decoder.batch(&whisper.sources(&rows, frames).unwrap()).unwrap();
    decoder.forward_watched(std::slice::from_ref(&text), &mut batch, Some(&mut watch)).unwrap();
    let shares = Tensor::from_vec(watch.shares.concat(), (heads.len(), text.len(), frames / 2), &Device::Cpu).unwrap();
    close(reference, "attention", &shares);
}

fn rules(reference: &Reference, whisper: &Whisper) -> Rules {
    let not_first = reference.list("/config/begin_suppress_tokens");
    Rules::new(whisper.decoder(), reference.read("/end"), &reference.list("/never"), &not_first).unwrap()
}

fn sequences(reference: &Reference, whisper: &Whisper, way: &Way) {
    let mut sequences: Vec<Sequence> = reference.read("/sequences");
    if !way.thorough {
        sequences.truncate(FEW);
    }
    if sequences.is_empty() {
        return; // Of the deep cuts only numbers are known.
    }
    let sounds: Vec<u32> = sequences.iter().map(|one| one.sound).collect();
    let (rows, frames) = features(reference, whisper, "trimmed", &sounds);
    let texts: Vec<Texts> = sequences.into_iter().map(|one| one.texts).collect();
    let sources = whisper.sources(&rows, frames).unwrap();
    parity_sequences::check(whisper.decoder(), &rules(reference, whisper), &sources, &texts);
}
