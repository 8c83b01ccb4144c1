//! Mono of any rate becomes 16 kHz, at a ratio that is steered while it runs.

use rubato::{
    Adjustable, Async, FixedAsync, Resampler, ResamplerConstructionError, SincInterpolationParameters, WindowFunction,
    audioadapter_buffers::direct::InterleavedSlice, calculate_cutoff,
};

use crate::{SAMPLE_RATE, pace::MAX_STEER};

/// Lowest and highest rate of a device, samples per second.
pub(crate) const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;
/// Input is converted in blocks of 10 ms.
const BLOCKS_PER_SECOND: usize = 100;
/// Shape of the anti-aliasing filter: side lobes below -90 dB.
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris2;
/// Taps of the filter, counted at the lower of the two rates: passes up to 0.89 of its half, as the gateway's does.
const FILTER_TAPS: usize = 128;

/// Converts one device's sound. The filter's delay is taken out.
#[derive(Debug)]
pub(crate) struct Converter {
    inner: Async<f32>,
    ratio: f64,
    steer: f64,
    block: usize,
    /// Input short of a block.
    waiting: Vec<f32>,
    /// Room for one block of output.
    room: Vec<f32>,
    /// Output samples still to drop: the filter's delay.
    delay_left: usize,
    /// Samples that the input so far lasts, and those handed out.
    owed: f64,
    given: f64,
}

impl Converter {
    /// From `rate` samples per second.
    pub(crate) fn new(rate: u32) -> Result<Self, ResamplerConstructionError> {
        let block = (rate as usize / BLOCKS_PER_SECOND).max(1);
        // The filter's length is given in input samples, so a high rate takes more of them for the same steepness.
        let taps = (FILTER_TAPS * rate.max(SAMPLE_RATE) as usize).div_ceil(SAMPLE_RATE as usize);
        let mut filter = SincInterpolationParameters::new(taps, WINDOW);
        filter.f_cutoff = Some(calculate_cutoff(FILTER_TAPS, WINDOW));
        let ratio = f64::from(SAMPLE_RATE) / f64::from(rate);
        let inner = Async::new_sinc(ratio, 1.0 + 2.0 * MAX_STEER, &filter, block, 1, FixedAsync::Input)?;
        let (room, delay_left) = (vec![0.0; inner.output_frames_max()], inner.output_delay());
        Ok(Self { inner, ratio, steer: 0.0, block, waiting: Vec::new(), room, delay_left, owed: 0.0, given: 0.0 })
    }

    /// From now on, input lasts `1 + steer` times as long. The pitch glides there within a block.
    #[expect(clippy::expect_used, reason = "the resampler was made for twice the greatest steer")]
    pub(crate) fn steer(&mut self, steer: f64) {
        let steer = steer.clamp(-MAX_STEER, MAX_STEER);
        if (steer - self.steer).abs() > f64::EPSILON {
            self.steer = steer;
            self.inner.set_resample_ratio_relative(1.0 + steer, true).expect("a ratio in range");
        }
    }

    /// Takes in mono samples and appends what they give to `out`.
    pub(crate) fn push(&mut self, sound: &[f32], out: &mut Vec<i16>) {
        self.waiting.extend_from_slice(sound);
        self.count(sound.len());
        self.run(out);
    }

    /// Takes in as much silence.
    pub(crate) fn silence(&mut self, samples: usize, out: &mut Vec<i16>) {
        self.waiting.resize(self.waiting.len() + samples, 0.0);
        self.count(samples);
        self.run(out);
    }

    /// Appends what is still under way, so that all output lasts as long as all input.
    pub(crate) fn finish(mut self, out: &mut Vec<i16>) {
        self.drain(out);
    }

    /// Appends what is still under way, and knows nothing of it when the next sound comes.
    pub(crate) fn restart(&mut self, out: &mut Vec<i16>) {
        self.drain(out);
        self.inner.reset();
        self.waiting.clear();
        self.delay_left = self.inner.output_delay();
        (self.steer, self.owed, self.given) = (0.0, 0.0, 0.0);
    }

