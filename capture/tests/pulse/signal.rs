//! Something to play that can be recognised anywhere: a sum of sines, known at every moment and thus at every rate.

use std::{f64::consts::TAU, fs, path::Path};

/// Of what is written and of what is read, samples per second.
const PLAYED: u32 = 48_000;
const HEARD: u32 = 16_000;
/// Pieces that are compared: 100 ms, and by how many samples each may lie from where the one before it did.
const PIECE: usize = HEARD as usize / 10;
const SLIP: usize = 4;

/// How what was heard compares to what was played.
#[derive(Debug)]
pub(crate) struct Report {
    /// Of the piece that is least like it: 1 is the same. A hole would be 0.
    pub(crate) worst_correlation: f64,
    /// From the first to the last that was heard of it.
    pub(crate) seconds: f64,
    /// Loudness as heard, of that as played.
    pub(crate) gain: f64,
}

/// 50 sines between 200 and 1800 Hz, in no ratio to each other. Higher ones would notice half a sample, to which a place is
/// found here.
fn at(time: f64) -> f64 {
    let sine = |n: u32| {
        let n = f64::from(n);
        (TAU * (200.0 + 32.0 * n + 5.0 * (n * n).sin()) * time + n * n).sin()
    };
    (0..50).map(sine).sum::<f64>() * 0.03
}

/// Writes so many seconds of it as stereo WAV; what should be heard of it.
pub(crate) fn write(path: &Path, seconds: f64) -> Vec<f64> {
    let samples = |rate: u32| (0..(f64::from(rate) * seconds) as u32).map(move |n| at(f64::from(n) / f64::from(rate)));
    let pcm: Vec<u8> = samples(PLAYED).flat_map(|s| ((s * 32767.0) as i16).to_le_bytes().repeat(2)).collect();
    let bytes = u32::try_from(pcm.len()).unwrap();
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend([16_u32.to_le_bytes(), (1 | 2_u32 << 16).to_le_bytes()].concat());
    wav.extend([PLAYED.to_le_bytes(), (PLAYED * 4).to_le_bytes(), (4 | 16_u32 << 16).to_le_bytes()].concat());
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(pcm);
    fs::write(path, wav).unwrap();
    samples(HEARD).collect()
}

/// Reads a WAV of the example's.
pub(crate) fn read(path: &Path) -> Vec<f64> {
    let bytes = fs::read(path).unwrap();
    bytes[44..].chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect()
}

/// Finds what was played in what was heard, and follows it piece by piece.
pub(crate) fn compare(played: &[f64], heard: &[f64]) -> Report {
    let loud = |sample: &f64| sample.abs() > 0.02;
    let (Some(first), Some(last)) = (heard.iter().position(loud), heard.iter().rposition(loud)) else {
        return Report { worst_correlation: 0.0, seconds: 0.0, gain: 0.0 };
    };
    // The first piece may lie 50 ms to either side of where it seems to start.
    let mut place = best(&played[..PIECE], heard, first, 800).0;
    let (mut worst, mut energies) = (1.0_f64, (0.0, 0.0));
    for (n, piece) in played.chunks_exact(PIECE).enumerate() {
        let (found, correlation) = best(piece, heard, place + n * PIECE, SLIP);
        place = (found).saturating_sub(n * PIECE);
        worst = worst.min(correlation);
        energies.0 += piece.iter().map(|s| s * s).sum::<f64>();
        energies.1 += heard.get(found..found + PIECE).map_or(0.0, |heard| heard.iter().map(|s| s * s).sum::<f64>());
    }
    let seconds = (last + 1 - first) as f64 / f64::from(HEARD);
    Report { worst_correlation: worst, seconds, gain: (energies.1 / energies.0).sqrt() }
}

/// Where within `reach` of `near` the piece fits best, and how well.
fn best(piece: &[f64], heard: &[f64], near: usize, reach: usize) -> (usize, f64) {
    let places = near.saturating_sub(reach)..=near + reach;
    let fits = places.filter_map(|place| Some((place, correlation(piece, heard.get(place..place + piece.len())?))));
    fits.max_by(|one, other| one.1.total_cmp(&other.1)).unwrap_or((near, 0.0))
}

fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt().max(f64::MIN_POSITIVE)
}
