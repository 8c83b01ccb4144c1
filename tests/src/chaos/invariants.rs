//! What a client is owed, whatever happened: compared with what it got.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    ids::{Revision, UtteranceId},
    wire::{EndReason, ServerMessage},
};

use super::{marks::Mark, script::Word};
use crate::{
    resuming::Journal,
    stub_engine::{translation, word},
};

/// The lane of captions; the others are named after their targets.
const CAPTION: &str = "caption";

/// What was wrong in a session.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults {
    /// Utterances without a final (or gap), in any lane; and a session that never ended, or ended by an error.
    pub missing: usize,
    /// Finals, or utterances opened, more than once; words said twice.
    pub twice: usize,
    /// Gaps. None is a fault by itself: it is a loss that is said.
    pub gaps: usize,
    /// Committed text that did not go on from what the client had.
    pub reworded: usize,
    /// Event numbers that did not grow; finals, words or revisions not in their order; anything after the end or after an
    /// utterance's final.
    pub unordered: usize,
    /// Words that are neither in a final nor in a gap.
    pub lost: usize,
    /// Words that nobody said, and translations of something else.
    pub foreign: usize,
    /// Audio that was wanted again after it was acknowledged.
    pub unacknowledged: usize,
}

impl Faults {
    /// Whether nothing was lost, said twice, reworded, disordered or made up. Gaps may be.
    #[must_use]
    pub fn none_but_gaps(&self) -> bool {
        Self { gaps: 0, ..self.clone() } == Self::default()
    }

    /// Those of another session as well.
    pub fn add(&mut self, other: &Self) {
        self.missing += other.missing;
        self.twice += other.twice;
        self.gaps += other.gaps;
        self.reworded += other.reworded;
        self.unordered += other.unordered;
        self.lost += other.lost;
        self.foreign += other.foreign;
        self.unacknowledged += other.unacknowledged;
    }
}

/// One lane of one utterance.
#[derive(Debug, Default)]
struct Lane {
    committed: String,
    revision: Revision,
    finals: usize,
    gaps: usize,
}

/// A session's events, read once.
#[derive(Debug, Default)]
struct Reading {
    faults: Faults,
    opened: BTreeMap<UtteranceId, usize>,
    lanes: BTreeMap<(String, UtteranceId), Lane>,
    /// Newest utterance of each lane that had its final or gap.
    newest: BTreeMap<String, UtteranceId>,
    /// Captions and gaps (from, to) in the order they came.
    captions: Vec<(UtteranceId, String)>,
    gaps: Vec<(u64, u64)>,
    last: u64,
    acked_ms: u64,
    ended: bool,
    /// What is out of order, in words.
    notes: Vec<String>,
}

impl Reading {
    fn disorder(&mut self, note: impl FnOnce() -> String) {
        self.faults.unordered += 1;
        self.notes.push(note());
    }

    fn of(journal: &Journal) -> Self {
        let mut reading = Self::default();
        // What refused a resume is none of the session's.
        for event in journal.events.iter().filter(|event| event.event > 0) {
            let (number, last) = (event.event, reading.last);
            if number <= last {
                reading.disorder(|| format!("event {number} after event {last}"));
            }
            if reading.ended {
                reading.disorder(|| format!("event {number} after the end"));
            }
            reading.last = number;
            reading.take(&event.message);
        }
        reading.faults.missing += usize::from(journal.error.is_some() || journal.gave_up);
        reading
    }

