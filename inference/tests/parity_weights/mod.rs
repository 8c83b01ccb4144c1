//! The random weights and the made-up sound of training/reference/weights.py, number for number: change both.

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

const BIAS_SCALE: f32 = 0.1;
const LAYER_FACTOR: f64 = 0.5;
const ATTENTION_FACTOR: f64 = 1.5;

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
pub(crate) fn tensor(name: &str, shape: &[usize]) -> Tensor {
    let mut values = uniform(name, shape.iter().product());
    if name.ends_with("layer_norm.weight") {
        values.iter_mut().for_each(|v| *v = *v * 0.5 + if *v < 0.0 { -0.75 } else { 0.75 });
    } else {
        let scale = scale(name, shape);
        values.iter_mut().for_each(|v| *v *= scale);
    }
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn scale(name: &str, shape: &[usize]) -> f32 {
    if name.ends_with("bias") {
        return BIAS_SCALE;
    }
    let factor = if name.ends_with("out_proj.weight") || name.ends_with("fc2.weight") {
        LAYER_FACTOR
    } else if name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") {
        ATTENTION_FACTOR
    } else {
        1.0
    };
    (factor * (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt()) as f32
}

/// The made-up sound.
pub(crate) fn signal(samples: usize) -> Vec<f32> {
    let noise = uniform("noise", samples);
    let sample = |i: usize| {
        let t = i as f64 / 16_000.0;
        if (1.2..1.6).contains(&t) {
            return 0.0;
        }
        let beat = 0.3 * (2.0 * PI * 220.0 * t).sin() * (0.5 + 0.5 * (2.0 * PI * 3.0 * t).sin());
        let rise = 0.2 * (2.0 * PI * (400.0 * t + 300.0 * t * t)).sin();
        (beat + rise + f64::from(0.05f32 * noise[i])) as f32
    };
    (0..samples).map(sample).collect()
}

/// A file that training/reference/make_fixtures.py stored.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/parity").join(name)
}
