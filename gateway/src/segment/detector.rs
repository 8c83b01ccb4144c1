//! What a voice activity detector must be able to do, and the choice between those there are.

use std::str::FromStr;

use super::{earshot::Earshot, webrtc::Webrtc};

/// Judges short frames of 16 kHz mono audio, one after the other; one detector for each stream.
pub trait SpeechDetector: Send {
    /// Samples in a frame; fixed for the life of the detector.
    fn frame_samples(&self) -> usize;

    /// How likely `frame` (exactly [`Self::frame_samples`] long) holds speech, 0 to 1.
    fn speech_probability(&mut self, frame: &[i16]) -> f32;

    /// Forgets all audio heard so far.
    fn reset(&mut self);
}

/// The detectors an operator can choose from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DetectorKind {
    /// A small neural network, with its level evened out: silent on noise, hum, tones and clicks. Frames of 16 ms.
    #[default]
    Earshot,
    /// The Gaussian mixtures of WebRTC: cheaper, but takes clicks and unsteady noise for speech. Frames of 20 ms.
    Webrtc,
}

impl DetectorKind {
    /// A fresh detector of this kind.
    #[must_use]
    pub fn build(self) -> Box<dyn SpeechDetector> {
        match self {
            Self::Earshot => Box::new(Earshot::new()),
            Self::Webrtc => Box::new(Webrtc::new()),
        }
    }
}

impl FromStr for DetectorKind {
    type Err = UnknownDetector;

    fn from_str(name: &str) -> Result<Self, UnknownDetector> {
        match name {
            "earshot" => Ok(Self::Earshot),
            "webrtc" => Ok(Self::Webrtc),
            _ => Err(UnknownDetector(name.to_owned())),
        }
    }
}

/// A name that belongs to no detector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no voice activity detector is called {0:?}; write \"earshot\" or \"webrtc\"")]
pub struct UnknownDetector(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_from_their_names() {
        assert_eq!("earshot".parse(), Ok(DetectorKind::Earshot));
        assert_eq!("webrtc".parse(), Ok(DetectorKind::Webrtc));
        let refused = "silero".parse::<DetectorKind>();
        assert!(refused.is_err_and(|e| e.to_string().contains("silero")));
    }

    #[test]
    fn every_detector_is_silent_on_silence_and_the_same_again_after_a_reset() {
        for kind in [DetectorKind::Earshot, DetectorKind::Webrtc] {
            let mut detector = kind.build();
            let frame = vec![0; detector.frame_samples()];
            assert!(detector.speech_probability(&frame) < 0.5, "{kind:?} hears speech in silence");
            let tone: Vec<i16> =
                (0..detector.frame_samples()).map(|i| if i % 40 < 20 { 9000 } else { -9000 }).collect();
            let heard: Vec<f32> = (0..20).map(|_| detector.speech_probability(&tone)).collect();
            detector.reset();
            detector.speech_probability(&frame);
            let again: Vec<f32> = (0..20).map(|_| detector.speech_probability(&tone)).collect();
            assert_eq!(heard, again, "{kind:?} remembers audio from before the reset");
        }
    }
}