    fn take(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Started { audio_ms, .. } => {
                self.faults.unacknowledged += usize::from(*audio_ms < self.acked_ms);
            }
            ServerMessage::Ack { audio_ms } => self.acked_ms = self.acked_ms.max(*audio_ms),
            ServerMessage::SpeechStarted { utterance, .. } => *self.opened.entry(*utterance).or_default() += 1,
            ServerMessage::Gap { utterance, target, from_ms, to_ms, .. } => {
                self.faults.gaps += 1;
                if target.is_none() {
                    self.gaps.push((*from_ms, *to_ms));
                }
                if let Some(utterance) = utterance {
                    let lane = target.as_ref().map_or_else(|| CAPTION.to_owned(), ToString::to_string);
                    self.lanes.entry((lane.clone(), *utterance)).or_default().gaps += 1;
                    self.close(lane, *utterance);
                }
            }
            ServerMessage::Caption(c) => {
                self.text(CAPTION.to_owned(), (c.utterance, c.revision), &c.committed, c.is_final);
                if c.is_final {
                    self.captions.push((c.utterance, c.committed.clone()));
                }
            }
            ServerMessage::Translation(t) => {
                self.text(t.target.to_string(), (t.utterance, t.revision), &t.committed, t.is_final);
            }
            ServerMessage::Ended { reason: EndReason::Stopped, .. } => self.ended = true,
            _ => {}
        }
    }

    fn text(&mut self, name: String, (utterance, revision): (UtteranceId, Revision), text: &str, is_final: bool) {
        let lane = self.lanes.entry((name.clone(), utterance)).or_default();
        // A final beats every partial, whatever their revisions.
        let (older, late) = (!is_final && revision < lane.revision, !is_final && lane.finals + lane.gaps > 0);
        self.faults.reworded += usize::from(!text.starts_with(lane.committed.as_str()));
        let before = std::mem::replace(&mut lane.revision, revision);
        text.clone_into(&mut lane.committed);
        lane.finals += usize::from(is_final);
        let at = self.last;
        if older {
            self.disorder(|| format!("event {at}: {name} {utterance} is revision {}, after {}", revision.0, before.0));
        }
        if late {
            self.disorder(|| format!("event {at}: a partial of {name} {utterance} after its final"));
        }
        if is_final {
            self.close(name, utterance);
        }
    }

    /// The lane's word on `utterance` is said.
    fn close(&mut self, lane: String, utterance: UtteranceId) {
        let newest = self.newest.insert(lane.clone(), utterance).unwrap_or(utterance);
        if utterance < newest {
            self.disorder(|| format!("the final or gap of {lane} {utterance} after that of {newest}"));
        }
    }

    /// Each utterance has one final or gap in each lane.
    fn count(&mut self, targets: &[&str]) {
        let gone: BTreeSet<UtteranceId> = self
            .lanes
            .iter()
            .filter(|((name, _), lane)| name == CAPTION && lane.gaps > 0)
            .map(|((_, id), _)| *id)
            .collect();
        for lane in [CAPTION].iter().chain(targets) {
            for utterance in self.opened.keys() {
                let (finals, gaps) =
                    self.lanes.get(&((*lane).to_owned(), *utterance)).map_or((0, 0), |lane| (lane.finals, lane.gaps));
                // Where there is no caption, there is no translation.
                let said = finals + gaps + usize::from(*lane != CAPTION && gone.contains(utterance));
                self.faults.missing += usize::from(said == 0);
                self.faults.twice += (finals + gaps).saturating_sub(1);
            }
        }
        self.faults.twice += self.opened.values().map(|count| count - 1).sum::<usize>();
    }

    /// Each word is in one final, or in a gap.
    fn compare(&mut self, words: &[Word]) {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let heard: Vec<&str> = self.captions.iter().flat_map(|(_, text)| text.split_whitespace()).collect();
        for (place, text) in heard.iter().enumerate() {
            places.entry((*text).to_owned()).or_default().push(place);
        }
        let mut before = 0;
        for Word { mark, at_ms } in words {
            let number = match mark {
                Mark::Word(number) | Mark::Poison(number) | Mark::Crash(number) => *number,
            };
            let in_gap = self.gaps.iter().any(|(from, to)| (from..=to).contains(&at_ms));
            let found = places.remove(&word(number)).unwrap_or_default();
            self.faults.lost += usize::from(found.is_empty() && !in_gap);
            self.faults.twice += found.len().saturating_sub(1);
            if let Some(place) = found.first() {
                if *place < before {
                    self.faults.unordered += 1;
                    self.notes.push(format!("w{number} after a later word"));
                }
                before = *place;
            }
        }
        self.faults.foreign += places.values().map(Vec::len).sum::<usize>();
    }

    /// Each translation is that of its caption.
    fn compare_translations(&mut self, targets: &[&str]) {
        for target in targets {
            for (utterance, text) in &self.captions {
                let lane = self.lanes.get(&((*target).to_owned(), *utterance)).filter(|lane| lane.finals > 0);
                self.faults.foreign += usize::from(lane.is_some_and(|lane| lane.committed != translation(text)));
            }
        }
    }
}

