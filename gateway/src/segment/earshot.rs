//! The earshot network behind [`SpeechDetector`].

use earshot::Detector;

use super::SpeechDetector;

/// Samples in a frame (16 ms); the network takes no other size.
const FRAME_SAMPLES: usize = 256;

pub(crate) struct Earshot(Box<Detector>);

impl Earshot {
    pub(crate) fn new() -> Self {
        Self(Detector::default_boxed())
    }
}

impl SpeechDetector for Earshot {
    fn frame_samples(&self) -> usize {
        FRAME_SAMPLES
    }

    fn speech_probability(&mut self, frame: &[i16]) -> f32 {
        self.0.predict_i16(frame)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
