//! How many likely frames make the start of speech.

use std::collections::VecDeque;

/// A frame counts towards the start of speech from this probability on.
const LIKELY: f32 = 0.65;

/// Speech has begun when enough of the latest frames are likely speech: a click or a flicker of the detector is not.
#[derive(Debug)]
pub(crate) struct Onset {
    frame_samples: u64,
    /// Likely frames it takes.
    needed: usize,
    /// Frames they may be spread over.
    window: usize,
    recent: VecDeque<bool>,
}

impl Onset {
    /// `min_speech` samples of likely speech must lie within one and a half times as long.
    pub(crate) fn new(frame_samples: u64, min_speech: u64) -> Self {
        let needed = usize::try_from(min_speech.div_ceil(frame_samples)).unwrap_or(usize::MAX / 2).max(1);
        Self { frame_samples, needed, window: needed + needed / 2, recent: VecDeque::new() }
    }

    /// Samples that [`Self::hear`] may look back.
    pub(crate) fn reach(&self) -> u64 {
        self.window as u64 * self.frame_samples
    }

    /// Takes in the frame ending at sample `end`; the start of the first likely frame if speech has now begun.
    pub(crate) fn hear(&mut self, end: u64, probability: f32) -> Option<u64> {
        if self.recent.len() == self.window {
            self.recent.pop_front();
        }
        self.recent.push_back(probability >= LIKELY);
        if self.recent.iter().filter(|&&likely| likely).count() < self.needed {
            return None;
        }
        let first = self.recent.iter().position(|&likely| likely)?;
        Some(end.saturating_sub((self.recent.len() - first) as u64 * self.frame_samples))
    }

    /// Forgets all frames.
    pub(crate) fn clear(&mut self) {
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(pattern: &str) -> Option<u64> {
        let mut onset = Onset::new(100, 400); // 4 likely frames of 6
        let frames = pattern.bytes().zip(1u64..);
        frames.filter_map(|(mark, frame)| onset.hear(frame * 100, if mark == b'x' { 0.9 } else { 0.1 })).next()
    }

    #[test]
    fn enough_likely_frames_close_together_begin_speech_at_the_first_of_them() {
        assert_eq!(begins("..xxxx"), Some(200));
        assert_eq!(begins(".x.xx.x"), Some(100));
    }

    #[test]
    fn a_flicker_begins_nothing() {
        assert_eq!(begins("xxx....xxx....x.x.x..x"), None);
    }
}
