//! Frames that came while their session waited for the bus: kept in order, and no more than so many bytes.

use std::{collections::VecDeque, fmt, time::Instant};

use bytes::Bytes;
use prometheus::IntGauge;
use shared::{audio::BYTES_PER_SAMPLE, wire::AudioFormat};

use super::Inbound;

/// Audio that is held of a session, seconds: the promise, and what a failover of Redis takes (2.3 s) four times over.
const HELD_SECONDS: usize = 10;
/// Held at least: 12 s of 16 kHz mono.
const LEAST_BYTES: usize = 12 * 16_000 * BYTES_PER_SAMPLE;
/// What a frame takes besides its bytes: its place in a queue that doubles when it grows (56 bytes, up to twice), and its
/// allocation (32 at least).
const FRAME_BYTES: usize = 160;
/// All sessions of a gateway hold no more, bytes: a quarter of the memory that it has where nothing else is said (1 GiB).
/// What is beyond it waits in the clients. Enough for ten seconds of 670 sessions at 16 kHz mono.
const HELD_BY_ALL: i64 = 256 * 1024 * 1024;
/// The shortest frames in use: 20 ms.
const FRAMES_A_SECOND: usize = 50;

/// A queue of frames, bounded in bytes: once it is full, or all together are, or the client has gone, nothing more is read
/// from the socket, so the client is held back by TCP. One frame may reach beyond the bound.
pub(super) struct Held {
    frames: VecDeque<(Inbound, Instant)>,
    bytes: usize,
    most: usize,
    /// Nothing comes after the last frame here.
    over: bool,
    gauge: IntGauge,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} frames, {} of {} bytes)", self.frames.len(), self.bytes, self.most)
    }
}

fn size(frame: &Inbound) -> usize {
    let bytes = match frame {
        Inbound::Text(text) => text.len(),
        Inbound::Audio(bytes) => bytes.len(),
        _ => 0,
    };
    bytes + FRAME_BYTES
}

