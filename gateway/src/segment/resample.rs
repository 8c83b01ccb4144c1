//! The client's PCM (any rate from 8 to 48 kHz, mono or stereo) becomes 16 kHz mono.

use std::fmt;

use rubato::{
    Async, Fft, FixedAsync, FixedSync, ResamplerConstructionError, SincInterpolationParameters, WindowFunction,
    audioadapter_buffers::direct::InterleavedSlice, calculate_cutoff,
};
use shared::audio::{BYTES_PER_SAMPLE, SAMPLE_RATE};

/// Lowest rate a client may send, samples per second.
const MIN_RATE: u32 = 8_000;
/// Highest rate a client may send, samples per second.
const MAX_RATE: u32 = 48_000;
/// Input is converted in blocks of 20 ms.
const BLOCKS_PER_SECOND: usize = 50;
/// Shape of the anti-aliasing filters.
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris2;
/// Taps of the filter for odd rates, counted at the lower of the two rates: passes up to 0.89 of its half.
const FILTER_TAPS: usize = 128;

/// Why no resampler could be made.
#[derive(Debug, thiserror::Error)]
pub enum ResampleError {
    /// A rate out of range.
    #[error("sample rate {0} Hz is not supported; send 8000 to 48000 Hz")]
    Rate(u32),
    /// Neither mono nor stereo.
    #[error("{0} channels are not supported; send 1 or 2")]
    Channels(u8),
    /// The filter could not be built.
    #[error("no resampler from {rate} Hz to 16000 Hz could be built")]
    Build {
        /// Rate asked for, Hz.
        rate: u32,
        /// What the resampler says.
        #[source]
        source: ResamplerConstructionError,
    },
}

/// Turns one stream of PCM s16le into 16 kHz mono.
///
/// The filter's delay is taken out, so sample `n` of the output is what was heard `n / 16000` s into the stream. Output
/// runs behind the input by at most 30 ms, until [`Resampler::flush`]. 16 kHz mono passes unchanged and at once.
pub struct Resampler {
    rate: u32,
    channels: usize,
    /// The first bytes of a frame whose rest has not come yet.
    carry: Vec<u8>,
    /// Frames taken in since the start of the stream.
    frames_in: u64,
    /// Samples handed out since then.
    samples_out: u64,
    /// Absent when the rate is 16 kHz already.
    converter: Option<Converter>,
}

impl Resampler {
    /// For PCM of `rate` samples per second and channel, `channels` interleaved.
    ///
    /// # Errors
    /// When rate or channels are out of range.
    pub fn new(rate: u32, channels: u8) -> Result<Self, ResampleError> {
        if !(MIN_RATE..=MAX_RATE).contains(&rate) {
            return Err(ResampleError::Rate(rate));
        }
        if !(1..=2).contains(&channels) {
            return Err(ResampleError::Channels(channels));
        }
        let converter = if rate == SAMPLE_RATE {
            None
        } else {
            Some(Converter::new(rate).map_err(|source| ResampleError::Build { rate, source })?)
        };
        Ok(Self { rate, channels: channels.into(), carry: Vec::new(), frames_in: 0, samples_out: 0, converter })
    }

    /// Takes in bytes, cut anywhere, and appends what they give to `out`.
    pub fn push(&mut self, pcm_s16le: &[u8], out: &mut Vec<i16>) {
        let frame_bytes = self.channels * BYTES_PER_SAMPLE;
        let mut bytes = pcm_s16le;
        if !self.carry.is_empty() {
            let missing = (frame_bytes - self.carry.len()).min(bytes.len());
            self.carry.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.carry.len() < frame_bytes {
                return;
            }
            let frame = std::mem::take(&mut self.carry);
            self.push_frames(&frame, out);
        }
        let whole = bytes.len() - bytes.len() % frame_bytes;
        self.push_frames(&bytes[..whole], out);
        self.carry.extend_from_slice(&bytes[whole..]);
    }

    /// Ends the stream: appends what is still under way, so that all output lasts as long as all input. The next push
    /// starts a new stream.
    pub fn flush(&mut self, out: &mut Vec<i16>) {
        let owed = (self.frames_in * u64::from(SAMPLE_RATE) + u64::from(self.rate) / 2) / u64::from(self.rate);
        if let Some(converter) = &mut self.converter {
            while self.samples_out < owed {
                converter.pad();
                let before = out.len();
                converter.run(out);
                let spare = (self.samples_out + (out.len() - before) as u64).saturating_sub(owed);
                out.truncate(out.len() - usize::try_from(spare).unwrap_or(0));
                self.samples_out += (out.len() - before) as u64;
            }
            converter.reset();
        }
        self.carry.clear();
        self.frames_in = 0;
        self.samples_out = 0;
    }