/// Checks what the client of `journal` saw, with translations into `targets`. Returns the final captions as well.
#[must_use]
pub fn check(journal: &Journal, targets: &[&str]) -> (Faults, Vec<String>) {
    let mut reading = Reading::of(journal);
    reading.count(targets);
    let captions: BTreeMap<UtteranceId, String> = reading.captions.into_iter().collect();
    (reading.faults, captions.into_values().collect())
}

/// The same, and that each of the marked `words` that were said is in one final, or in a gap; with stubs of the models.
#[must_use]
pub fn check_words(journal: &Journal, targets: &[&str], words: &[Word]) -> Faults {
    let mut reading = Reading::of(journal);
    reading.count(targets);
    reading.compare(words);
    reading.compare_translations(targets);
    reading.faults.missing += usize::from(!reading.ended);
    reading.faults
}

/// What [`check_words`] finds out of order, in words.
#[must_use]
pub fn disorder(journal: &Journal, words: &[Word]) -> Vec<String> {
    let mut reading = Reading::of(journal);
    reading.compare(words);
    reading.notes
}

#[cfg(test)]
mod tests {
    use shared::wire::Event;

    use super::*;

    const WORDS: [u64; 4] = [100, 300, 1100, 1300];

    fn words() -> Vec<Word> {
        WORDS.iter().zip(0..).map(|(at_ms, number)| Word { mark: Mark::Word(number), at_ms: *at_ms }).collect()
    }

    /// The lines of a session with two utterances, one target, as a client gets them.
    fn lines() -> Vec<String> {
        let caption = |utterance: u32, revision: u32, text: &str, is_final: bool| {
            format!(
                r#""type":"caption","utterance":{utterance},"revision":{revision},"start_ms":0,"end_ms":1,"language":"en","committed":"{text}","tail":"","final":{is_final}"#
            )
        };
        let translated = |utterance: u32, text: &str| {
            format!(
                r#""type":"translation","utterance":{utterance},"revision":2,"target":"es","committed":"{text}","tail":"","final":true"#
            )
        };
        vec![
            r#""type":"speech_started","utterance":1,"start_ms":0"#.to_owned(),
            caption(1, 1, "w0", false),
            r#""type":"ack","audio_ms":900"#.to_owned(),
            caption(1, 2, "w0 w1", true),
            translated(1, "W0 W1"),
            r#""type":"speech_started","utterance":2,"start_ms":1000"#.to_owned(),
            caption(2, 2, "w2 w3", true),
            translated(2, "W2 W3"),
            r#""type":"ended","reason":"stopped","audio_ms":2000,"utterances":2"#.to_owned(),
        ]
    }

    fn faults(lines: &[String]) -> Faults {
        let event = |(line, number): (&String, usize)| -> Event {
            serde_json::from_str(&format!("{{\"event\":{number},{line}}}")).unwrap_or_else(|e| panic!("{e}: {line}"))
        };
        let journal = Journal { events: lines.iter().zip(1..).map(event).collect(), ..Journal::default() };
        check_words(&journal, &["es"], &words())
    }

