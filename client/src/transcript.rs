//! Events to lines, as `web-ui/page/captions/captions.js` does it: the same events give the same lines, whatever order they come in
//! and however often they are repeated. Both are held to the vectors in `web-ui/vectors/`.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    ids::{Revision, UtteranceId},
    language::Language,
    wire::{Caption, Event, GapReason, ServerMessage, Translation},
};

/// All that is known of a session's utterances.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    utterances: BTreeMap<UtteranceId, Utterance>,
    gaps: BTreeSet<(u64, u64, String)>,
    over: bool,
}

/// What is known of one utterance.
#[derive(Debug, Clone, Default)]
pub struct Utterance {
    /// The best caption so far.
    pub caption: Option<Caption>,
    /// The best translation so far, by target.
    pub translations: BTreeMap<Language, Translation>,
    /// End of its audio, milliseconds; 0 while it is open.
    pub end_ms: u64,
    /// A gap told that no caption will come.
    pub lost: bool,
    /// Targets of which a gap told that no translation will come.
    pub lost_targets: BTreeSet<Language>,
}

impl Transcript {
    /// Takes in one event.
    pub fn apply(&mut self, event: &Event) {
        match &event.message {
            ServerMessage::SpeechStarted { utterance, .. } => {
                self.utterances.entry(*utterance).or_default();
            }
            ServerMessage::SpeechEnded { utterance, end_ms } => {
                self.utterances.entry(*utterance).or_default().end_ms = *end_ms;
            }
            ServerMessage::Caption(caption) => {
                let held = &mut self.utterances.entry(caption.utterance).or_default().caption;
                let standing = held.as_ref().map(|h| (h.is_final, h.revision));
                if supersedes(standing, (caption.is_final, caption.revision)) {
                    *held = Some(caption.clone());
                }
            }
            ServerMessage::Translation(translation) => {
                let held = &mut self.utterances.entry(translation.utterance).or_default().translations;
                let standing = held.get(&translation.target).map(|h| (h.is_final, h.revision));
                if supersedes(standing, (translation.is_final, translation.revision)) {
                    held.insert(translation.target.clone(), translation.clone());
                }
            }
            ServerMessage::Gap { utterance, target, from_ms, to_ms, reason } => {
                self.gaps.insert((*from_ms, *to_ms, name(*reason)));
                if let Some(utterance) = utterance.map(|id| self.utterances.entry(id).or_default()) {
                    match target {
                        Some(target) => drop(utterance.lost_targets.insert(target.clone())),
                        None => utterance.lost = true,
                    }
                }
            }
            ServerMessage::Ended { .. } => self.over = true,
            _ => {}
        }
    }

    /// The utterances in the order of speech.
    pub fn utterances(&self) -> impl Iterator<Item = (UtteranceId, &Utterance)> {
        self.utterances.iter().map(|(id, utterance)| (*id, utterance))
    }

    /// Gaps told so far: from, to (milliseconds) and why.
    pub fn gaps(&self) -> impl Iterator<Item = (u64, u64, &str)> {
        self.gaps.iter().map(|(from, to, reason)| (*from, *to, reason.as_str()))
    }

    /// Whether the session has ended in order.
    #[must_use]
    pub fn over(&self) -> bool {
        self.over
    }
}

impl Utterance {
    /// Whether nothing more comes, for the caption and for `targets`.
    #[must_use]
    pub fn done(&self, targets: &[Language]) -> bool {
        let finished =
            |t: &Language| self.translations.get(t).is_some_and(|held| held.is_final) || self.lost_targets.contains(t);
        self.lost || (self.caption.as_ref().is_some_and(|c| c.is_final) && targets.iter().all(finished))
    }

    /// Whether there is text to show.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.caption.as_ref().is_some_and(|c| !c.committed.is_empty() || !c.tail.is_empty())
    }
}

/// Of two events about the same text, whether the offered one takes the place of the held one.
fn supersedes(held: Option<(bool, Revision)>, offered: (bool, Revision)) -> bool {
    held.is_none_or(|held| if held.0 == offered.0 { offered.1 > held.1 } else { offered.0 })
}

fn name(reason: GapReason) -> String {
    serde_json::to_value(reason).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The lines of a transcript as the vectors write them.
    fn lines(transcript: &Transcript) -> Vec<Value> {
        let mut lines: Vec<(u64, u8, Value)> = Vec::new();
        for (id, utterance) in transcript.utterances() {
            let Some(caption) = utterance.caption.as_ref().filter(|_| utterance.has_text()) else { continue };
            let translations: Vec<Value> = utterance
                .translations
                .values()
                .filter(|t| !t.committed.is_empty() || !t.tail.is_empty())
                .map(|t| json!({"target": t.target, "committed": t.committed, "tail": t.tail, "final": t.is_final}))
                .collect();
            let line = json!({
                "utterance": id, "start_ms": caption.start_ms, "end_ms": utterance.end_ms.max(caption.end_ms),
                "language": caption.language, "committed": caption.committed, "tail": caption.tail,
                "final": caption.is_final, "translations": translations,
            });
            lines.push((caption.start_ms, 0, line));
        }
        for (from_ms, to_ms, reason) in transcript.gaps() {
            lines.push((from_ms, 1, json!({"gap": {"from_ms": from_ms, "to_ms": to_ms, "reason": reason}})));
        }
        lines.sort_by_key(|(at, kind, _)| (*at, *kind));
        lines.into_iter().map(|(_, _, line)| line).collect()
    }

    #[test]
    fn the_vectors_of_the_page_draw_the_same_lines_here_in_any_order() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../web-ui/vectors");
        let mut seen = 0;
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            seen += 1;
            let vector: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let events: Vec<Event> = serde_json::from_value(vector["events"].clone()).unwrap();
            let expected = vector["lines"].as_array().unwrap();
            for events in [events.clone(), events.iter().rev().cloned().collect(), [events.clone(), events].concat()] {
                let mut transcript = Transcript::default();
                events.iter().for_each(|event| transcript.apply(event));
                assert_eq!(&lines(&transcript), expected, "{}", path.display());
            }
        }
        assert!(seen >= 5, "only {seen} vectors found");
    }
}
