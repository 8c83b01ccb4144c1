//! The earshot network behind [`SpeechDetector`].
//!
//! The network is not indifferent to level: it misses soft speech and takes loud noise for speech. So it hears every
//! stream at about the same level, and is not asked at all about sounds that keep theirs.

use earshot::Detector;

use super::{
    SpeechDetector,
    steady::{Steadiness, level_db},
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

pub(crate) struct Earshot {
    network: Box<Detector>,
    steadiness: Steadiness,
    /// Level followed, in dBFS; none before the first frame.
    level_db: Option<f32>,
}

impl Earshot {
    pub(crate) fn new() -> Self {
        Self { network: Detector::default_boxed(), steadiness: Steadiness::new(FRAME_SAMPLES), level_db: None }
    }

    /// The factor that brings the stream to [`TARGET_DB`].
    fn gain(&mut self, frame: &[i16]) -> f32 {
        let now = level_db(frame).max(SOFTEST_DB);
        let level = match self.level_db {
            None => now,
            Some(level) if now > level => level + (now - level) * ATTACK,
            Some(level) => (level - RELEASE_DB).max(now),
        };
        self.level_db = Some(level);
        10f32.powf((TARGET_DB - level) / 20.0)
    }
}

impl SpeechDetector for Earshot {
    fn frame_samples(&self) -> usize {
        FRAME_SAMPLES
    }

    fn speech_probability(&mut self, frame: &[i16]) -> f32 {
        let gain = self.gain(frame);
        let levelled: Vec<f32> = frame.iter().map(|&s| (f32::from(s) / 32768.0 * gain).clamp(-1.0, 1.0)).collect();
        let probability = self.network.predict_f32(&levelled);
        if self.steadiness.hear(frame) { 0.0 } else { probability }
    }

    fn reset(&mut self) {
        self.network.reset();
        self.steadiness.reset();
        self.level_db = None;
    }
}
