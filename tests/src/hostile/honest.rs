//! Honest clients among hostile ones: what they got, and how long they waited for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use shared::wire::{ClientMessage, Event, ServerMessage};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::session::{PATIENCE, start};

/// Audio of one frame, milliseconds.
const FRAME_MS: u64 = 100;
const FRAME_BYTES: usize = 3200;

/// What an honest client got.
#[derive(Debug, Default)]
pub struct Told {
    /// From sending the last audio a partial caption was heard in to its coming.
    pub waits: Vec<Duration>,
    /// All events, in their order.
    pub events: Vec<Event>,
    /// When each came.
    pub came: Vec<Instant>,
    /// Whether the session ended in any way but in order.
    pub broken: bool,
}

impl Told {
    /// Utterances that were opened, and those of them that got a final.
    #[must_use]
    pub fn utterances(&self) -> (usize, usize) {
        let count = |of: fn(&ServerMessage) -> bool| self.events.iter().filter(|event| of(&event.message)).count();
        let opened = count(|message| matches!(message, ServerMessage::SpeechStarted { .. }));
        (opened, count(|message| matches!(message, ServerMessage::Caption(caption) if caption.is_final)))
    }

    /// Utterances that were not opened once and answered once, by a final caption or a gap: how often each was.
    #[must_use]
    pub fn miscounted(&self) -> Vec<(u32, [usize; 2])> {
        let mut counts = BTreeMap::<u32, [usize; 2]>::new();
        for event in &self.events {
            let (utterance, column) = match &event.message {
                ServerMessage::SpeechStarted { utterance, .. } => (utterance, 0),
                ServerMessage::Caption(caption) if caption.is_final => (&caption.utterance, 1),
                ServerMessage::Gap { utterance: Some(utterance), target: None, .. } => (utterance, 1),
                _ => continue,
            };
            counts.entry(utterance.0).or_default()[column] += 1;
        }
        counts.into_iter().filter(|(_, counts)| *counts != [1, 1]).collect()
    }

    /// Texts of the final captions.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        let texts = self.events.iter().filter_map(|event| match &event.message {
            ServerMessage::Caption(caption) if caption.is_final => Some(caption.committed.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Gaps that it was told.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.message, ServerMessage::Gap { .. })).count()
    }
}

/// Streams `pcm` (16 kHz mono s16le) in real time, and then says `stop`.
///
/// # Panics
/// When the session cannot be opened, or nothing is heard of it for a minute.
pub async fn speak(url: &str, pcm: &[u8]) -> Told {
    let (mut sender, mut receiver) =
        client::open(url, None, start(&[])).await.unwrap_or_else(|error| panic!("{error}"));
    let sent_at = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let sending = async {
        let mut pace = interval(Duration::from_millis(FRAME_MS));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for frame in pcm.chunks(FRAME_BYTES) {
            pace.tick().await;
            sent_at.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            if sender.audio(frame.to_vec()).await.is_err() {
                return;
            }
        }
        drop(sender.say(&ClientMessage::Stop {}).await);
    };
    let receiving = async {
        let mut told = Told { broken: true, ..Told::default() };
        loop {
            let next = timeout(PATIENCE, receiver.next()).await.unwrap_or_else(|_| panic!("silence for {PATIENCE:?}"));
            let Ok(Some(event)) = next else { return told };
            match &event.message {
                ServerMessage::Caption(caption) if !caption.is_final => {
                    let frame = usize::try_from(caption.end_ms.saturating_sub(1) / FRAME_MS).unwrap_or(usize::MAX);
                    let sent = sent_at.lock().unwrap_or_else(PoisonError::into_inner).get(frame).copied();
                    told.waits.extend(sent.map(|at| at.elapsed()));
                }
                ServerMessage::Ended { .. } => told.broken = false,
                _ => {}
            }
            told.events.push(event);
            told.came.push(Instant::now());
        }
    };
    let ((), told) = tokio::join!(sending, receiving);
    told
}

/// The 95th percentile of all waits, seconds.
#[must_use]
pub fn p95<'a>(told: impl IntoIterator<Item = &'a Told>) -> f64 {
    let mut waits: Vec<f64> = told.into_iter().flat_map(|told| &told.waits).map(Duration::as_secs_f64).collect();
    waits.sort_by(f64::total_cmp);
    waits.get((waits.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
}
