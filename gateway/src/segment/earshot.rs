//! The earshot network behind [`SpeechDetector`].
//!
//! The network is not indifferent to level: it misses soft speech and takes loud noise for speech. So it hears every
//! stream at about the same level, and is not asked at all about sounds that keep theirs. It is most of what a session
//! costs a gateway, so while a sound keeps its level it does not even hear it: it is told the end of it when the sound
//! changes. Who listens and says nothing costs next to nothing.

use std::collections::VecDeque;

use earshot::Detector;

use super::{
    SpeechDetector,
    steady::{Steadiness, power, power_db},
};

/// Samples in a frame (16 ms); the network takes no other size.
const FRAME_SAMPLES: usize = 256;
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
    network: Box<Detector>,
    steadiness: Steadiness,
    /// Level followed, in dBFS; none before the first frame.
    level_db: Option<f32>,
    /// The newest frames of a steady sound, each with its gain; the oldest goes when there are [`REMEMBERED`].
    unheard: VecDeque<(Frame, f32)>,
}

impl Earshot {
    pub(crate) fn new() -> Self {
        Self {
            network: Detector::default_boxed(),
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
        let levelled: [f32; FRAME_SAMPLES] =
            std::array::from_fn(|n| (f32::from(frame[n]) / 32768.0 * gain).clamp(-1.0, 1.0));
        self.network.predict_f32(&levelled)
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
        self.network.reset();
        self.steadiness.reset();
        self.level_db = None;
        self.unheard.clear();
    }
}
