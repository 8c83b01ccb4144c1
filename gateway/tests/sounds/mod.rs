//! Sounds to try the VAD with, all 16 kHz mono in -1..1 and the same on every run.

use std::{f64::consts::TAU, path::Path};

/// Samples per second, as a float for phases.
const RATE: f64 = 16_000.0;

/// SplitMix64: small, seedable, good enough for noise.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Even in `low..high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Normal with mean 0 and variance 1 (Box-Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.between(1e-12, 1.0).ln()).sqrt() * (TAU * self.between(0.0, 1.0)).cos()
    }
}

/// Amplitude ratio of a level in decibels.
pub(crate) fn gain(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}

/// Root mean square.
pub(crate) fn rms(samples: &[f64]) -> f64 {
    (samples.iter().map(|s| s * s).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

/// `samples` brought to a root mean square of `db` relative to full scale.
pub(crate) fn at_level(mut samples: Vec<f64>, db: f64) -> Vec<f64> {
    let factor = gain(db) / rms(&samples).max(1e-12);
    samples.iter_mut().for_each(|s| *s *= factor);
    samples
}

pub(crate) fn white(dice: &mut Dice, len: usize) -> Vec<f64> {
    (0..len).map(|_| dice.normal()).collect()
}

/// Noise falling by 3 dB an octave: the sum of white noises of which each is renewed half as often as the one before.
pub(crate) fn pink(dice: &mut Dice, len: usize) -> Vec<f64> {
    let mut rows = [0.0; 12];
    let mut sample = |n: usize| {
        for (row, value) in rows.iter_mut().enumerate() {
            if n.is_multiple_of(1 << row) {
                *value = dice.normal();
            }
        }
        rows.iter().sum::<f64>()
    };
    (0..len).map(&mut sample).collect()
}

/// Noise falling by 6 dB an octave, as of wind or a fan.
pub(crate) fn brown(dice: &mut Dice, len: usize) -> Vec<f64> {
    let mut at = 0.0;
    let mut walk = || {
        at = at * 0.998 + dice.normal();
        at
    };
    (0..len).map(|_| walk()).collect()
}

/// Mains hum: `base` Hz and nine harmonics, each weaker and of random strength and phase.
pub(crate) fn hum(dice: &mut Dice, base: f64, len: usize) -> Vec<f64> {
    let partials: Vec<_> = (1..=10)
        .map(|k| (base * f64::from(k), dice.between(0.2, 1.0) / f64::from(k), dice.between(0.0, TAU)))
        .collect();
    let sample = |n: usize| partials.iter().map(|(hz, a, phase)| a * (TAU * hz * n as f64 / RATE + phase).sin()).sum();
    (0..len).map(sample).collect()
}

pub(crate) fn tone(dice: &mut Dice, hz: f64, len: usize) -> Vec<f64> {
    let phase = dice.between(0.0, TAU);
    (0..len).map(|n| (TAU * hz * n as f64 / RATE + phase).sin()).collect()
}

/// Somebody types: 3 to 9 strokes a second, each a burst of noise on a short ring, over a faint room.
pub(crate) fn key_clicks(dice: &mut Dice, len: usize) -> Vec<f64> {
    let mut wave: Vec<f64> = white(dice, len).iter().map(|s| s * 1e-3).collect();
    let mut at = dice.between(0.0, 4000.0) as usize;
    while at < len {
        let (ring, decay, loud) = (dice.between(900.0, 5000.0), dice.between(20.0, 90.0), dice.between(0.1, 0.7));
        for (n, sample) in wave[at..].iter_mut().take(1200).enumerate() {
            let fade = (-(n as f64) / decay).exp();
            *sample += loud * fade * (0.6 * dice.normal() + 0.4 * (TAU * ring * n as f64 / RATE).sin());
        }
        at += dice.between(16_000.0 / 9.0, 16_000.0 / 3.0) as usize;
    }
    wave
}

/// To samples; louder than full scale is clipped, as a microphone would.
pub(crate) fn to_i16(samples: &[f64]) -> Vec<i16> {
    samples.iter().map(|s| (s * 32767.0).clamp(-32768.0, 32767.0) as i16).collect()
}

/// A sentence of tests/fixtures/speech.
pub(crate) fn speech(name: &str) -> Vec<f64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/speech").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let data = bytes.windows(4).position(|word| word == b"data");
    let data = data.unwrap_or_else(|| panic!("{} has no data chunk", path.display())) + 8;
    bytes[data..].chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect()
}