    fn drain(&mut self, out: &mut Vec<i16>) {
        while self.given + 0.5 < self.owed {
            self.waiting.resize(self.block, 0.0);
            self.run(out);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a block or two")]
        let spare = (self.given - self.owed).round().max(0.0) as usize;
        out.truncate(out.len().saturating_sub(spare));
    }

    #[expect(clippy::cast_precision_loss, reason = "a few seconds of samples")]
    fn count(&mut self, samples: usize) {
        self.owed += samples as f64 * self.ratio * (1.0 + self.steer);
    }

    #[expect(clippy::expect_used, reason = "both buffers are made as long as the resampler asks for")]
    fn run(&mut self, out: &mut Vec<i16>) {
        let mut done = 0;
        while self.waiting.len() - done >= self.block {
            let room = self.room.len();
            let from = InterleavedSlice::new(&self.waiting[done..], 1, self.block).expect("a block waits");
            let mut to = InterleavedSlice::new_mut(&mut self.room, 1, room).expect("room for a block");
            let (used, made) = self.inner.process_into_buffer(&from, &mut to, None).expect("buffers fit");
            done += used;
            let skipped = self.delay_left.min(made);
            self.delay_left -= skipped;
            #[expect(clippy::cast_precision_loss, reason = "a block")]
            {
                self.given += (made - skipped) as f64;
            }
            out.extend(self.room[skipped..made].iter().map(|sample| to_i16(*sample)));
        }
        self.waiting.drain(..done);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i16 first")]
fn to_i16(sample: f32) -> i16 {
    (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const DEVICE_RATES: [u32; 11] = [8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176_400, 192_000];

    fn tone(rate: u32, hz: f64, seconds: f64) -> Vec<f32> {
        let samples = (f64::from(rate) * seconds) as u32;
        (0..samples).map(|n| ((TAU * hz * f64::from(n) / f64::from(rate)).sin() * 0.5) as f32).collect()
    }

    /// Signal to noise in dB of a piece that should be one sine: the best sine near `hz` is taken out of it.
    fn snr(piece: &[f64], hz: f64) -> f64 {
        let energy: f64 = piece.iter().map(|s| s * s).sum();
        let rest = |hz: f64| {
            let step = TAU * hz / f64::from(SAMPLE_RATE);
            let mut sums = [0.0; 5];
            for (n, s) in piece.iter().enumerate() {
                let (sin, cos) = (step * n as f64).sin_cos();
                let parts = [sin * sin, cos * cos, sin * cos, s * sin, s * cos];
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
            }
            let [ss, cc, sc, ys, yc] = sums;
            let det = ss * cc - sc * sc;
            let (a, b) = ((ys * cc - yc * sc) / det, (yc * ss - ys * sc) / det);
            let off = |(n, s): (usize, &f64)| {
                let (sin, cos) = (step * n as f64).sin_cos();
                (s - a * sin - b * cos).powi(2)
            };
            piece.iter().enumerate().map(off).sum::<f64>()
        };
        // Ternary search: within 1 % of the tone there is one lowest place.
        let (mut low, mut high) = (hz * 0.99, hz * 1.01);
        for _ in 0..40 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if rest(a) < rest(b) { high = b } else { low = a }
        }
        10.0 * (energy / rest(low)).log10()
    }

    #[test]
    fn output_lasts_as_long_as_input_and_is_in_phase_with_it_at_any_rate() {
        for rate in DEVICE_RATES {
            let mut converter = Converter::new(rate).unwrap();
            let mut out = Vec::new();
            tone(rate, 440.0, 1.5).chunks(1013).for_each(|piece| converter.push(piece, &mut out));
            converter.finish(&mut out);
            assert!(out.len().abs_diff(24_000) <= 1, "{rate} Hz: {} samples", out.len());
            // Half a sample off in time is 9 % of the amplitude at 440 Hz.
            let ideal = |n: usize| (TAU * 440.0 * n as f64 / 16_000.0).sin() * 16384.0;
            let worst = (800..23_200).map(|n| (f64::from(out[n]) - ideal(n)).abs()).fold(0.0, f64::max);
            assert!(worst < 16384.0 * 0.18, "{rate} Hz: off by {worst}");
        }
    }

    #[test]
    fn a_tone_stays_clean_while_it_is_steered() {
        for rate in [16_000, 44_100, 192_000] {
            let mut converter = Converter::new(rate).unwrap();
            let (mut out, mut steer) = (Vec::new(), 0.0_f64);
            // Up and down between both ends, at the greatest slew the pace allows.
            for (n, piece) in tone(rate, 1000.0, 60.0).chunks(rate as usize / 20).enumerate() {
                let way = if (n / 500) % 2 == 0 { 1.0 } else { -1.0 };
                steer = (steer + way * crate::pace::MAX_SLEW / 20.0).clamp(-MAX_STEER, MAX_STEER);
                converter.steer(steer);
                converter.push(piece, &mut out);
            }
            let sound: Vec<f64> = out.iter().map(|s| f64::from(*s)).collect();
            let worst =
                sound[1600..].chunks_exact(320).step_by(29).map(|piece| snr(piece, 1000.0)).fold(999.0, f64::min);
            println!("1 kHz from {rate} Hz, steered: SNR of the worst 20 ms {worst:.1} dB");
            assert!(worst > 60.0, "{rate} Hz: {worst} dB");
            // A click is a step that a sine of this height cannot make: 2 pi 1000 / 16000 x 16384 = 6434 a sample.
            let step = sound[1600..].windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
            assert!(step < 6600.0, "{rate} Hz: a step of {step}");
        }
    }

    #[test]
    fn steering_makes_as_much_sound_as_it_says() {
        for steer in [-MAX_STEER, -300e-6, 300e-6, MAX_STEER] {
            let mut converter = Converter::new(48_000).unwrap();
            let mut out = Vec::new();
            converter.steer(steer);
            (0..100).for_each(|_| converter.push(&[0.1; 4800], &mut out));
            (0..10).for_each(|_| converter.silence(4800, &mut out));
            converter.finish(&mut out);
            let ideal = 176_000.0 * (1.0 + steer);
            assert!((out.len() as f64 - ideal).abs() < 3.0, "{steer}: {} samples, of {ideal}", out.len());
        }
    }

    #[test]
    fn after_a_restart_nothing_is_left_of_what_was_before() {
        let (mut one, mut other) = (Converter::new(44_100).unwrap(), Converter::new(44_100).unwrap());
        let (mut before, mut after, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        one.steer(MAX_STEER);
        one.push(&tone(44_100, 440.0, 1.003), &mut before);
        one.restart(&mut before);
        let ideal = 16_000.0 * 1.003 * (1.0 + MAX_STEER);
        assert!((before.len() as f64 - ideal).abs() < 3.0, "{} samples, of {ideal}", before.len());
        for (converter, out) in [(&mut one, &mut after), (&mut other, &mut fresh)] {
            converter.steer(-MAX_STEER);
            converter.push(&tone(44_100, 1000.0, 0.5), out);
        }
        assert_eq!(after, fresh);
    }

    #[test]
    fn what_lies_above_8_khz_does_not_fold_back() {
        let mut converter = Converter::new(48_000).unwrap();
        let mut out = Vec::new();
        converter.push(&tone(48_000, 9_000.0, 1.0), &mut out);
        let loudest = out[800..].iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!(loudest < 16, "{loudest}: -60 dB of 16384 would be 16");
    }
}
