//! How much of an utterance the detector is sure about.

/// From this probability on the detector is sure of a frame. Hardly a frame of music or noise reaches it; a third to two
/// thirds of those of speech do, vowels mostly.
const SURE: f32 = 0.9;

/// Frames of an utterance since it opened, those of the one it was cut from included, and those that surely hold speech.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Frames {
    all: u32,
    sure: u32,
}

impl Frames {
    /// Takes in one more frame.
    pub(crate) fn hear(&mut self, probability: f32) {
        self.all += 1;
        self.sure += u32::from(probability >= SURE);
    }

    /// The share of sure frames; 1 where nothing was heard that speaks against it.
    pub(crate) fn share(self) -> f32 {
        if self.all == 0 { 1.0 } else { self.sure as f32 / self.all as f32 }
    }
}