    fn push_frames(&mut self, bytes: &[u8], out: &mut Vec<i16>) {
        let before = out.len();
        let samples = bytes.chunks_exact(BYTES_PER_SAMPLE).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        match (&mut self.converter, self.channels) {
            (None, 1) => out.extend(samples),
            (None, _) => out.extend(Pairs(samples).map(|(left, right)| left.midpoint(right))),
            (Some(converter), 1) => converter.waiting.extend(samples.map(f32::from)),
            (Some(converter), _) => {
                converter.waiting.extend(Pairs(samples).map(|(l, r)| f32::midpoint(l.into(), r.into())));
            }
        }
        if let Some(converter) = &mut self.converter {
            converter.run(out);
        }
        self.frames_in += (bytes.len() / (self.channels * BYTES_PER_SAMPLE)) as u64;
        self.samples_out += (out.len() - before) as u64;
    }
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resampler").field("rate", &self.rate).field("channels", &self.channels).finish_non_exhaustive()
    }
}

/// An iterator over the frames of interleaved stereo.
struct Pairs<I>(I);

impl<I: Iterator<Item = i16>> Iterator for Pairs<I> {
    type Item = (i16, i16);

    fn next(&mut self) -> Option<(i16, i16)> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// The filter with its buffers; works on blocks of 20 ms.
struct Converter {
    inner: Box<dyn rubato::Resampler<f32>>,
    block: usize,
    /// Input short of a block.
    waiting: Vec<f32>,
    /// Room for one block of output.
    output: Vec<f32>,
    /// Output samples still to drop: the filter's delay.
    delay_left: usize,
}

impl Converter {
    fn new(rate: u32) -> Result<Self, ResamplerConstructionError> {
        let (from, to) = (rate as usize, SAMPLE_RATE as usize);
        let block = from / BLOCKS_PER_SECOND;
        let inner: Box<dyn rubato::Resampler<f32>> =
            match Fft::new_custom(from, to, block, 1, 1, WINDOW, FixedSync::Input)? {
                // The common rates: a Fourier transform of a block is cheapest.
                fft if fft.fft_size_in() <= block => Box::new(fft),
                // Rates with so odd a ratio that the transform would have to wait for more than a block.
                _ => Box::new(Self::sinc(rate, block)?),
            };
        let (output, delay_left) = (vec![0.0; inner.output_frames_max()], inner.output_delay());
        Ok(Self { inner, block, waiting: Vec::new(), output, delay_left })
    }

    fn sinc(rate: u32, block: usize) -> Result<Async<f32>, ResamplerConstructionError> {
        // Filter length is given in input samples, so a high rate takes more of them for the same steepness.
        let taps = (FILTER_TAPS * rate.max(SAMPLE_RATE) as usize).div_ceil(SAMPLE_RATE as usize);
        let mut filter = SincInterpolationParameters::new(taps, WINDOW);
        filter.f_cutoff = Some(calculate_cutoff(FILTER_TAPS, WINDOW));
        let ratio = f64::from(SAMPLE_RATE) / f64::from(rate);
        Async::new_sinc(ratio, 1.0, &filter, block, 1, FixedAsync::Input)
    }

    /// Converts all whole blocks that wait.
    #[expect(clippy::expect_used, reason = "both buffers are made as long as the resampler asks for")]
    fn run(&mut self, out: &mut Vec<i16>) {
        let mut done = 0;
        while self.waiting.len() - done >= self.block {
            let room = self.output.len();
            let from = InterleavedSlice::new(&self.waiting[done..], 1, self.block).expect("a block waits");
            let mut to = InterleavedSlice::new_mut(&mut self.output, 1, room).expect("room for a block");
            let (used, made) = self.inner.process_into_buffer(&from, &mut to, None).expect("buffers fit");
            done += used;
            let skipped = self.delay_left.min(made);
            self.delay_left -= skipped;
            #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of i16 first")]
            out.extend(self.output[skipped..made].iter().map(|s| s.round().clamp(-32768.0, 32767.0) as i16));
        }
        self.waiting.drain(..done);
    }

