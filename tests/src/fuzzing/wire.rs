//! What clients and gateways tell each other.

use std::collections::BTreeSet;

use client::transcript::Transcript;
use gateway::session::probe;
use shared::wire::{ClientMessage, Event, MAX_GLOSSARY_TERMS, MAX_TARGETS, ServerMessage};

/// Longest answer to a message that cannot be read, bytes.
const MAX_ANSWER: usize = 600;
/// A client's own words of this length, in bytes, are not said again.
const LONG_WORD: usize = 48;

/// A text frame of a client: what can be read is written and read again unchanged, and keeps the limits; the answer to what
/// cannot is short, and does not say again what may be a token.
pub fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match probe::message(text) {
        Ok(message) => {
            if let ClientMessage::Start(start) = &message {
                assert!(start.targets.len() <= MAX_TARGETS && start.glossary.len() <= MAX_GLOSSARY_TERMS);
            }
            let written = serde_json::to_string(&message).unwrap_or_else(|error| panic!("{message:?}: {error}"));
            assert_eq!(probe::message(&written).as_ref(), Ok(&message), "{written}");
        }
        Err(answer) => {
            assert!(answer.len() <= MAX_ANSWER, "{} bytes: {answer}", answer.len());
            let words = text.split(|letter: char| letter.is_whitespace() || letter == '"' || letter == '\\');
            for word in words.filter(|word| word.len() > LONG_WORD) {
                assert!(!answer.contains(word), "{answer}");
            }
        }
    }
}

/// Text frames of a gateway, one a line: what can be read is written and read again unchanged; and any order, and any
/// repetition, draws the same lines.
pub fn server_event(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut seen = BTreeSet::new();
    let mut events: Vec<Event> = Vec::new();
    for line in text.lines() {
        let Ok(event) = serde_json::from_str::<Event>(line) else { continue };
        let written = serde_json::to_string(&event).unwrap_or_else(|error| panic!("{event:?}: {error}"));
        // A number too large for its type becomes infinite, and JSON has no word for that. Nobody sends one.
        if !written.contains("null") {
            assert_eq!(serde_json::from_str::<Event>(&written).ok().as_ref(), Some(&event), "{written}");
        }
        // A gateway says a thing once, and repeats it word by word.
        if seen.insert(what_it_is_about(&event.message)) {
            events.push(event);
        }
    }
    let straight = drawn(events.iter());
    assert_eq!(drawn(events.iter().rev()), straight);
    assert_eq!(drawn(events.iter().chain(&events)), straight);
    let (even, odd): (Vec<_>, Vec<_>) = events.iter().enumerate().partition(|(n, _)| n % 2 == 0);
    assert_eq!(drawn(odd.into_iter().chain(even).map(|(_, event)| event)), straight);
}

fn what_it_is_about(message: &ServerMessage) -> String {
    match message {
        ServerMessage::Caption(c) => format!("caption {} {} {}", c.utterance, c.revision, c.is_final),
        ServerMessage::Translation(t) => format!("{} {} {} {}", t.target, t.utterance, t.revision, t.is_final),
        ServerMessage::SpeechEnded { utterance, .. } => format!("end {utterance}"),
        other => format!("{other:?}"),
    }
}

fn drawn<'a>(events: impl Iterator<Item = &'a Event>) -> String {
    let mut transcript = Transcript::default();
    events.for_each(|event| transcript.apply(event));
    let utterances: Vec<_> = transcript.utterances().collect();
    format!("{utterances:?} {:?} {}", transcript.gaps().collect::<Vec<_>>(), transcript.over())
}
