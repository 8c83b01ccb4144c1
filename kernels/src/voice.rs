//! A small network that hears whether somebody speaks: a spectrum every 16 ms, its bands, two layers of convolution over the
//! bands of the last three frames, two recurrent layers, one number.
//!
//! The weights (`voice.bin`) are those of earshot 1.2 by pyke.io (MIT or Apache-2.0), whose network this is. Here it runs in
//! the instructions of the processor at hand, and channels lie side by side, so that a frame takes a fraction of the time.
//! The recurrent layers count in whole numbers, as they were trained to, so only the rounding of the layers before differs.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::sync::OnceLock;

use crate::simd::{Level, Simd, Work};

/// Bins of a spectrum: from 0 Hz to 8 kHz, of 1,024 samples.
pub const VOICE_BINS: usize = 513;

/// The first bins of the triangles that bands are, then the ends of the last two: each triangle rises to the next first bin
/// and falls to the one behind that.
const EDGES: [usize; BANDS + 2] = [
    4, 7, 10, 13, 17, 21, 25, 29, 33, 38, 43, 48, 54, 60, 66, 73, 80, 87, 95, 103, 112, 122, 132, 142, 153, 165, 178,
    191, 205, 220, 236, 253, 270, 289, 309, 330, 353, 376, 402, 428, 456, 486,
];
const BANDS: usize = 40;
/// Frames the first layer looks at.
const FRAMES: usize = 3;
const CHANNELS: usize = 16;
/// Columns of the first layer before and after pairs of them are one, of the second, of the third.
const COLUMNS: [usize; 4] = [38, 18, 9, 5];
/// What the first recurrent layer hears, and the numbers each of the two keeps.
const HEARD: usize = COLUMNS[3] * CHANNELS;
const KEPT: usize = 64;
/// What a recurrent layer works out of a frame: what it may keep, and how much of it.
const GATED: usize = 2 * KEPT;
/// Bins are a multiple of the lanes of any level, with room behind the last that is used.
const ROOM: usize = 528;
/// One in the numbers of the recurrent layers (24 bits behind the point).
const ONE: i64 = (1 << 24) - 1;

/// What a frame is, once it has been heard.
#[derive(Debug, Clone)]
pub struct VoiceNetwork {
    /// Bands of the latest frames, the newest last.
    bands: [f32; FRAMES * BANDS],
    /// What the recurrent layers remember.
    state: [i16; 2 * KEPT],
}

impl Default for VoiceNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl VoiceNetwork {
    /// One that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { bands: [0.0; FRAMES * BANDS], state: [0; 2 * KEPT] }
    }

    /// Takes in the spectrum of 768 samples, 256 of them new, weighted by Hann's window and pre-emphasised (0.97), full scale
    /// being 32,768: real and imaginary parts by turns. How likely they hold speech, 0 to 1.
    pub fn hear(&mut self, spectrum: &[f32; 2 * VOICE_BINS]) -> f32 {
        Level::current().run(Hear { weights: weights(), network: self, spectrum })
    }

    /// Forgets all it has heard.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

/// The weights, laid out as they are used: channels side by side.
struct Weights {
    /// For each band the first of its bins, and where its factors begin and end in `factors`: as many as are a multiple of
    /// [`CHANNELS`], zeros behind the triangle.
    triangles: [(usize, usize, usize); BANDS],
    factors: Vec<f32>,
    norm: [f32; BANDS],
    first: [f32; 9],
    first_weight: [f32; CHANNELS],
    first_bias: [f32; CHANNELS],
    second: Layer,
    second_bias: [f32; CHANNELS],
    third: Layer,
    /// Pairs of inputs, for each all outputs.
    recurrent: [Vec<u32>; 2],
    output: [i16; 2 * KEPT],
}

/// Three columns of each channel are one, then all channels are mixed.
struct Layer {
    columns: [[f32; CHANNELS]; 3],
    mix: [[f32; CHANNELS]; CHANNELS],
}

fn weights() -> &'static Weights {
    static WEIGHTS: OnceLock<Weights> = OnceLock::new();
    WEIGHTS.get_or_init(Weights::read)
}

/// Reads numbers one after the other.
struct Reader {
    bytes: &'static [u8],
}

impl Reader {
    fn numbers<const N: usize>(&mut self) -> [f32; N] {
        std::array::from_fn(|_| f32::from_le_bytes(self.take()))
    }

