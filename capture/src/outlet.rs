//! Samples leave as frames of 50 ms; a listener that does not keep up is told what it missed.

use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::{Device, FRAME_SAMPLES, Frame, Heard, SAMPLE_RATE};

/// News that wait for room: a move, a wait, some losses.
const NEWS: usize = 8;

/// The way out.
#[derive(Debug)]
pub(crate) struct Outlet {
    listener: Sender<Heard>,
    /// Short of a frame.
    rest: Vec<i16>,
    /// Frames dropped because the listener was behind, not told yet.
    dropped: usize,
    /// Told before any further frame; the oldest goes when there are too many.
    news: std::collections::VecDeque<Heard>,
}

impl Outlet {
    pub(crate) fn new(listener: Sender<Heard>) -> Self {
        Self { listener, rest: Vec::new(), dropped: 0, news: std::collections::VecDeque::new() }
    }

    /// Whether anybody listens still.
    pub(crate) fn is_closed(&self) -> bool {
        self.listener.is_closed()
    }

    /// Hands out all whole frames of what waits and of `samples`, which is emptied.
    pub(crate) fn sound(&mut self, samples: &mut Vec<i16>) {
        self.rest.append(samples);
        self.catch_up();
        let whole = self.rest.len() / FRAME_SAMPLES * FRAME_SAMPLES;
        for pcm in self.rest[..whole].chunks(FRAME_SAMPLES) {
            let behind = self.dropped > 0 || !self.news.is_empty();
            if behind || self.listener.try_send(Heard::Frame(frame(pcm.to_vec()))).is_err() {
                self.dropped += 1;
            }
        }
        self.rest.drain(..whole);
    }

    /// Sound that the machine did not deliver.
    pub(crate) fn lost(&mut self, time: Duration) {
        self.tell(Heard::Lost(time));
    }

    pub(crate) fn moved(&mut self, device: Device) {
        self.tell(Heard::Moved(device));
    }

    pub(crate) fn waiting(&mut self) {
        self.tell(Heard::Waiting);
    }

    fn tell(&mut self, news: Heard) {
        if self.news.len() == NEWS {
            self.news.pop_front();
        }
        self.news.push_back(news);
        self.catch_up();
    }

    /// What was dropped goes out as silence, as far as there is room, then the news.
    fn catch_up(&mut self) {
        let room = self.listener.capacity();
        if self.dropped > 0 && room >= 2 {
            let now = self.dropped.min(room - 1);
            let samples = u32::try_from(now * FRAME_SAMPLES).unwrap_or(u32::MAX);
            self.dropped -= now;
            let lost = Heard::Lost(Duration::from_secs(1) * samples / SAMPLE_RATE);
            let silence = (0..now).map(|_| Heard::Frame(frame(vec![0; FRAME_SAMPLES])));
            for heard in std::iter::once(lost).chain(silence) {
                // There was room; it can only be that nobody listens any more, which is looked at elsewhere.
                drop(self.listener.try_send(heard));
            }
        }
        while self.dropped == 0 && self.listener.capacity() > 0 {
            let Some(news) = self.news.pop_front() else { break };
            drop(self.listener.try_send(news));
        }
    }
}

fn frame(pcm: Vec<i16>) -> Frame {
    let peak = pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    Frame { pcm, peak: f32::from(peak) / 32768.0 }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    fn drain(heard: &mut Receiver<Heard>) -> Vec<Heard> {
        std::iter::from_fn(|| heard.try_recv().ok()).collect()
    }

    /// Loud frames, silent frames, time told as lost.
    fn counted(heard: &[Heard]) -> (usize, usize, Duration) {
        let peaks = || heard.iter().filter_map(|h| if let Heard::Frame(frame) = h { Some(frame.peak) } else { None });
        let lost = heard.iter().filter_map(|h| if let Heard::Lost(time) = h { Some(*time) } else { None });
        (peaks().filter(|peak| *peak > 0.0).count(), peaks().filter(|peak| *peak == 0.0).count(), lost.sum())
    }

    #[test]
    fn samples_leave_as_frames_of_50_ms_whatever_the_pieces() {
        let (listener, mut heard) = channel(64);
        let mut outlet = Outlet::new(listener);
        let sent: Vec<i16> = (1..=4000).collect();
        for piece in sent.chunks(333) {
            outlet.sound(&mut piece.to_vec());
        }
        let frames = drain(&mut heard).into_iter().map(|heard| match heard {
            Heard::Frame(frame) => frame,
            other => panic!("{other:?}"),
        });
        let frames: Vec<_> = frames.collect();
        assert!(frames.iter().all(|frame| frame.pcm.len() == FRAME_SAMPLES));
        assert_eq!(frames.iter().flat_map(|frame| frame.pcm.clone()).collect::<Vec<_>>(), sent);
        assert!((frames[0].peak - 800.0 / 32768.0).abs() < 1e-6);
    }

    #[test]
    fn a_listener_that_sleeps_is_told_what_it_missed_and_its_clock_stays_right() {
        let (listener, mut heard) = channel(10);
        let mut outlet = Outlet::new(listener);
        let mut all = Vec::new();
        // 25 frames while it sleeps: 10 fit, 15 are dropped. Then it wakes up and takes what there is after each frame.
        (0..25).for_each(|_| outlet.sound(&mut vec![7; FRAME_SAMPLES]));
        for _ in 0..10 {
            all.extend(drain(&mut heard));
            outlet.sound(&mut vec![7; FRAME_SAMPLES]);
        }
        all.extend(drain(&mut heard));
        let (loud, silent, lost) = counted(&all);
        assert_eq!(loud + silent, 35, "every 50 ms has its frame");
        assert_eq!(lost, Duration::from_millis(50) * u32::try_from(silent).unwrap());
        assert!((15..20).contains(&silent), "{silent}");
        // What was heard last is sound again.
        assert!(matches!(all.last(), Some(Heard::Frame(frame)) if frame.peak > 0.0));
    }

    #[test]
    fn news_wait_for_room_and_keep_their_place() {
        let (listener, mut heard) = channel(3);
        let mut outlet = Outlet::new(listener);
        (0..3).for_each(|_| outlet.sound(&mut vec![7; FRAME_SAMPLES]));
        outlet.waiting();
        outlet.lost(Duration::from_secs(1));
        assert_eq!(counted(&drain(&mut heard)).0, 3);
        outlet.sound(&mut Vec::new());
        assert_eq!(drain(&mut heard), [Heard::Waiting, Heard::Lost(Duration::from_secs(1))]);
        drop(heard);
        assert!(outlet.is_closed());
    }
}
