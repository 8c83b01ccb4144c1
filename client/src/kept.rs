//! What a client said that the gateway does not yet have for certain, in order, so that it can be said again.

use std::collections::VecDeque;

use shared::wire::{AudioFormat, ClientMessage};
use tokio_tungstenite::tungstenite::Bytes;

/// Bytes of one frame of silence put in for audio that is lost; well below what the gateway takes.
const FILLER_BYTES: u64 = 16 * 1024;
/// Audio kept, seconds: the 120 s for which a session can be resumed, and what is said while it is.
const KEPT_SECONDS: u64 = 150;

/// One thing to say. Positions are bytes since the session's first sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// PCM that begins at `from`.
    Audio { from: u64, pcm: Bytes },
    /// A message said when the audio was `at`.
    Said { at: u64, message: ClientMessage },
}

impl Item {
    fn end(&self) -> u64 {
        match self {
            Self::Audio { from, pcm } => from + pcm.len() as u64,
            Self::Said { at, .. } => *at,
        }
    }
}

/// A ring of what was said and may have to be said again.
#[derive(Debug)]
pub(super) struct Kept {
    bytes_per_frame: u64,
    sample_rate: u64,
    items: VecDeque<Item>,
    /// How many of `items` the present socket was given.
    given: usize,
    /// Position behind the newest audio.
    end: u64,
    held: u64,
    capacity: u64,
}

impl Kept {
    pub(super) fn new(format: AudioFormat) -> Self {
        let (bytes_per_frame, sample_rate) = (u64::from(format.channels) * 2, u64::from(format.sample_rate));
        let capacity = bytes_per_frame * sample_rate * KEPT_SECONDS;
        Self { bytes_per_frame, sample_rate, items: VecDeque::new(), given: 0, end: 0, held: 0, capacity }
    }

    pub(super) fn hear(&mut self, pcm: Bytes) {
        self.held += pcm.len() as u64;
        let from = self.end;
        self.end += pcm.len() as u64;
        self.items.push_back(Item::Audio { from, pcm });
    }

    pub(super) fn say(&mut self, message: ClientMessage) {
        self.items.push_back(Item::Said { at: self.end, message });
    }

    /// Whether no more should be taken in until some is given or released.
    pub(super) fn is_full(&self) -> bool {
        self.held >= self.capacity
    }

    /// The next thing that the present socket was not given.
    pub(super) fn next(&self) -> Option<&Item> {
        self.items.get(self.given)
    }

    /// The socket was given what [`Kept::next`] showed. What no longer fits is forgotten from the old end: a gateway that
    /// acknowledges never lets it come to that.
    pub(super) fn give(&mut self) {
        self.given = (self.given + 1).min(self.items.len());
        while self.is_full() && self.given > 1 {
            self.forget_first();
        }
    }

    /// Audio before `audio_ms` is safe with the gateway.
    pub(super) fn release(&mut self, audio_ms: u64) {
        let safe = self.position(audio_ms);
        // A message at the very place may still be wanted, and does no harm twice.
        let done = |item: &Item| match item {
            Item::Audio { .. } => item.end() <= safe,
            Item::Said { at, .. } => *at < safe,
        };
        while self.given > 0 && self.items.front().is_some_and(done) {
            self.forget_first();
        }
    }

    /// A new socket wants everything from `audio_ms` on. Returns how many milliseconds of it are no longer here; silence
    /// stands for them, so that all times stay right.
    pub(super) fn rewind(&mut self, audio_ms: u64) -> u64 {
        self.given = self.items.len();
        self.release(audio_ms);
        self.given = 0;
        let wanted = self.position(audio_ms);
        let first = match self.items.iter_mut().find(|item| matches!(item, Item::Audio { .. })) {
            Some(Item::Audio { from, pcm }) if *from < wanted => {
                let skipped = wanted - *from;
                *pcm = pcm.slice(usize::try_from(skipped).unwrap_or(0).min(pcm.len())..);
                *from = wanted;
                self.held -= skipped;
                wanted
            }
            Some(Item::Audio { from, .. }) => *from,
            _ => self.end,
        };
        let missing = first.saturating_sub(wanted);
        for at in (wanted..first).step_by(FILLER_BYTES as usize).collect::<Vec<_>>().into_iter().rev() {
            let length = FILLER_BYTES.min(first - at);
            self.held += length;
            self.items.push_front(Item::Audio { from: at, pcm: vec![0; usize::try_from(length).unwrap_or(0)].into() });
        }
        self.ms(missing)
    }

