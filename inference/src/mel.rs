//! Log-mel features, equal to those Whisper was trained on.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples a second.
pub const SAMPLE_RATE: usize = 16_000;
/// Samples from one frame to the next: 10 ms.
pub const HOP: usize = 160;
/// Samples under one frame's window: 25 ms, also the length of the transform.
pub const WINDOW: usize = 400;
/// Frequency bins of the transform, from 0 Hz to 8 kHz.
const BINS: usize = WINDOW / 2 + 1;
/// Power below this counts as silence (-100 dB).
const FLOOR: f32 = 1e-10;
/// The features reach this many decades under the loudest frame.
const RANGE: f32 = 8.0;

/// One triangle of the filter bank: where its first bin lies, and its weights from there on.
#[derive(Debug)]
struct Triangle {
    first: usize,
    weights: Vec<f32>,
}

/// Turns samples into log-mel frames. Keeps its plan and its buffers: one instance a thread.
pub struct LogMel {
    transform: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    bank: Vec<Triangle>,
    frame: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    power: Vec<f32>,
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogMel").field("mels", &self.bank.len()).finish_non_exhaustive()
    }
}

impl LogMel {
    /// Features with `mels` bands (80, or 128 for large-v3).
    pub fn new(mels: usize) -> Self {
        let transform = RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
        let window = (0..WINDOW).map(|i| (0.5 - 0.5 * (2.0 * PI * i as f64 / WINDOW as f64).cos()) as f32).collect();
        Self {
            window,
            bank: filter_bank(mels),
            frame: transform.make_input_vec(),
            spectrum: transform.make_output_vec(),
            scratch: transform.make_scratch_vec(),
            power: vec![0.0; BINS],
            transform,
        }
    }

    /// Samples (16 kHz mono, -1 to 1) to features, frame by frame: `frames` x `mels`, row-major.
    ///
    /// The samples are zero-padded, or cut, to `frames` x [`HOP`]: what is padded gets the value that digital
    /// silence has. Frames are centred on multiples of [`HOP`], the edges mirrored.
    pub fn compute(&mut self, pcm: &[f32], frames: usize) -> Vec<f32> {
        let mels = self.bank.len();
        let length = frames * HOP;
        let pcm = &pcm[..pcm.len().min(length)];
        let mut out = vec![FLOOR.log10(); mels * frames];
        let mut loudest = f32::NEG_INFINITY;
        for t in 0..frames {
            let middle = t * HOP;
            if middle >= pcm.len() + WINDOW / 2 {
                break; // Nothing but padding from here on: already filled in.
            }
            self.transform_frame(pcm, middle, length);
            for (m, triangle) in self.bank.iter().enumerate() {
                let bins = &self.power[triangle.first..triangle.first + triangle.weights.len()];
                let energy: f32 = bins.iter().zip(&triangle.weights).map(|(p, w)| p * w).sum();
                let log = energy.max(FLOOR).log10();
                loudest = loudest.max(log);
                out[t * mels + m] = log;
            }
        }
        let lowest = loudest.max(FLOOR.log10()) - RANGE;
        for value in &mut out {
            *value = (value.max(lowest) + 4.0) / 4.0;
        }
        out
    }

    /// Fills `self.power` with the power spectrum around sample `middle` of `pcm`, zero-padded to `length`.
    fn transform_frame(&mut self, pcm: &[f32], middle: usize, length: usize) {
        for (i, (slot, weight)) in self.frame.iter_mut().zip(&self.window).enumerate() {
            let at = mirrored(middle + i, WINDOW / 2, length);
            *slot = pcm.get(at).copied().unwrap_or(0.0) * weight;
        }
        let done = self.transform.process_with_scratch(&mut self.frame, &mut self.spectrum, &mut self.scratch);
        debug_assert!(done.is_ok(), "the buffers come from the plan");
        for (power, value) in self.power.iter_mut().zip(&self.spectrum) {
            *power = value.norm_sqr();
        }
    }
}

/// Index into `length` samples of position `at` counted from `margin` before the first one, mirrored at both edges.
fn mirrored(at: usize, margin: usize, length: usize) -> usize {
    if at < margin {
        margin - at
    } else if at - margin < length {
        at - margin
    } else {
        (2 * (length - 1)).saturating_sub(at - margin)
    }
}

/// Slaney's scale: linear up to 1 kHz (mel 15), logarithmic above, 27 steps for a factor of 6.4.
fn mel_to_hz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4_f64.ln() / 27.0).exp() }
}

/// Triangles of unit area from 0 Hz to half the sample rate, evenly spaced on Slaney's scale.
fn filter_bank(mels: usize) -> Vec<Triangle> {
    let half = SAMPLE_RATE as f64 / 2.0;
    let top = 15.0 + (half / 1000.0).ln() * 27.0 / 6.4_f64.ln();
    let edges: Vec<f64> = (0..mels + 2).map(|i| mel_to_hz(top * i as f64 / (mels + 1) as f64)).collect();
    let hz = |bin: usize| half * bin as f64 / (BINS - 1) as f64;
    let triangle = |e: &[f64]| {
        let height = |bin: usize| {
            let (rising, falling) = ((hz(bin) - e[0]) / (e[1] - e[0]), (e[2] - hz(bin)) / (e[2] - e[1]));
            rising.min(falling).max(0.0) * 2.0 / (e[2] - e[0])
        };
        let first = (0..BINS).find(|bin| height(*bin) > 0.0).unwrap_or(0);
        let end = (first..BINS).find(|bin| height(*bin) <= 0.0).unwrap_or(BINS);
        Triangle { first, weights: (first..end).map(|bin| height(bin) as f32).collect() }
    };
    edges.windows(3).map(triangle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_what_digital_silence_gives() {
        let tone: Vec<f32> = (0..8_000).map(|i| (i as f32 * 0.3).sin() * 0.4).collect();
        let mut silence_after = tone.clone();
        silence_after.resize(32_000, 0.0);
        let mut mel = LogMel::new(80);
        assert_eq!(mel.compute(&tone, 200), mel.compute(&silence_after, 200));
    }

    #[test]
    fn silence_is_flat_and_a_tone_peaks_in_its_band() {
        let mut mel = LogMel::new(80);
        assert!(mel.compute(&[], 10).iter().all(|v| *v == -1.5));
        let tone: Vec<f32> = (0..16_000).map(|i| (2.0 * PI * 1000.0 * f64::from(i) / 16_000.0).sin() as f32).collect();
        let features = mel.compute(&tone, 100);
        let column: Vec<f32> = features[50 * 80..51 * 80].to_vec();
        let loudest = (0..80).max_by(|a, b| column[*a].total_cmp(&column[*b])).unwrap();
        // 1 kHz is mel 15 of 45.245; band m is centred on 45.245 * (m + 1) / 81.
        assert_eq!(loudest, 26);
    }

    #[test]
    fn samples_beyond_the_window_are_cut() {
        let noise: Vec<f32> = (0..4_000).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
        let mut mel = LogMel::new(128);
        assert_eq!(mel.compute(&noise, 10), mel.compute(&noise[..1600], 10));
        assert_eq!(mel.compute(&noise, 10).len(), 1280);
    }
}