    fn halves<const N: usize>(&mut self) -> [i16; N] {
        std::array::from_fn(|_| i16::from_le_bytes(self.take()))
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let (now, later) = self.bytes.split_at(N);
        taken.copy_from_slice(now);
        self.bytes = later;
        taken
    }

    fn layer(&mut self) -> Layer {
        let columns: [f32; 3 * CHANNELS] = self.numbers();
        let mix: [f32; CHANNELS * CHANNELS] = self.numbers();
        Layer {
            columns: std::array::from_fn(|at| std::array::from_fn(|channel| columns[channel * 3 + at])),
            mix: std::array::from_fn(|from| std::array::from_fn(|to| mix[to * CHANNELS + from])),
        }
    }

    /// Rows of `inputs` for each output, as pairs of inputs with all outputs of each.
    fn recurrent(&mut self, inputs: usize) -> Vec<u32> {
        let rows: Vec<i16> = (0..GATED * inputs).map(|_| i16::from_le_bytes(self.take())).collect();
        let pair = |at: usize, output: usize| pair(rows[output * inputs + 2 * at], rows[output * inputs + 2 * at + 1]);
        (0..inputs / 2)
            .flat_map(|at| (0..GATED).map(move |output| (at, output)))
            .map(|(at, output)| pair(at, output))
            .collect()
    }
}

fn pair(low: i16, high: i16) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}

impl Weights {
    fn read() -> Self {
        let mut reader = Reader { bytes: include_bytes!("voice.bin") };
        let norm = reader.numbers();
        let (first, first_weight, first_bias) = (reader.numbers(), reader.numbers(), reader.numbers());
        let (second, second_bias, third) = (reader.layer(), reader.numbers(), reader.layer());
        let recurrent = [reader.recurrent(HEARD), reader.recurrent(KEPT)];
        let output = reader.halves();
        let mut factors = Vec::new();
        let triangles = std::array::from_fn(|band| {
            let [first, peak, end] = [EDGES[band], EDGES[band + 1], EDGES[band + 2]];
            let from = factors.len();
            factors.extend((first..peak).map(|bin| (bin - first) as f32 / (peak - first) as f32));
            factors.extend((peak..end).map(|bin| (end - bin) as f32 / (end - peak) as f32));
            factors.resize(from + (end - first).next_multiple_of(CHANNELS), 0.0);
            (first, from, factors.len())
        });
        Self {
            triangles,
            factors,
            norm,
            first,
            first_weight,
            first_bias,
            second,
            second_bias,
            third,
            recurrent,
            output,
        }
    }
}

struct Hear<'a> {
    weights: &'static Weights,
    network: &'a mut VoiceNetwork,
    spectrum: &'a [f32; 2 * VOICE_BINS],
}

impl Work for Hear<'_> {
    type Output = f32;

    // SAFETY: all vectors are loaded from and stored to arrays whose lengths are multiples of `CHANNELS`, and so of any level's
    // lanes; where a begin is not, the slice is cut to the lanes first.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let Self { weights, network: VoiceNetwork { bands, state }, spectrum } = self;
        bands.copy_within(BANDS.., 0);
        let (_, newest) = bands.split_at_mut((FRAMES - 1) * BANDS);
        listen::<S>(weights, spectrum, newest);
        let first = first_layer::<S>(weights, bands);
        let second =
            layer::<S, { COLUMNS[1] + 2 }, { COLUMNS[2] + 2 }>(&weights.second, Some(&weights.second_bias), &first);
        let third = layer::<S, { COLUMNS[2] + 2 }, { COLUMNS[3] + 2 }>(&weights.third, None, &second);
        let heard = whole::<S>(third[1..=COLUMNS[3]].as_flattened());
        let (lower, upper) = state.split_at_mut(KEPT);
        recur::<S>(&weights.recurrent[0], &heard, lower);
        recur::<S>(&weights.recurrent[1], lower, upper);
        let sum: i32 = state.iter().zip(&weights.output).map(|(s, w)| i32::from(*s) * i32::from(*w)).sum();
        1.0 / (1.0 + (-(sum as f32) / 16_777_216.0).exp())
    }
}

