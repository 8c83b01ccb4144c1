//! Translation: encoder and logits of a padded batch, and texts, of one case.

use candle_core::{IndexOp, Tensor};
use inference::decode::Rules;
use inference::m2m100::M2m100;
use inference::marian::Marian;
use inference::t5::T5;
use inference::text_network::TextNetwork;
use serde::Deserialize;

use crate::parity_reference::Reference;
use crate::parity_sequences::{self, FEW, Texts};
use crate::{Way, close, each_way, hidden_at_once, hidden_one_by_one, model, pick};

#[derive(Deserialize)]
struct Sequence {
    source: Vec<u32>,
    #[serde(flatten)]
    texts: Texts,
}

pub(crate) fn marian(reference: &Reference) {
    let (_folder, directory) = model(reference);
    each_way(|way| check(reference, &Marian::load(&directory, &way.compute).unwrap(), way));
}

pub(crate) fn m2m100(reference: &Reference) {
    let (_folder, directory) = model(reference);
    each_way(|way| check(reference, &M2m100::load(&directory, &way.compute).unwrap(), way));
}

pub(crate) fn t5(reference: &Reference) {
    let (_folder, directory) = model(reference);
    each_way(|way| check(reference, &T5::load(&directory, &way.compute).unwrap(), way));
}

fn check(reference: &Reference, network: &dyn TextNetwork, way: &Way) {
    sides(reference, network);
    let mut sequences: Vec<Sequence> = reference.read("/sequences");
    if !way.thorough {
        sequences.truncate(FEW);
    }
    let sources: Vec<Vec<u32>> = sequences.iter().map(|one| one.source.clone()).collect();
    let texts: Vec<Texts> = sequences.into_iter().map(|one| one.texts).collect();
    let rules = Rules::new(network.decoder(), reference.read("/end"), &reference.list("/never"), &[]).unwrap();
    parity_sequences::check(network.decoder(), &rules, &network.sources(&sources).unwrap(), &texts);
}

/// The encoder at both ends of each row; the logits of one text behind all of them, at chosen steps.
fn sides(reference: &Reference, network: &dyn TextNetwork) {
    let decoder = network.decoder();
    let rows: Vec<Vec<u32>> = reference.read("/sources");
    let encoded = network.encode(&rows).unwrap();
    let ends = |(i, row): (usize, &Vec<u32>)| pick(&encoded.i(i).unwrap(), 0, &[0, row.len() as u32 - 1]);
    let ends: Vec<Tensor> = rows.iter().enumerate().map(ends).collect();
    close(reference, "encoder", &pick(&Tensor::stack(&ends, 0).unwrap(), 2, &reference.list("/dims")));

    let (text, steps, ids) = (reference.list("/text"), reference.list("/steps"), reference.list("/ids"));
    let places = (0..rows.len()).flat_map(|row| steps.iter().map(move |step| (row, *step)));
    let places: Vec<u32> = places.map(|(row, step)| (row * text.len()) as u32 + step).collect();
    let texts = vec![text; rows.len()];
    let sources = network.sources(&rows).unwrap();
    for hidden in [hidden_at_once(decoder, &sources, &texts), hidden_one_by_one(decoder, &sources, &texts)] {
        close(reference, "logits", &pick(&decoder.logits(&pick(&hidden, 0, &places)).unwrap(), 1, &ids));
    }
}