    /// What is here becomes the beginning of a new session. Returns how much of the old one is before it, milliseconds.
    pub(super) fn rebase(&mut self) -> u64 {
        self.given = 0;
        let first = self.items.iter().find(|item| matches!(item, Item::Audio { .. }));
        let base = first.map_or(self.end, |item| match item {
            Item::Audio { from, .. } => *from,
            Item::Said { at, .. } => *at,
        });
        for item in &mut self.items {
            match item {
                Item::Audio { from: at, .. } | Item::Said { at, .. } => *at = at.saturating_sub(base),
            }
        }
        self.end -= base;
        self.ms(base)
    }

    fn forget_first(&mut self) {
        if let Some(Item::Audio { pcm, .. }) = self.items.pop_front() {
            self.held -= pcm.len() as u64;
        }
        self.given = self.given.saturating_sub(1);
    }

    /// Where `audio_ms` begins, as a byte on the border of a frame.
    fn position(&self, audio_ms: u64) -> u64 {
        audio_ms.saturating_mul(self.sample_rate) / 1000 * self.bytes_per_frame
    }

    fn ms(&self, bytes: u64) -> u64 {
        bytes / self.bytes_per_frame * 1000 / self.sample_rate
    }
}

#[cfg(test)]
mod tests {
    use shared::wire::Encoding;

    use super::*;

    /// 1000 samples a second make a byte pair a millisecond.
    fn kept() -> Kept {
        let mut kept = Kept::new(AudioFormat { encoding: Encoding::PcmS16le, sample_rate: 8000, channels: 1 });
        kept.sample_rate = 1000;
        kept
    }

    /// All that a new socket would be given: PCM as (position, bytes), messages as their position alone.
    fn given(kept: &mut Kept) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(item) = kept.next() {
            all.push(match item {
                Item::Audio { from, pcm } => (*from, pcm.to_vec()),
                Item::Said { at, .. } => (*at, Vec::new()),
            });
            kept.give();
        }
        all
    }

    #[test]
    fn what_is_not_acknowledged_is_said_again_from_the_very_sample() {
        let mut kept = kept();
        kept.hear(vec![1; 200].into());
        kept.say(ClientMessage::Finalize {});
        kept.hear(vec![2; 200].into());
        assert_eq!(given(&mut kept).len(), 3);
        kept.release(50);
        assert_eq!(kept.items.len(), 3, "half a frame is not safe");
        kept.release(100);
        assert_eq!(kept.items.len(), 2, "the first frame is safe; the message after it may not be");
        assert_eq!(kept.rewind(150), 0);
        assert_eq!(given(&mut kept), [(300, vec![2; 100])]);
        kept.hear(vec![3; 10].into());
        assert_eq!(given(&mut kept), [(400, vec![3; 10])], "what was given once is not given twice");
        assert_eq!(kept.held, 110);
    }

    #[test]
    fn a_message_is_said_again_at_its_place() {
        let mut kept = kept();
        kept.hear(vec![1; 100].into());
        kept.say(ClientMessage::Stop {});
        given(&mut kept);
        assert_eq!(kept.rewind(50), 0);
        assert_eq!(given(&mut kept), [(100, vec![])], "all audio is safe, and `stop` may not have been heard");
    }

    #[test]
    fn lost_audio_becomes_silence_so_that_times_stay_right() {
        let mut kept = kept();
        kept.hear(vec![1; 200].into());
        kept.hear(vec![2; 100].into());
        given(&mut kept);
        kept.release(100);
        assert_eq!(kept.rewind(40), 60);
        assert_eq!(given(&mut kept), [(80, vec![0; 120]), (200, vec![2; 100])]);
    }

    #[test]
    fn a_new_session_begins_with_what_is_left() {
        let mut kept = kept();
        kept.hear(vec![1; 200].into());
        kept.hear(vec![2; 100].into());
        given(&mut kept);
        kept.release(100);
        assert_eq!(kept.rebase(), 100);
        assert_eq!(given(&mut kept), [(0, vec![2; 100])]);
        kept.hear(vec![3; 10].into());
        assert_eq!(given(&mut kept), [(100, vec![3; 10])]);
        let mut empty = super::tests::kept();
        assert_eq!((empty.rebase(), empty.rewind(0)), (0, 0));
    }

    #[test]
    fn the_ring_holds_two_minutes_and_more_and_never_drops_what_was_not_given() {
        let mut kept = kept();
        kept.capacity = 2000 * 150;
        let second = || -> Bytes { vec![0; 2000].into() };
        let mut taken = 0;
        while !kept.is_full() {
            kept.hear(second());
            taken += 1;
        }
        assert_eq!(taken, 150);
        assert_eq!(kept.next().map(Item::end), Some(2000), "nothing was given, and nothing is gone");
        given(&mut kept);
        assert!(!kept.is_full() && kept.items.len() >= 149, "as much as fits stays");
    }
}