    /// Fills the waiting input up to a block with silence.
    fn pad(&mut self) {
        self.waiting.resize(self.block, 0.0);
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.waiting.clear();
        self.delay_left = self.inner.output_delay();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    const RATES: [u32; 9] = [8000, 11025, 12345, 16000, 22050, 24000, 32000, 44100, 48000];

    /// A sine of `hz` at half of full scale, the same on every channel.
    fn tone(rate: u32, channels: u8, hz: f64, seconds: f64) -> Vec<u8> {
        let frames = (f64::from(rate) * seconds) as u32;
        let wave = (0..frames).map(|n| ((TAU * hz * f64::from(n) / f64::from(rate)).sin() * 16384.0) as i16);
        wave.flat_map(|s| s.to_le_bytes().repeat(channels.into())).collect()
    }

    fn resample(rate: u32, channels: u8, pcm: &[u8], chunk: usize) -> Vec<i16> {
        let mut resampler = Resampler::new(rate, channels).unwrap();
        let mut out = Vec::new();
        pcm.chunks(chunk).for_each(|bytes| resampler.push(bytes, &mut out));
        resampler.flush(&mut out);
        out
    }

    #[test]
    fn output_lasts_as_long_as_input_and_is_in_phase_with_it() {
        for rate in RATES {
            for channels in [1, 2] {
                let out = resample(rate, channels, &tone(rate, channels, 440.0, 1.5), 3201);
                assert!(out.len().abs_diff(24_000) <= 1, "{rate} Hz, {channels} channels: {} samples", out.len());
                // Away from the edges every sample equals the tone itself, give or take one sample of delay (17 % of the
                // amplitude at 440 Hz): frequency, level and time are right.
                let worst = (800..23_200).map(|n| {
                    let ideal = (TAU * 440.0 * n as f64 / 16_000.0).sin() * 16384.0;
                    (f64::from(out[n]) - ideal).abs()
                });
                let worst = worst.fold(0.0, f64::max);
                assert!(worst < 16384.0 * 0.18, "{rate} Hz, {channels} channels: off by {worst}");
            }
        }
    }

    #[test]
    fn before_the_flush_output_runs_at_most_30_ms_behind() {
        for rate in RATES {
            let mut resampler = Resampler::new(rate, 1).unwrap();
            let mut out = Vec::new();
            for (chunk, seconds) in tone(rate, 1, 300.0, 2.0).chunks(rate as usize / 5).zip(1..) {
                resampler.push(chunk, &mut out);
                let due = seconds * 1600;
                assert!(out.len() <= due + 1 && out.len() + 480 >= due, "{rate} Hz: {} of {due}", out.len());
            }
        }
    }

    #[test]
    fn how_the_bytes_are_cut_does_not_matter() {
        for (rate, channels) in [(44_100, 2), (8_000, 1), (16_000, 2), (16_000, 1)] {
            let pcm = tone(rate, channels, 700.0, 0.3);
            let whole = resample(rate, channels, &pcm, pcm.len());
            for chunk in [1, 3, 7, 641, 5000] {
                assert_eq!(resample(rate, channels, &pcm, chunk), whole, "{rate} Hz cut every {chunk} bytes");
            }
        }
    }

    #[test]
    fn sixteen_khz_mono_passes_unchanged() {
        let pcm: Vec<u8> = [i16::MIN, -1, 0, 1, i16::MAX].iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(resample(16_000, 1, &pcm, 3), [i16::MIN, -1, 0, 1, i16::MAX]);
    }

    #[test]
    fn stereo_is_mixed_down() {
        let pcm: Vec<u8> = [100i16, 300, -32768, -32768].iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(resample(16_000, 2, &pcm, 4), [200, -32768]);
    }

    #[test]
    fn what_16_khz_cannot_hold_is_filtered_out() {
        let out = resample(48_000, 1, &tone(48_000, 1, 10_000.0, 0.5), 960);
        let loudest = out[400..7600].iter().map(|s| s.unsigned_abs()).max();
        assert!(loudest < Some(20), "an alias of {loudest:?} remains");
    }

    #[test]
    fn a_flush_starts_over() {
        let pcm = tone(22_050, 1, 440.0, 0.4);
        let mut resampler = Resampler::new(22_050, 1).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for out in [&mut first, &mut second] {
            resampler.push(&pcm, out);
            resampler.flush(out);
        }
        assert_eq!(first, second);
    }

    #[test]
    fn odd_formats_are_refused() {
        assert!(matches!(Resampler::new(7_999, 1), Err(ResampleError::Rate(7_999))));
        assert!(matches!(Resampler::new(96_000, 1), Err(ResampleError::Rate(96_000))));
        assert!(matches!(Resampler::new(16_000, 0), Err(ResampleError::Channels(0))));
        assert!(matches!(Resampler::new(16_000, 3), Err(ResampleError::Channels(3))));
    }
}
