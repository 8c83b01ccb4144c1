//! Whole texts: what our decoding loop says of the inputs of which the reference's greedy and beam-5 texts are known.

use std::fmt::Debug;

use inference::decode::{Decoded, Decoding, Rules, Strategy, Task};
use inference::decoder::{Decoder, Source};
use serde::Deserialize;

use crate::TOLERANCE;

/// Tokens decoded, the reference's `max_new_tokens`.
const LIMIT: usize = 12;
const BEAMS: usize = 5;
/// Inputs decoded where a short look is enough.
pub(crate) const FEW: usize = 3;

/// What the reference decoded of one input.
#[derive(Debug, Deserialize)]
pub(crate) struct Texts {
    prompt: Vec<u32>,
    greedy: Greedy,
    beam: Beam,
}

#[derive(Debug, Deserialize)]
struct Greedy {
    tokens: Vec<u32>,
    avg_logprob: f32,
}

#[derive(Debug, Deserialize)]
struct Beam {
    tokens: Vec<u32>,
}

/// Decodes all inputs in one batch, greedily and with five beams, and holds each text against the reference's.
pub(crate) fn check(decoder: &Decoder, rules: &Rules, sources: &[Source], texts: &[Texts]) {
    assert_eq!(sources.len(), texts.len());
    let greedy = decode(decoder, rules, sources, texts, (1, Strategy::Greedy));
    for (i, (text, decoded)) in texts.iter().zip(greedy).enumerate() {
        assert_eq!(decoded.tokens, text.greedy.tokens, "greedy, input {i}");
        let (ours, theirs) = (decoded.avg_logprob, text.greedy.avg_logprob);
        assert!((ours - theirs).abs() < TOLERANCE, "input {i}: {ours} {theirs}");
    }
    let beam = decode(decoder, rules, sources, texts, (BEAMS, Strategy::Beam { length_penalty: 1.0 }));
    for (i, (text, decoded)) in texts.iter().zip(beam).enumerate() {
        assert_eq!(decoded.tokens, text.beam.tokens, "five beams, input {i}");
    }
}

fn decode(
    decoder: &Decoder,
    rules: &Rules,
    sources: &[Source],
    texts: &[Texts],
    (width, strategy): (usize, Strategy),
) -> Vec<Decoded> {
    let task = |text: &Texts| Task {
        prompt: text.prompt.clone(),
        fresh: true,
        limit: LIMIT,
        strategy,
        timestamps: false,
        probe: None,
        bias: None,
        text_from: 0,
    };
    let requests = sources.iter().zip(texts).enumerate().map(|(i, (source, text))| (i, source.clone(), task(text)));
    let mut decoding = Decoding::new(width);
    let mut done = decoding.admit(decoder, rules, requests.collect()).unwrap();
    while !decoding.is_empty() {
        done.extend(decoding.step(decoder, rules).unwrap());
    }
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, decoded)| decoded).collect()
}