/// The logarithm of each band's power, then their root mean square made one.
#[inline(always)]
unsafe fn listen<S: Simd>(weights: &Weights, spectrum: &[f32; 2 * VOICE_BINS], bands: &mut [f32]) {
    let mut power = [0.0; ROOM];
    for (power, [re, im]) in power[..EDGES[BANDS + 1]].iter_mut().zip(spectrum.as_chunks().0) {
        *power = (re * re + im * im) * (1.0 / (32768.0 * 32768.0));
    }
    for (band, (bin, from, until)) in bands.iter_mut().zip(weights.triangles) {
        let factors = &weights.factors[from..until];
        let mut sum = S::splat(0.0);
        for at in (0..factors.len()).step_by(S::LANES) {
            // Both have as much behind: rooms and factors are multiples of the widest vector.
            let (power, factors) = (&power[bin + at..][..S::LANES], &factors[at..][..S::LANES]);
            sum = S::fma(S::load(power.as_ptr()), S::load(factors.as_ptr()), sum);
        }
        *band = S::sum(sum);
    }
    for band in bands.iter_mut() {
        *band = logarithm(*band + 1e-20);
    }
    let mean = bands.iter().map(|band| band * band).sum::<f32>() / BANDS as f32;
    let scale = 1.0 / mean.sqrt();
    for (band, norm) in bands.iter_mut().zip(weights.norm) {
        *band = norm * *band * scale;
    }
}

/// ln x of a normal number, to 1e-7: its exponent, and 2 artanh ((m - 1) / (m + 1)) of its fraction m, as a series.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    let bits = x.to_bits();
    // The fraction is brought between the root of a half and that of two.
    let exponent = (bits as i32).wrapping_sub(0x3f35_04f3) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((exponent << 23) as u32));
    let t = (m - 1.0) / (m + 1.0);
    let q = t * t;
    let series = 2.0 * t * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0)))));
    exponent as f32 * std::f32::consts::LN_2 + series
}

/// Columns of channels, with one of zeros before and one behind them.
type Columns<const N: usize> = [[f32; CHANNELS]; N];

#[inline(always)]
unsafe fn first_layer<S: Simd>(weights: &Weights, bands: &[f32; FRAMES * BANDS]) -> Columns<{ COLUMNS[1] + 2 }> {
    let mut row = [0.0_f32; COLUMNS[0]];
    for (at, factor) in weights.first.iter().enumerate() {
        let from = at / 3 * BANDS + at % 3;
        for (sum, band) in row.iter_mut().zip(&bands[from..from + COLUMNS[0]]) {
            *sum += band * factor;
        }
    }
    let mut out = [[0.0; CHANNELS]; COLUMNS[1] + 2];
    for (at, column) in out[1..=COLUMNS[1]].iter_mut().enumerate() {
        let [a, b, c] = [row[2 * at], row[2 * at + 1], row[2 * at + 2]];
        // The greatest of three times a weight is the greatest or the least times it.
        let (most, least) = (S::splat(a.max(b).max(c)), S::splat(a.min(b).min(c)));
        for channel in (0..CHANNELS).step_by(S::LANES) {
            let weight = S::load(weights.first_weight[channel..].as_ptr());
            let greatest = S::max(S::mul(weight, most), S::mul(weight, least));
            let sum = S::add(greatest, S::load(weights.first_bias[channel..].as_ptr()));
            S::store(column[channel..].as_mut_ptr(), S::max(sum, S::splat(0.0)));
        }
    }
    out
}

/// Every second column; what is below zero is zero where there is a bias.
#[inline(always)]
unsafe fn layer<S: Simd, const IN: usize, const OUT: usize>(
    layer: &Layer,
    bias: Option<&[f32; CHANNELS]>,
    columns: &Columns<IN>,
) -> Columns<OUT> {
    let mut out = [[0.0; CHANNELS]; OUT];
    for (at, column) in out[1..OUT - 1].iter_mut().enumerate() {
        let mut sums = [0.0_f32; CHANNELS];
        for (factors, from) in layer.columns.iter().zip(&columns[2 * at..2 * at + 3]) {
            for (sum, (factor, from)) in sums.iter_mut().zip(factors.iter().zip(from)) {
                *sum += factor * from;
            }
        }
        for channel in (0..CHANNELS).step_by(S::LANES) {
            let mut mixed = S::splat(0.0);
            for (sum, factors) in sums.iter().zip(&layer.mix) {
                mixed = S::fma(S::splat(*sum), S::load(factors[channel..].as_ptr()), mixed);
            }
            if let Some(bias) = bias {
                mixed = S::max(S::add(mixed, S::load(bias[channel..].as_ptr())), S::splat(0.0));
            }
            S::store(column[channel..].as_mut_ptr(), mixed);
        }
    }
    out
}