    fn with(change: impl FnOnce(&mut Vec<String>)) -> Faults {
        let mut lines = lines();
        change(&mut lines);
        faults(&lines)
    }

    const CLEAN: Faults =
        Faults { missing: 0, twice: 0, gaps: 0, reworded: 0, unordered: 0, lost: 0, foreign: 0, unacknowledged: 0 };

    #[test]
    fn a_session_as_it_should_be_has_no_faults() {
        assert_eq!(faults(&lines()), CLEAN);
    }

    #[test]
    fn what_is_lost_is_found_unless_a_gap_says_so() {
        let gap = |from: u64, to: u64| {
            format!(r#""type":"gap","utterance":2,"from_ms":{from},"to_ms":{to},"reason":"failed""#)
        };
        let lost = with(|lines| drop(lines.drain(6..8)));
        assert_eq!(lost, Faults { missing: 2, lost: 2, ..CLEAN });
        let silent = with(|lines| drop(lines.drain(5..8)));
        assert_eq!(silent, Faults { lost: 2, ..CLEAN }, "an utterance that nobody opened");
        let said = with(|lines| drop(lines.splice(6..8, [gap(1000, 2000)])));
        assert_eq!(said, Faults { gaps: 1, ..CLEAN });
        assert!(said.none_but_gaps());
        let elsewhere = with(|lines| drop(lines.splice(6..8, [gap(1000, 1200)])));
        assert_eq!(elsewhere, Faults { gaps: 1, lost: 1, ..CLEAN });
        let both = with(|lines| lines.insert(8, gap(1000, 2000)));
        assert_eq!(both, Faults { gaps: 1, twice: 1, ..CLEAN }, "a gap and a final");
        let endless = with(|lines| drop(lines.pop()));
        assert_eq!(endless, Faults { missing: 1, ..CLEAN });
    }

    #[test]
    fn what_comes_twice_or_at_the_wrong_time_is_found() {
        let again = with(|lines| lines.insert(7, lines[6].clone()));
        assert_eq!(again, Faults { twice: 3, ..CLEAN }, "one final and both its words");
        let opened = with(|lines| lines.insert(1, lines[0].clone()));
        assert_eq!(opened, Faults { twice: 1, ..CLEAN });
        let late = with(|lines| lines.swap(1, 3));
        assert_eq!(
            (late.unordered, late.reworded),
            (2, 1),
            "a partial of an older revision behind its final: {late:?}"
        );
        let behind = with(|lines| lines.insert(9, lines[2].clone()));
        assert_eq!(behind, Faults { unordered: 1, ..CLEAN });
        let swapped = with(|lines| {
            let first = lines.remove(3);
            lines.insert(6, first);
        });
        assert_eq!(swapped.unordered, 2, "finals and words in the wrong order: {swapped:?}");
    }

    #[test]
    fn what_is_reworded_or_made_up_is_found() {
        let reworded = with(|lines| lines[1] = lines[1].replace("w0", "w9"));
        assert_eq!(reworded, Faults { reworded: 1, ..CLEAN });
        let invented = with(|lines| lines[6] = lines[6].replace("w2 w3", "w2 w3 w7"));
        assert_eq!(
            invented,
            Faults { foreign: 2, ..CLEAN },
            "a word, and a translation that is not that of its caption"
        );
    }

    #[test]
    fn audio_wanted_again_after_it_was_acknowledged_is_found() {
        let started = |ms: u64| {
            format!(
                r#""type":"started","session":"00000000-0000-4000-8000-000000000000","resume_token":"t","resumed":true,"audio_ms":{ms},"limits":{{"max_message_bytes":1,"max_targets":1,"max_utterance_ms":1,"idle_timeout_ms":1}}"#
            )
        };
        assert_eq!(with(|lines| lines.insert(5, started(900))), CLEAN);
        assert_eq!(with(|lines| lines.insert(5, started(899))), Faults { unacknowledged: 1, ..CLEAN });
    }
}
