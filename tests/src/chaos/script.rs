//! What a session says: short stretches of real speech with silence between them, drawn from a seed, each with marked words.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::marks::{MARK_SAMPLES, Mark};
use crate::{
    resuming::Audio,
    speech::{demo, pcm},
};

const PER_MS: usize = 16;
/// Of each recorded utterance, the beginning is spoken: so much, milliseconds.
const SPOKEN_MS: usize = 800;
/// Where in it the words are marked, milliseconds: where the voice is surely there.
const WORDS_AT_MS: [usize; 3] = [250, 420, 590];
/// Silence between two utterances, milliseconds; the gateway's must be set below.
const SILENCE_MS: std::ops::Range<usize> = 450..700;
/// Silence at the end, milliseconds.
const END_MS: usize = 1_000;

/// The silence that ends an utterance, for the gateway of a session that says a script.
pub const SILENCE_SECONDS: &str = "0.3";

/// The beginnings of recorded utterances.
#[derive(Debug, Clone)]
pub struct Clips(Arc<Vec<Vec<i16>>>);

impl Clips {
    /// From the recording that ships.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn of_demo() -> Self {
        let (path, spoken) = demo();
        let bytes = pcm(&path);
        let samples: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        let clip = |start_ms: u64| {
            let start = usize::try_from(start_ms).unwrap_or_default() * PER_MS;
            samples.get(start..start + SPOKEN_MS * PER_MS).map(<[i16]>::to_vec)
        };
        Self(Arc::new(spoken.iter().filter_map(|utterance| clip(utterance.start_ms)).collect()))
    }
}

/// One word of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Its mark.
    pub mark: Mark,
    /// Where it is said, milliseconds since the session's first sample.
    pub at_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Utterance {
    start: usize,
    clip: usize,
    marks: [Mark; WORDS_AT_MS.len()],
}

/// What one session says.
#[derive(Debug, Clone)]
pub struct Script {
    clips: Clips,
    utterances: Vec<Utterance>,
    samples: usize,
}

impl Script {
    /// `utterances` utterances, whose words are numbered from 0.
    #[must_use]
    pub fn draw(clips: &Clips, seed: u64, utterances: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut at = rng.random_range(200..1_200) * PER_MS;
        let mut number = 0;
        let mut next = || {
            number += 1;
            Mark::Word(number - 1)
        };
        let mut all = Vec::with_capacity(utterances);
        for _ in 0..utterances {
            let clip = rng.random_range(0..clips.0.len());
            all.push(Utterance { start: at, clip, marks: [(); WORDS_AT_MS.len()].map(|()| next()) });
            at += (SPOKEN_MS + rng.random_range(SILENCE_MS)) * PER_MS;
        }
        Self { clips: clips.clone(), utterances: all, samples: at + END_MS * PER_MS }
    }

    /// With another mark in the place of the second word of utterance `index`.
    ///
    /// # Panics
    /// When there is no such utterance.
    #[must_use]
    pub fn with(mut self, index: usize, mark: impl Fn(u32) -> Mark) -> Self {
        if let Mark::Word(number) = self.utterances[index].marks[1] {
            self.utterances[index].marks[1] = mark(number);
        }
        self
    }

    /// How many utterances.
    #[must_use]
    pub fn utterances(&self) -> usize {
        self.utterances.len()
    }

    /// Its words, in order.
    #[must_use]
    pub fn words(&self) -> Vec<Word> {
        let of = |utterance: &Utterance| {
            let start_ms = utterance.start / PER_MS;
            utterance
                .marks
                .into_iter()
                .zip(WORDS_AT_MS)
                .map(move |(mark, at)| Word { mark, at_ms: (start_ms + at) as u64 })
        };
        self.utterances.iter().flat_map(of).collect()
    }

    /// How long it takes to say, milliseconds.
    #[must_use]
    pub fn length_ms(&self) -> u64 {
        (self.samples / PER_MS) as u64
    }

    fn spoken(&self, utterance: &Utterance) -> Vec<i16> {
        let mut samples = self.clips.0[utterance.clip].clone();
        for (mark, at_ms) in utterance.marks.into_iter().zip(WORDS_AT_MS) {
            mark.write(&mut samples[at_ms * PER_MS..][..MARK_SAMPLES]);
        }
        samples
    }
}

impl Audio for Script {
    /// Made anew each time: hours of speech take no memory.
    fn frame(&self, from_ms: u64, length_ms: u64) -> Vec<u8> {
        let [from, length] = [from_ms, length_ms].map(|ms| usize::try_from(ms).unwrap_or(usize::MAX / 64) * PER_MS);
        let to = (from + length).min(self.samples);
        let mut samples = vec![0_i16; to.saturating_sub(from)];
        let first = self.utterances.partition_point(|utterance| utterance.start + SPOKEN_MS * PER_MS <= from);
        for utterance in self.utterances[first..].iter().take_while(|utterance| utterance.start < to) {
            for (index, sample) in self.spoken(utterance).into_iter().enumerate() {
                let place = (utterance.start + index).checked_sub(from).and_then(|place| samples.get_mut(place));
                if let Some(place) = place {
                    *place = sample;
                }
            }
        }
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::marks::read;

    #[test]
    fn every_word_is_in_the_audio_where_it_is_said_to_be() {
        let script = Script::draw(&Clips::of_demo(), 7, 5).with(3, Mark::Poison);
        let bytes: Vec<u8> =
            (0..).map(|n| script.frame(n * 70, 70)).take_while(|frame| !frame.is_empty()).flatten().collect();
        assert_eq!(bytes.len() / 32, usize::try_from(script.length_ms()).unwrap());
        let heard = read(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        let expected: Vec<_> = script.words().iter().map(|word| word.mark).collect();
        assert_eq!(heard.iter().map(|(_, mark)| *mark).collect::<Vec<_>>(), expected);
        assert!(
            heard.iter().zip(script.words()).all(|((end, _), word)| (end - MARK_SAMPLES) as u64 / 16 == word.at_ms)
        );
        assert_eq!(expected.iter().filter(|mark| matches!(mark, Mark::Poison(10))).count(), 1);
        assert_ne!(Script::draw(&Clips::of_demo(), 8, 5).frame(0, 5_000), script.frame(0, 5_000));
    }
}