impl Held {
    /// Nothing yet. `gauge`: bytes that all sessions hold.
    pub(super) fn new(gauge: IntGauge) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, most: LEAST_BYTES, over: false, gauge }
    }

    /// Has room for ten seconds of `format` from now on, in frames of 20 ms or longer: 400 kB for 16 kHz mono, 2 MB
    /// for 48 kHz stereo.
    pub(super) fn fit(&mut self, format: AudioFormat) {
        let frame = usize::from(format.channels) * BYTES_PER_SAMPLE;
        let bytes = HELD_SECONDS * format.sample_rate as usize * frame;
        self.most = (bytes + HELD_SECONDS * FRAMES_A_SECOND * FRAME_BYTES).max(LEAST_BYTES);
    }

    /// Whether one more frame may be read.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.most && !self.over && self.gauge.get() < HELD_BY_ALL
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the client has gone, or sent what ends its session.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the client has gone, so that nobody waits for an answer.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self.frames.back(), Some((Inbound::Closed | Inbound::Gone, _)))
    }

    pub(super) fn push(&mut self, frame: Inbound, at: Instant) {
        // A frame as it was read keeps all of the buffer that it was read into.
        let frame = match frame {
            Inbound::Pong => return,
            Inbound::Audio(bytes) => Inbound::Audio(Bytes::copy_from_slice(&bytes)),
            other => other,
        };
        self.over |= matches!(frame, Inbound::TooLarge(_) | Inbound::Closed | Inbound::Gone);
        self.count(self.bytes + size(&frame));
        self.frames.push_back((frame, at));
    }

    pub(super) fn pop(&mut self) -> Option<(Inbound, Instant)> {
        let popped = self.frames.pop_front();
        match &popped {
            Some((frame, _)) => self.count(self.bytes.saturating_sub(size(frame))),
            None if self.frames.capacity() > 0 => self.frames = VecDeque::new(),
            None => {}
        }
        popped
    }

    /// What the client ended with; all before it is dropped, for nobody was told that it had arrived.
    pub(super) fn pop_end(&mut self) -> Option<(Inbound, Instant)> {
        let end = self.frames.pop_back();
        self.frames.clear();
        self.count(0);
        end
    }

    fn count(&mut self, bytes: usize) {
        let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.gauge.add(signed(bytes) - signed(self.bytes));
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use shared::wire::Encoding;

    use super::*;

    /// Seconds of audio that are held, in frames of `frame_ms`, and the bytes they take.
    fn held(sample_rate: u32, channels: u8, frame_ms: usize) -> (f64, i64) {
        let gauge = IntGauge::new("held", "held").unwrap();
        let mut held = Held::new(gauge.clone());
        held.fit(AudioFormat { encoding: Encoding::PcmS16le, sample_rate, channels });
        let frame = vec![0; sample_rate as usize * usize::from(channels) * 2 * frame_ms / 1000];
        let mut frames = 0;
        while held.has_room() {
            held.push(Inbound::Audio(frame.clone().into()), Instant::now());
            frames += 1;
        }
        let bytes = gauge.get();
        drop(held);
        assert_eq!(gauge.get(), 0, "what is dropped is held no more");
        (f64::from(frames) * frame_ms as f64 / 1000.0, bytes)
    }

    #[test]
    fn ten_seconds_of_every_format_fit_and_never_more_than_two_megabytes() {
        for (sample_rate, channels) in [(8_000, 1), (16_000, 1), (24_000, 1), (44_100, 2), (48_000, 1), (48_000, 2)] {
            for frame_ms in [20, 60, 100, 250] {
                let (seconds, bytes) = held(sample_rate, channels, frame_ms);
                assert!(seconds >= 10.0, "{seconds} s of {sample_rate} Hz, {channels} channels");
                assert!(bytes <= 2_050_000, "{bytes} bytes of {sample_rate} Hz, {channels} channels");
            }
        }
        assert!(held(16_000, 1, 100).0 >= 11.5);
    }

    #[test]
    fn the_smallest_frames_are_bounded_as_well() {
        let gauge = IntGauge::new("held", "held").unwrap();
        let mut held = Held::new(gauge);
        let mut frames = 0;
        while held.has_room() {
            held.push(Inbound::Audio(Bytes::from_static(&[0, 0])), Instant::now());
            frames += 1;
        }
        assert!(frames < 2_500, "{frames} frames of two bytes");
    }

    #[test]
    fn all_sessions_together_hold_no_more_than_a_gateway_has_room_for() {
        let gauge = IntGauge::new("held", "held").unwrap();
        let (mut one, mut other) = (Held::new(gauge.clone()), Held::new(gauge.clone()));
        gauge.set(HELD_BY_ALL - 1);
        assert!(one.has_room() && other.has_room());
        one.push(Inbound::Audio(Bytes::from_static(&[0, 0])), Instant::now());
        assert!(!one.has_room() && !other.has_room(), "what one holds leaves no room for the other");
        assert!(one.pop().is_some() && other.pop().is_none());
        assert!(other.has_room());
    }

    #[test]
    fn frames_come_out_in_order_and_nothing_is_read_behind_the_end() {
        let mut held = Held::new(IntGauge::new("held", "held").unwrap());
        let now = Instant::now();
        for n in 0..3 {
            held.push(Inbound::Audio(vec![n].into()), now);
        }
        held.push(Inbound::Pong, now);
        held.push(Inbound::Closed, now);
        assert!(!held.has_room() && held.is_over() && held.is_abandoned());
        for n in 0..3 {
            assert!(matches!(held.pop(), Some((Inbound::Audio(bytes), _)) if bytes[..] == [n]));
        }
        assert!(matches!(held.pop(), Some((Inbound::Closed, _))));
        assert!(held.pop().is_none() && held.bytes == 0);
    }
}
