//! What the sessions say: the recordings that ship, one after the other, again and again.

use bytes::Bytes;

use crate::{
    speech::{demo, pcm},
    stack::repository,
};

/// Audio of one frame, milliseconds.
pub const FRAME_MS: u64 = 100;
/// Bytes of one frame of 16 kHz mono s16le.
pub const FRAME_BYTES: usize = FRAME_MS as usize * 32;
/// Silence between two recordings, in frames: longer than what ends an utterance.
const PAUSE_FRAMES: usize = 12;

/// A ring of frames that all sessions share; each begins at another place.
#[derive(Debug, Clone)]
pub struct Voice {
    pcm: Bytes,
}

impl Voice {
    /// The demo's recording and those of the fixtures: three languages, many voices, about 55 s.
    ///
    /// # Panics
    /// When a recording is not there.
    #[must_use]
    pub fn shipped() -> Self {
        let fixtures = repository().join("tests/fixtures/speech");
        let files = [demo().0, fixtures.join("en.wav"), fixtures.join("de.wav"), fixtures.join("es.wav")];
        let mut all = Vec::new();
        for file in files {
            all.extend(pcm(&file));
            all.resize((all.len().div_ceil(FRAME_BYTES) + PAUSE_FRAMES) * FRAME_BYTES, 0);
        }
        Self { pcm: all.into() }
    }

    /// Frames until it begins again.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.pcm.len() / FRAME_BYTES
    }

    /// Frame `number` of somebody who began at frame `from`. Nothing is copied.
    #[must_use]
    pub fn frame(&self, from: usize, number: usize) -> Bytes {
        let at = (from + number) % self.frames() * FRAME_BYTES;
        self.pcm.slice(at..at + FRAME_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_again_and_holds_whole_frames() {
        let voice = Voice::shipped();
        assert!(voice.frames() > 400);
        assert_eq!(voice.frame(3, voice.frames()), voice.frame(3, 0));
        assert_eq!(voice.frame(voice.frames() - 1, 1), voice.frame(0, 0));
        assert!(voice.frame(7, 7).len() == FRAME_BYTES);
    }
}
