//! Tells sounds that keep their level (hum, hiss, tones) from speech, which never does.

use std::collections::VecDeque;

/// How long a sound must keep its level to count as steady: 256 ms, longer than a stressed vowel.
const WINDOW_SAMPLES: usize = 4_096;
/// Levels within so many decibels are the same level; speech moves by 10 dB and more from syllable to syllable.
const STEADY_DB: f32 = 2.0;
/// Level of digital silence, and of anything softer, in dBFS.
const SILENCE_DB: f32 = -90.0;

/// Power of a frame (mean square) relative to full scale.
pub(crate) fn power(frame: &[i16]) -> f32 {
    // In whole numbers, of which a processor adds several at once.
    let sum: i64 = frame.iter().map(|&s| i64::from(i32::from(s) * i32::from(s))).sum();
    sum as f32 / (frame.len().max(1) as f32 * 32768.0 * 32768.0)
}

/// The level of a power relative to full scale, in decibels.
pub(crate) fn power_db(power: f32) -> f32 {
    (10.0 * power.max(1e-12).log10()).max(SILENCE_DB)
}

/// Watches the level of one stream.
#[derive(Debug)]
pub(crate) struct Steadiness {
    /// Frames watched.
    window: usize,
    levels: VecDeque<f32>,
    last_power: f32,
}

impl Steadiness {
    pub(crate) fn new(frame_samples: usize) -> Self {
        Self { window: WINDOW_SAMPLES.div_ceil(frame_samples), levels: VecDeque::new(), last_power: 0.0 }
    }

    /// Takes in the power of a frame; whether the sound has kept its level up to its end. Until enough has been heard it has: a
    /// stream that begins in the middle of a noise must not look like a sudden sound.
    pub(crate) fn hear(&mut self, power: f32) -> bool {
        // Two frames together, because one may hold less than a whole wave of a low hum.
        let newest = power_db(f32::midpoint(power, self.last_power));
        self.levels.push_back(newest);
        self.last_power = power;
        if self.levels.len() <= self.window {
            return true;
        }
        self.levels.pop_front();
        // Most often one of the first already tells.
        if self.levels.iter().any(|db| (newest - db).abs() >= STEADY_DB) {
            return false;
        }
        let (low, high) = self.levels.iter().fold((f32::MAX, f32::MIN), |(l, h), &db| (l.min(db), h.max(db)));
        high - low < STEADY_DB
    }

    pub(crate) fn reset(&mut self) {
        self.levels.clear();
        self.last_power = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buzz(amplitude: i16) -> Vec<i16> {
        (0..256).map(|n| if n % 32 < 16 { amplitude } else { -amplitude }).collect()
    }

    #[test]
    fn levels_are_relative_to_full_scale() {
        assert!((power_db(power(&buzz(16_384))) + 6.02).abs() < 0.01);
        assert_eq!(power_db(power(&[0; 256])), SILENCE_DB);
        assert!((power(&[i16::MIN; 256]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_buzz_is_steady_until_it_changes() {
        let mut steadiness = Steadiness::new(256);
        let mut hear = |amplitude| steadiness.hear(power(&buzz(amplitude)));
        assert!((0..40).all(|_| hear(3000)));
        assert!(!hear(6000));
        assert!((0..40).any(|_| hear(6000)), "it never becomes steady again");
    }
}