/// Numbers from -1 to 1 as whole ones of sixteen bits.
#[inline(always)]
unsafe fn whole<S: Simd>(numbers: &[f32]) -> [i16; HEARD] {
    let mut rounded = [0.0_f32; HEARD];
    for (to, from) in rounded.chunks_exact_mut(S::LANES).zip(numbers.chunks_exact(S::LANES)) {
        let scaled = S::mul(S::load(from.as_ptr()), S::splat(32768.0));
        let held = S::min(S::max(scaled, S::splat(-32768.0)), S::splat(32767.0));
        S::store(to.as_mut_ptr(), S::round(held));
    }
    rounded.map(|number| number as i32 as i16)
}

/// A recurrent layer with one gate: keeps of each number what the gate leaves, and takes of the new what it lets in.
#[inline(always)]
unsafe fn recur<S: Simd>(weights: &[u32], heard: &[i16], state: &mut [i16]) {
    /// Vectors summed up at once.
    const AT_ONCE: usize = 8;
    let mut sums = [0_i32; GATED];
    for (block, sums) in sums.chunks_exact_mut(AT_ONCE * S::LANES).enumerate() {
        let mut vectors = [S::splat_words(0); AT_ONCE];
        for (&[low, high], row) in heard.as_chunks().0.iter().zip(weights.chunks_exact(GATED)) {
            let both = S::splat_words(pair(low, high));
            let row = &row[block * AT_ONCE * S::LANES..][..AT_ONCE * S::LANES];
            for (vector, weights) in vectors.iter_mut().zip(row.chunks_exact(S::LANES)) {
                *vector = S::dot_halves(*vector, S::load_words(weights.as_ptr()), both);
            }
        }
        for (sums, vector) in sums.chunks_exact_mut(S::LANES).zip(vectors) {
            // SAFETY: a vector of words is `LANES` numbers of four bytes.
            sums.as_mut_ptr().cast::<S::I>().write_unaligned(vector);
        }
    }
    let (new, gates) = sums.split_at(KEPT);
    for ((kept, new), gate) in state.iter_mut().zip(new).zip(gates) {
        let gate = i64::from((gate << 2).clamp(0, ONE as i32));
        let mixed = (ONE - gate) * (i64::from(*kept) << 9) + gate * i64::from(*new);
        *kept = (mixed >> 33).clamp(-32768, 32767) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a network says to a second of sounds that come and go.
    fn said() -> Vec<f32> {
        let mut network = VoiceNetwork::new();
        let spectrum = |frame: usize| {
            let loud = 3000.0 * (1.0 + (frame as f32 * 0.7).sin());
            std::array::from_fn(|n| loud * (n as f32 * 0.37 + frame as f32).sin() / (1.0 + n as f32 / 64.0))
        };
        (0..62).map(|frame| network.hear(&spectrum(frame))).collect()
    }

    #[test]
    fn all_levels_hear_the_same() {
        let plain = Level::Portable.limit(said);
        assert!(plain.iter().all(|p| (0.0..=1.0).contains(p)) && plain.iter().any(|p| *p != plain[0]), "{plain:?}");
        for level in Level::ALL.into_iter().filter(|level| level.exists()) {
            let apart = level.limit(said).iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-3, "{level:?} is {apart} from plain Rust");
        }
    }

    #[test]
    fn silence_is_no_speech_and_what_was_heard_is_forgotten() {
        let mut network = VoiceNetwork::new();
        let first = network.hear(&[0.0; 2 * VOICE_BINS]);
        assert!(first < 0.5);
        network.hear(&[900.0; 2 * VOICE_BINS]);
        network.reset();
        assert_eq!(network.hear(&[0.0; 2 * VOICE_BINS]).to_bits(), first.to_bits());
    }

    #[test]
    fn logarithms_are_right() {
        for x in [1e-20_f32, 3.3e-9, 0.5, 0.707, 0.708, 1.0, 1.5, 1.999, 2.0, 7e3, 1e9] {
            assert!((logarithm(x) - x.ln()).abs() <= 4e-7 * x.ln().abs().max(1.0), "{x}");
        }
    }
}
