//! How long after the voice the text comes, measured by the client against the recording's own times.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use shared::{
    ids::UtteranceId,
    language::Language,
    wire::{Event, ServerMessage},
};

use super::Spoken;

/// What was measured so far. All times are milliseconds since the first sample of the recording.
#[derive(Debug)]
pub(super) struct Latencies {
    spoken: Vec<Spoken>,
    /// Start and end of each utterance the gateway cut.
    cut: BTreeMap<UtteranceId, (u64, u64)>,
    /// When the first text of an utterance was there.
    first_text: BTreeMap<UtteranceId, u64>,
    final_caption: BTreeMap<UtteranceId, u64>,
    final_translation: BTreeMap<(Language, UtteranceId), u64>,
    /// From the end of the audio of the newest caption to its arrival.
    newest: Option<u64>,
}

impl Latencies {
    pub(super) fn new(spoken: Vec<Spoken>) -> Self {
        Self {
            spoken,
            cut: BTreeMap::new(),
            first_text: BTreeMap::new(),
            final_caption: BTreeMap::new(),
            final_translation: BTreeMap::new(),
            newest: None,
        }
    }

    pub(super) fn take(&mut self, event: &Event, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        match &event.message {
            ServerMessage::SpeechStarted { utterance, start_ms } => {
                self.cut.insert(*utterance, (*start_ms, *start_ms));
            }
            ServerMessage::SpeechEnded { utterance, end_ms } => {
                self.cut.entry(*utterance).or_default().1 = *end_ms;
            }
            ServerMessage::Caption(caption) => {
                self.newest = Some(at.saturating_sub(caption.end_ms));
                if !caption.committed.is_empty() || !caption.tail.is_empty() {
                    self.first_text.entry(caption.utterance).or_insert(at);
                }
                if caption.is_final {
                    self.final_caption.insert(caption.utterance, at);
                }
            }
            ServerMessage::Translation(translation) if translation.is_final => {
                self.final_translation.insert((translation.target.clone(), translation.utterance), at);
            }
            _ => {}
        }
    }

    pub(super) fn status(&self, now: Duration) -> String {
        let newest = self.newest.map_or_else(|| "-".to_owned(), |ms| format!("{:.2} s", seconds(ms)));
        let finals = median(self.after_the_voice(&self.final_caption));
        let finals = finals.map_or_else(|| "-".to_owned(), |ms| format!("{:.2} s", seconds(ms)));
        format!(
            "{:>5.1} s played | newest text {newest} behind the voice | finals {finals} after the last word",
            now.as_secs_f64()
        )
    }

    /// From the first word of the recording to the first text on the screen.
    fn first_caption(&self) -> Option<u64> {
        let first_word = self.spoken.first()?.start_ms;
        self.first_text.values().min().map(|at| at.saturating_sub(first_word))
    }

    /// For each utterance of the recording, how long after its last word the finals of all that was cut from it came.
    fn after_the_voice(&self, finals: &BTreeMap<UtteranceId, u64>) -> Vec<u64> {
        let after = |spoken: &Spoken| {
            let overlapping =
                self.cut.iter().filter(|(_, (start, end))| *start < spoken.end_ms && *end > spoken.start_ms);
            let last = overlapping.map(|(id, _)| *id).max()?;
            finals.get(&last).map(|at| at.saturating_sub(spoken.end_ms))
        };
        self.spoken.iter().filter_map(after).collect()
    }

    fn translations(&self) -> BTreeMap<Language, Vec<u64>> {
        let mut by_target: BTreeMap<Language, BTreeMap<UtteranceId, u64>> = BTreeMap::new();
        for ((target, utterance), at) in &self.final_translation {
            by_target.entry(target.clone()).or_default().insert(*utterance, *at);
        }
        by_target.into_iter().map(|(target, finals)| (target, self.after_the_voice(&finals))).collect()
    }

    pub(super) fn summary(&self) -> String {
        let ms = |value: Option<u64>| value.map_or_else(|| "none".to_owned(), |ms| format!("{:.2} s", seconds(ms)));
        let mut text = format!(
            "first text {} after the first word; final captions {} after the last word of an utterance (median)",
            ms(self.first_caption()),
            ms(median(self.after_the_voice(&self.final_caption))),
        );
        for (target, after) in self.translations() {
            text.push_str(&format!("; final translations ({target}) {}", ms(median(after))));
        }
        text
    }

    pub(super) fn as_json(&self) -> Value {
        let translations: BTreeMap<String, Vec<u64>> =
            self.translations().into_iter().map(|(target, after)| (target.to_string(), after)).collect();
        json!({
            "type": "summary",
            "first_caption_ms": self.first_caption(),
            "final_caption_ms": self.after_the_voice(&self.final_caption),
            "final_translation_ms": translations,
        })
    }
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// The middle value (the lower of the two middle ones).
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(start_ms: u64, end_ms: u64) -> Spoken {
        Spoken { text: String::new(), spanish: String::new(), start_ms, end_ms, voice: String::new() }
    }

    #[test]
    fn an_utterance_that_was_cut_in_two_ends_with_its_second_part() {
        let mut latencies = Latencies::new(vec![spoken(500, 4000)]);
        latencies.cut.insert(UtteranceId(1), (200, 2000));
        latencies.cut.insert(UtteranceId(2), (2000, 4300));
        latencies.final_caption.insert(UtteranceId(1), 2700);
        assert!(latencies.after_the_voice(&latencies.final_caption).is_empty(), "its second part is still to come");
        latencies.final_caption.insert(UtteranceId(2), 4900);
        assert_eq!(latencies.after_the_voice(&latencies.final_caption), [900]);
    }

    #[test]
    fn median_of_nothing_is_nothing() {
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![3, 1, 2]), Some(2));
        assert_eq!(median(vec![4, 1, 2, 3]), Some(2));
    }
}
