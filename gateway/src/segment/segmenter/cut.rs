//! What a segmenter makes of the audio.

use shared::ids::UtteranceId;

/// Why an utterance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Nobody spoke for the silence threshold.
    Silence,
    /// It reached the maximum length; if speech goes on, so does the next utterance from the same sample.
    MaxLength,
    /// It was split where its committed text ends; the next utterance goes on from the same sample.
    Split,
    /// The client asked for it, or sends no more.
    Finalized,
}

/// What became of the audio, in order. For each utterance: one `Started`, its audio without gaps, one `Ended`. Audio
/// behind the `end_sample` of an utterance that was cut is not part of it: the next begins there and gets it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Speech has begun.
    Started {
        /// Counts from 1.
        utterance: UtteranceId,
        /// First sample, pre-roll included.
        start_sample: u64,
        /// First sample of speech: behind the pre-roll, as far as there was room for one.
        speech_sample: u64,
    },
    /// The next stretch of an open utterance, of any length.
    Audio {
        /// Which.
        utterance: UtteranceId,
        /// 16 kHz mono.
        samples: Vec<i16>,
    },
    /// The utterance is complete.
    Ended {
        /// Which.
        utterance: UtteranceId,
        /// One past its last sample.
        end_sample: u64,
        /// Why.
        reason: EndReason,
    },
}
