//! How a segmenter goes on with an utterance that another one opened.

use shared::ids::UtteranceId;

use super::{Frames, KEEP_SAMPLES, Open, Segmenter, TRAILING_SAMPLES};

impl Segmenter {
    /// Goes on within `utterance`, which began at sample `start` and of which `audio` was handed out: all of it up to this
    /// segmenter's position. The detector hears it again, so that silence is counted from where it began.
    #[must_use]
    pub fn within(mut self, utterance: UtteranceId, start: u64, audio: &[i16]) -> Self {
        let position = start + audio.len() as u64;
        let mut open =
            Open { utterance, start, last_speech: start, flicker: true, heard: Frames::default(), committed: start };
        let mut now = start;
        for frame in audio.chunks_exact(self.frame_samples) {
            now += frame.len() as u64;
            let probability = self.detector.speech_probability(frame);
            open.hear(now, probability);
        }
        // What was handed out belongs to the utterance, so speech was no longer ago than the trailing silence.
        open.last_speech = open.last_speech.max(position.saturating_sub(TRAILING_SAMPLES));
        let kept = audio.len().min(usize::try_from(KEEP_SAMPLES).unwrap_or(usize::MAX));
        self.held = audio[audio.len() - kept..].iter().copied().collect();
        self.held_from = position - kept as u64;
        self.given = position;
        self.open = Some(open);
        self.next_utterance = UtteranceId(utterance.0.saturating_add(1));
        self
    }
}
