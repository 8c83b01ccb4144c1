//! A client's sound, from its bytes to utterances.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use arbitrary::{Result, Unstructured};
use gateway::segment::{Cut, Resampler, Segmenter, SegmenterConfig, SpeechDetector};
use shared::{audio::SAMPLE_RATE, ids::UtteranceId};

/// Common ones, and one whose ratio is odd. 16 kHz, which is not converted, most often: the others are slow.
const RATES: [u32; 12] =
    [16_000, 16_000, 16_000, 16_000, 16_000, 16_000, 8_000, 12_345, 22_050, 44_100, 48_000, 24_000];
/// Most sound of one run, frames. All here takes a sixtieth of the time that speech does, so that sixty times as much is tried.
const MOST: usize = 8_000;

thread_local! {
    /// Built once for each format: their filters take a hundred times as long as the sound of a run. They begin anew after a flush.
    static RESAMPLERS: RefCell<HashMap<(u32, u8), Vec<Resampler>>> = RefCell::default();
}

fn resampler(rate: u32, channels: u8) -> Resampler {
    let used = RESAMPLERS.with_borrow_mut(|all| all.get_mut(&(rate, channels)).and_then(Vec::pop));
    used.unwrap_or_else(|| Resampler::new(rate, channels).unwrap_or_else(|error| panic!("a common rate: {error}")))
}

/// Ends the sound, and keeps what converted it.
fn flushed(mut resampler: Resampler, rate: u32, channels: u8, samples: &mut Vec<i16>) {
    resampler.flush(samples);
    RESAMPLERS.with_borrow_mut(|all| all.entry((rate, channels)).or_default().push(resampler));
}

/// Hears speech in what is loud.
struct Loudness(usize);

impl SpeechDetector for Loudness {
    fn frame_samples(&self) -> usize {
        self.0
    }

    fn speech_probability(&mut self, frame: &[i16]) -> f32 {
        let sum: u64 = frame.iter().map(|sample| u64::from(sample.unsigned_abs())).sum();
        (sum as f32 / frame.len().max(1) as f32 / 2000.0).min(1.0)
    }

    fn reset(&mut self) {}
}

/// Sound of any format, in frames of any size, cut and ended anywhere: it is converted as if it had come at once; utterances are
/// numbered, do not overlap, and hold the very samples that lie where they say; no position goes back.
pub fn audio(data: &[u8]) {
    run(&mut Unstructured::new(data)).ok();
}

/// One piece of sound: how loud, how long.
fn sound(u: &mut Unstructured<'_>, rate: u32, channels: u8) -> Result<Vec<u8>> {
    let (level, ms): (u8, u16) = (u.arbitrary()?, u.int_in_range(0..=30)?);
    let frames = rate as usize * usize::from(ms) / 1000;
    let sample = |n: usize| (i32::try_from(n * 7919 % 201).unwrap_or_default() - 100) * i32::from(level) * 32 / 25;
    let samples = (0..frames * usize::from(channels)).map(|n| i16::try_from(sample(n)).unwrap_or_default());
    Ok(samples.flat_map(i16::to_le_bytes).collect())
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let (rate, channels) = (*u.choose(&RATES)?, u.int_in_range(1..=2)?);
    let mut resampler = resampler(rate, channels);
    let config = SegmenterConfig {
        pre_roll: Duration::from_millis(u.int_in_range(0..=10)?),
        silence_threshold: Duration::from_millis(u.int_in_range(2..=35)?),
        max_utterance: Duration::from_millis(u.int_in_range(0..=200)?),
        min_speech: Duration::from_millis(u.int_in_range(0..=5)?),
    };
    let mut segmenter = Segmenter::new(config, Box::new(Loudness(*u.choose(&[160, 256, 320, 512])?)));
    let (mut bytes, mut samples, mut checked) = (Vec::new(), Vec::new(), Checked::default());
    while !u.is_empty() && bytes.len() < MOST * 2 {
        let (before, mut cuts) = (samples.len(), Vec::new());
        match u.int_in_range(0..=9)? {
            0 => segmenter.finalize(&mut cuts),
            1 => {
                let back = u64::from(u.arbitrary::<u16>()?) / 30;
                let (utterance, at) = (UtteranceId(checked.open), segmenter.position().saturating_sub(back));
                segmenter.committed(utterance, at);
                segmenter.split(utterance, at, &mut cuts);
            }
            _ => {
                let piece = sound(u, rate, channels)?;
                let cut = usize::from(u.arbitrary::<u16>()?).min(piece.len());
                for part in [&piece[..cut], &piece[cut..]] {
                    resampler.push(part, &mut samples);
                }
                bytes.extend(piece);
                segmenter.push(&samples[before..], &mut cuts);
            }
        }
        assert_eq!(segmenter.position(), samples.len() as u64);
        assert!(segmenter.safe_position() <= segmenter.position());
        checked.take(&cuts, &samples);
    }
    let (before, mut cuts) = (samples.len(), Vec::new());
    flushed(resampler, rate, channels, &mut samples);
    segmenter.push(&samples[before..], &mut cuts);
    segmenter.finalize(&mut cuts);
    checked.take(&cuts, &samples);
    assert!(segmenter.open_utterance().is_none() && !checked.is_open, "an utterance does not end");
    whole(rate, channels, &bytes, &samples);
    Ok(())
}

/// The same bytes at once.
fn whole(rate: u32, channels: u8, bytes: &[u8], samples: &[i16]) {
    let mut at_once = Vec::new();
    let mut resampler = resampler(rate, channels);
    resampler.push(bytes, &mut at_once);
    flushed(resampler, rate, channels, &mut at_once);
    assert!(at_once == samples, "how the bytes were cut changed the sound");
    let frames = bytes.len() as u64 / (2 * u64::from(channels));
    let due = frames * u64::from(SAMPLE_RATE) / u64::from(rate);
    assert!(due.abs_diff(samples.len() as u64) <= 1, "{} samples of {due}", samples.len());
}

/// What utterances were cut so far.
#[derive(Default)]
struct Checked {
    open: u32,
    is_open: bool,
    /// Where the newest begins, where it was handed out to, and where the one before ended.
    start: u64,
    given: u64,
    ended: u64,
}

impl Checked {
    fn take(&mut self, cuts: &[Cut], all: &[i16]) {
        for cut in cuts {
            match cut {
                Cut::Started { utterance, start_sample, speech_sample } => {
                    assert!(!self.is_open && utterance.0 == self.open + 1, "{utterance} begins after {}", self.open);
                    assert!(
                        *start_sample >= self.ended && speech_sample >= start_sample,
                        "it begins in the one before"
                    );
                    (self.open, self.is_open, self.start, self.given) =
                        (utterance.0, true, *start_sample, *start_sample);
                }
                Cut::Audio { utterance, samples } => {
                    assert!(self.is_open && utterance.0 == self.open && !samples.is_empty());
                    let from = usize::try_from(self.given).unwrap_or(usize::MAX);
                    assert!(all.get(from..from + samples.len()) == Some(samples), "not the samples at {from}");
                    self.given += samples.len() as u64;
                }
                Cut::Ended { utterance, end_sample, .. } => {
                    assert!(self.is_open && utterance.0 == self.open && *end_sample >= self.start);
                    assert!(*end_sample <= self.given, "{utterance} lacks its end");
                    (self.is_open, self.ended) = (false, *end_sample);
                }
            }
        }
    }
}
