//! A client session and what it got.

use std::{collections::BTreeMap, time::Duration};

use client::{Receiver, Sender};
use shared::{
    ids::UtteranceId,
    language::Language,
    wire::{AudioFormat, ClientMessage, Encoding, Event, ServerMessage, Start},
};
use tokio::time::{sleep, timeout};

/// No answer of a small model takes so long, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `start` for 16 kHz mono English with these targets.
///
/// # Panics
/// When a target is no language tag.
#[must_use]
pub fn start(targets: &[&str]) -> Start {
    let tag = |t: &str| -> Language { t.parse().unwrap_or_else(|e| panic!("{e}")) };
    Start {
        audio: AudioFormat { encoding: Encoding::PcmS16le, sample_rate: 16_000, channels: 1 },
        source: shared::language::Source::Language(tag("en")),
        targets: targets.iter().map(|t| tag(t)).collect(),
        partials: true,
        words: false,
        glossary: Vec::new(),
        resume: None,
        trace_parent: None,
    }
}

/// Streams `pcm` (16 kHz mono s16le) at `speed` times real time, then `stop`, and returns every event of the session.
///
/// # Panics
/// When the session breaks or says nothing for a minute.
pub async fn stream(url: &str, start: Start, pcm: &[u8], speed: f64) -> Vec<Event> {
    let (sender, receiver) = client::open(url, None, start).await.unwrap_or_else(|e| panic!("{e}"));
    let ((), events) = tokio::join!(send(sender, pcm, speed), collect(receiver));
    events
}

async fn send(mut sender: Sender, pcm: &[u8], speed: f64) {
    for frame in pcm.chunks(3200) {
        sender.audio(frame.to_vec()).await.unwrap_or_else(|e| panic!("{e}"));
        sleep(Duration::from_secs_f64(0.1 / speed)).await;
    }
    sender.say(&ClientMessage::Stop {}).await.unwrap_or_else(|e| panic!("{e}"));
}

/// Every event until the gateway closes.
///
/// # Panics
/// When the session breaks or says nothing for a minute.
pub async fn collect(mut receiver: Receiver) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let next = timeout(PATIENCE, receiver.next()).await;
        match next.unwrap_or_else(|_| panic!("no event for {PATIENCE:?} after {events:#?}")) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return events,
            Err(error) => panic!("{error} after {events:#?}"),
        }
    }
}

/// What a session owes its client, checked: growing event numbers; committed text only ever grows, for captions and
/// translations; every utterance gets exactly one final caption and one final a target, in order; nothing after
/// `ended`. Returns the final texts: captions, then one list a target.
///
/// # Panics
/// When any of it does not hold.
#[must_use]
pub fn check(events: &[Event], targets: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut opened: Vec<UtteranceId> = Vec::new();
    let mut committed: BTreeMap<(String, UtteranceId), String> = BTreeMap::new();
    let mut finals: BTreeMap<String, Vec<(UtteranceId, String)>> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.event, index as u64 + 1, "event numbers grow by one");
        let (lane, utterance, text, is_final) = match &event.message {
            ServerMessage::SpeechStarted { utterance, .. } => {
                opened.push(*utterance);
                continue;
            }
            ServerMessage::Caption(c) => ("caption".to_owned(), c.utterance, &c.committed, c.is_final),
            ServerMessage::Translation(t) => (t.target.to_string(), t.utterance, &t.committed, t.is_final),
            ServerMessage::Gap { .. } => panic!("a gap: {event:?}"),
            ServerMessage::Error(error) => panic!("an error: {error:?}"),
            ServerMessage::Ended { .. } => {
                assert_eq!(index + 1, events.len(), "nothing follows `ended`");
                continue;
            }
            _ => continue,
        };
        let finals = finals.entry(lane.clone()).or_default();
        assert!(finals.iter().all(|(id, _)| *id != utterance), "{lane} {utterance}: an event after its final");
        let before = committed.entry((lane.clone(), utterance)).or_default();
        assert!(text.starts_with(before.as_str()), "{lane} {utterance}: committed `{before}` became `{text}`");
        text.clone_into(before);
        if is_final {
            finals.push((utterance, text.clone()));
        }
    }
    assert!(
        matches!(events.last().map(|e| &e.message), Some(ServerMessage::Ended { .. })),
        "the session ended in order"
    );
    for lane in ["caption"].iter().chain(targets) {
        let got: Vec<UtteranceId> = finals.get(*lane).into_iter().flatten().map(|(id, _)| *id).collect();
        assert_eq!(got, opened, "{lane}: one final an utterance, in order");
    }
    finals.into_iter().map(|(lane, finals)| (lane, finals.into_iter().map(|(_, text)| text).collect())).collect()
}
