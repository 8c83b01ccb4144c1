//! The WebRTC detector (libfvad) behind [`SpeechDetector`].

use webrtc_vad::{SampleRate, Vad, VadMode};

use super::{
    SpeechDetector,
    steady::{Steadiness, power},
};

/// Samples in a frame (20 ms); libfvad takes 10, 20 or 30 ms.
const FRAME_SAMPLES: usize = 320;

pub(crate) struct Webrtc {
    vad: Vad,
    steadiness: Steadiness,
}

// SAFETY: `Vad` is `!Send` only because it holds a raw pointer. What it points to is a plain struct on the C heap that
// nothing else refers to: libfvad keeps no global or thread-local state, and every call goes through `&mut self`.
#[expect(unsafe_code, reason = "a raw pointer hides that the C state is owned and bound to no thread")]
unsafe impl Send for Webrtc {}

impl Webrtc {
    pub(crate) fn new() -> Self {
        // The plain constructor would listen at 8 kHz.
        let vad = Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, VadMode::Aggressive);
        Self { vad, steadiness: Steadiness::new(FRAME_SAMPLES) }
    }
}

impl SpeechDetector for Webrtc {
    fn frame_samples(&self) -> usize {
        FRAME_SAMPLES
    }

    /// libfvad only says yes or no, so this is 1 or 0. It takes every loud hum and hiss for speech, so steady sounds
    /// are ruled out first.
    fn speech_probability(&mut self, frame: &[i16]) -> f32 {
        // An empty slice would panic inside the binding; a wrong length is an error there, here no speech.
        let voice = frame.len() == FRAME_SAMPLES && self.vad.is_voice_segment(frame) == Ok(true);
        let steady = self.steadiness.hear(power(frame));
        if voice && !steady { 1.0 } else { 0.0 }
    }

    fn reset(&mut self) {
        // Not `Vad::reset`: that falls back to 8 kHz and the mildest mode.
        *self = Self::new();
    }
}
