//! The earshot network behind [`SpeechDetector`].
//!
//! The network is not indifferent to level: it misses soft speech and takes loud noise for speech. So it hears every
//! stream at about the same level, and is not asked at all about sounds that keep theirs. It is most of what a session
//! costs a gateway, so while a sound keeps its level it does not even hear it: it is told the end of it when the sound
//! changes. Who listens and says nothing costs next to nothing.

use std::collections::VecDeque;

use kernels::VoiceNetwork;

use super::{
    SpeechDetector,
    spectrum::{HOP, Spectrum},
    steady::{Steadiness, power, power_db},
};

/// Samples in a frame (16 ms); the network takes no other size.
const FRAME_SAMPLES: usize = HOP;
/// Level the network hears a stream at, in dBFS. Of those tried, the one where noise of all kinds stays below what
/// speech in noise reaches.
const TARGET_DB: f32 = -34.0;
/// Streams softer than this, in dBFS, are only raised as much as this one: silence stays silence.
const SOFTEST_DB: f32 = -55.0;
/// Share of the way to a louder frame's level that is made at once; a lone click moves it little.
const ATTACK: f32 = 0.25;
/// How fast a softer stream is followed, decibels a frame (about 6 dB a second).
const RELEASE_DB: f32 = 0.1;
/// Frames at the end of a steady sound that the network hears after all (0.5 s): with so many, what it remembers of the
/// rest changes what it says next by some hundredths. Shorter steady sounds it hears whole.
const REMEMBERED: usize = 32;

type Frame = [i16; FRAME_SAMPLES];

pub(crate) struct Earshot {
    spectrum: Spectrum,
    network: VoiceNetwork,
    steadiness: Steadiness,
    /// Level followed, in dBFS; none before the first frame.
    level_db: Option<f32>,
    /// The newest frames of a steady sound, each with its gain; the oldest goes when there are [`REMEMBERED`].
    unheard: VecDeque<(Frame, f32)>,
}

impl Earshot {
    pub(crate) fn new() -> Self {
        Self {
            spectrum: Spectrum::new(),
            network: VoiceNetwork::new(),
            steadiness: Steadiness::new(FRAME_SAMPLES),
            level_db: None,
            unheard: VecDeque::new(),
        }
    }

    /// The factor that brings a stream whose newest frame has this power to [`TARGET_DB`].
    fn gain(&mut self, power: f32) -> f32 {
        let now = power_db(power).max(SOFTEST_DB);
        let level = match self.level_db {
            None => now,
            Some(level) if now > level => level + (now - level) * ATTACK,
            Some(level) => (level - RELEASE_DB).max(now),
        };
        self.level_db = Some(level);
        10f32.powf((TARGET_DB - level) / 20.0)
    }

    fn ask(&mut self, frame: &Frame, gain: f32) -> f32 {
        self.spectrum.of(frame, gain, |spectrum| self.network.hear(spectrum))
    }
}

impl SpeechDetector for Earshot {
    fn frame_samples(&self) -> usize {
        FRAME_SAMPLES
    }

    fn speech_probability(&mut self, frame: &[i16]) -> f32 {
        let Ok(frame) = <&Frame>::try_from(frame) else { return 0.0 };
        let power = power(frame);
        let gain = self.gain(power);
        if self.steadiness.hear(power) {
            if self.unheard.len() == REMEMBERED {
                self.unheard.pop_front();
            }
            self.unheard.push_back((*frame, gain));
            return 0.0;
        }
        while let Some((frame, gain)) = self.unheard.pop_front() {
            self.ask(&frame, gain);
        }
        self.ask(frame, gain)
    }

    fn reset(&mut self) {
        self.spectrum.reset();
        self.network.reset();
        self.steadiness.reset();
        self.level_db = None;
        self.unheard.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn speech(name: &str) -> Vec<i16> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/speech").join(name);
        let bytes = std::fs::read(&path).unwrap();
        let data = bytes.windows(4).position(|word| word == b"data").unwrap() + 8;
        bytes[data..].as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
    }

    /// A small generator, so that a failure is the same every time.
    fn roll(state: &mut u64) -> i16 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 48) as i16
    }

    #[test]
    fn it_says_what_the_network_it_was_taken_from_says() {
        let mut state = 7;
        let noise = (0..160_000).map(|_| roll(&mut state) / 16).collect();
        let hum = (0..80_000).map(|n| ((n as f32 * 0.05).sin() * 20_000.0) as i16).collect();
        let streams = [speech("en.wav"), speech("de.wav"), speech("es.wav"), noise, hum, vec![0; 16_000]];
        let (mut asked, mut furthest) = (0, 0.0_f32);
        for samples in streams {
            for gain in [0.03, 0.4, 1.0, 6.0] {
                let mut ours = Earshot::new();
                let mut theirs = earshot::Detector::default_boxed();
                for frame in samples.as_chunks().0 {
                    let louder: [f32; FRAME_SAMPLES] =
                        std::array::from_fn(|n| (f32::from(frame[n]) / 32768.0 * gain).clamp(-1.0, 1.0));
                    furthest = furthest.max((ours.ask(frame, gain) - theirs.predict_f32(&louder)).abs());
                    asked += 1;
                }
            }
        }
        assert!(asked > 5_000 && furthest < 1e-3, "{furthest} apart in {asked} frames");
    }
}
