//! The spectrum of the newest audio of a stream, as the network that hears speech was trained on it.

use std::{
    array::from_fn,
    cell::RefCell,
    f32::consts::TAU,
    sync::{Arc, LazyLock},
};

use kernels::VOICE_BINS;
use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};

/// New samples in each spectrum (16 ms).
pub(crate) const HOP: usize = 256;
/// Samples that a spectrum is of (48 ms).
const WINDOW: usize = 3 * HOP;
/// With the zeros behind them.
const TRANSFORMED: usize = 2 * (VOICE_BINS - 1);
/// How much of the sample before is taken off each.
const PRE_EMPHASIS: f32 = 0.97;
const FULL_SCALE: f32 = 32_768.0;

/// Hann's window, periodic.
static HANN: LazyLock<[f32; WINDOW]> =
    LazyLock::new(|| from_fn(|n| 0.5 - 0.5 * (TAU * n as f32 / WINDOW as f32).cos()));

/// What a thread works a spectrum out in; of no use afterwards.
struct Workplace {
    transform: Arc<dyn RealToComplex<f32>>,
    samples: Vec<f32>,
    complex: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    spectrum: Box<[f32; 2 * VOICE_BINS]>,
}

impl Workplace {
    fn new() -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(TRANSFORMED);
        let (samples, complex) = (transform.make_input_vec(), transform.make_output_vec());
        let scratch = transform.make_scratch_vec();
        Self { transform, samples, complex, scratch, spectrum: Box::new([0.0; 2 * VOICE_BINS]) }
    }
}

thread_local! {
    static WORKPLACE: RefCell<Workplace> = RefCell::new(Workplace::new());
}

/// The newest samples of one stream, pre-emphasised.
pub(crate) struct Spectrum {
    window: [f32; WINDOW],
    /// The newest sample as it was.
    last: f32,
}

impl Spectrum {
    /// Of silence.
    pub(crate) fn new() -> Self {
        Self { window: [0.0; WINDOW], last: 0.0 }
    }

    /// Takes in a frame made louder by `gain`, and lets `hear` have the spectrum that ends with it: real and imaginary parts by
    /// turns.
    pub(crate) fn of<T>(&mut self, frame: &[i16; HOP], gain: f32, hear: impl FnOnce(&[f32; 2 * VOICE_BINS]) -> T) -> T {
        self.window.copy_within(HOP.., 0);
        let louder: [f32; HOP] = from_fn(|n| (f32::from(frame[n]) * gain).clamp(-FULL_SCALE, FULL_SCALE));
        let newest = &mut self.window[WINDOW - HOP..];
        newest[0] = louder[0] - PRE_EMPHASIS * self.last;
        for (to, pair) in newest[1..].iter_mut().zip(louder.array_windows()) {
            let [before, now] = pair;
            *to = now - PRE_EMPHASIS * before;
        }
        self.last = louder[HOP - 1];
        WORKPLACE.with_borrow_mut(|place| {
            let Workplace { transform, samples, complex, scratch, spectrum } = place;
            for ((to, sample), weight) in samples.iter_mut().zip(&self.window).zip(HANN.iter()) {
                *to = sample * weight;
            }
            samples[WINDOW..].fill(0.0);
            if transform.process_with_scratch(samples, complex, scratch).is_err() {
                // All lengths are the transform's own.
                spectrum.fill(0.0);
            } else {
                for ([re, im], bin) in spectrum.as_chunks_mut().0.iter_mut().zip(complex.iter()) {
                    (*re, *im) = (bin.re, bin.im);
                }
            }
            hear(spectrum)
        })
    }

    /// Forgets all audio.
    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}
