//! From a client's bytes to utterances. All of it is pure: no clock, no I/O, no queue; the session drives it.
//!
//! - [`resample`]: the client's PCM becomes 16 kHz mono.
//! - [`detector`]: "how likely is this frame speech", a trait, with [`earshot`] (default) and [`webrtc`] behind it.
//! - [`spectrum`]: what the network behind the default one hears.
//! - [`steady`]: sounds that keep their level are not speech, whatever a detector says.
//! - [`onset`]: how many likely frames make the start of speech.
//! - [`certainty`]: how much of an utterance the detector is sure about.
//! - [`quiet`]: where speech that is too long is best cut.
//! - [`segmenter`]: the state machine that opens, streams, cuts and closes utterances.

mod certainty;
pub mod detector;
mod earshot;
mod onset;
mod quiet;
pub mod resample;
pub mod segmenter;
mod spectrum;
mod steady;
mod webrtc;

pub use detector::{DetectorKind, SpeechDetector, UnknownDetector};
pub use resample::{ResampleError, Resampler};
pub use segmenter::{Cut, EndReason, Segmenter, SegmenterConfig};

/// Audio before the first speech that belongs to an utterance, where nothing else is said.
pub const PRE_ROLL: std::time::Duration = std::time::Duration::from_millis(300);
