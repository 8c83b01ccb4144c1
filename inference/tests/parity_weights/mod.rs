//! The random weights and the made-up sound of training/reference/weights.py, number for number: change both.

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

const BIAS_SCALE: f32 = 0.1;
const LAYER_FACTOR: f64 = 0.5;
const ATTENTION_FACTOR: f64 = 1.5;
/// T5 does not divide its scores by the root of the head size.
const UNSCALED_ATTENTION_FACTOR: f64 = 0.45;

/// Endings of the names of tensors that get another scale, and the factor on it. The first that fits counts.
const FACTORS: [(&str, f64); 8] = [
    ("out_proj.weight", LAYER_FACTOR),
    ("fc2.weight", LAYER_FACTOR),
    (".o.weight", LAYER_FACTOR),
    (".wo.weight", LAYER_FACTOR),
    ("q_proj.weight", ATTENTION_FACTOR),
    ("k_proj.weight", ATTENTION_FACTOR),
    (".q.weight", UNSCALED_ATTENTION_FACTOR),
    (".k.weight", UNSCALED_ATTENTION_FACTOR),
];

/// `count` numbers in [-1, 1): splitmix64 from the FNV-1a hash of the name.
pub(crate) fn uniform(name: &str, count: usize) -> Vec<f32> {
    let hash = |value: u64, byte| (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let number = |i: u64| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (1..=count as u64).map(number).collect()
}

/// The weights of one tensor.
#[allow(dead_code, reason = "not every test that has this module needs tensors")]
pub(crate) fn tensor(name: &str, shape: &[usize]) -> Tensor {
    Tensor::from_vec(values(name, shape), shape, &Device::Cpu).unwrap()
}

/// The same as plain numbers.
pub(crate) fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut values = uniform(name, shape.iter().product());
    if name.ends_with("layer_norm.weight") {
        values.iter_mut().for_each(|v| *v = *v * 0.5 + if *v < 0.0 { -0.75 } else { 0.75 });
    } else {
        let scale = scale(name, shape);
        values.iter_mut().for_each(|v| *v *= scale);
    }
    values
}

fn scale(name: &str, shape: &[usize]) -> f32 {
    if name.ends_with("bias") {
        return BIAS_SCALE;
    }
    if name == "shared.weight" || name.ends_with("relative_attention_bias.weight") {
        return 3f64.sqrt() as f32;
    }
    let factor = FACTORS.iter().find(|(ending, _)| name.ends_with(ending)).map_or(1.0, |(_, factor)| *factor);
    (factor * (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt()) as f32
}

/// The made-up sound.
pub(crate) fn signal(samples: usize) -> Vec<f32> {
    sound(0, samples)
}

/// The made-up sound at another pitch.
pub(crate) fn sound(variant: u32, samples: usize) -> Vec<f32> {
    let noise = uniform(&if variant == 0 { "noise".to_owned() } else { format!("noise {variant}") }, samples);
    let (low, start) = (f64::from(220 + 17 * variant), f64::from(400 + 31 * variant));
    let sample = |i: usize| {
        let t = i as f64 / 16_000.0;
        if (1.2..1.6).contains(&t) {
            return 0.0;
        }
        let beat = 0.3 * (2.0 * PI * low * t).sin() * (0.5 + 0.5 * (2.0 * PI * 3.0 * t).sin());
        let rise = 0.2 * (2.0 * PI * (start * t + 300.0 * t * t)).sin();
        (beat + rise + f64::from(0.05f32 * noise[i])) as f32
    };
    (0..samples).map(sample).collect()
}

/// A file that training/reference/make_fixtures.py stored.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/parity").join(name)
}
