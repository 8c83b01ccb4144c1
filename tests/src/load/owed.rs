//! What a session owes its client, checked event by event, so that no event need be kept.

use std::collections::BTreeMap;

use shared::{
    ids::UtteranceId,
    wire::{Event, ServerMessage},
};

/// What was wrong, summed up over sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Utterances without a final, or a gap in its place, in a lane.
    pub lost: usize,
    /// Utterances opened twice, finals that came twice.
    pub doubled: usize,
    /// Gaps.
    pub gaps: usize,
    /// Committed text that did not go on from what the client had.
    pub reworded: usize,
    /// Event numbers that did not grow, finals before those of earlier utterances, events behind a final or the end.
    pub unordered: usize,
}

impl Faults {
    /// Whether there are none.
    #[must_use]
    pub fn none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds those of another session.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.gaps += other.gaps;
        self.reworded += other.reworded;
        self.unordered += other.unordered;
    }
}

/// Captions, or one target, of an utterance.
#[derive(Debug, Clone, Default)]
struct Lane {
    committed: String,
    done: bool,
}

/// The check of one session.
#[derive(Debug)]
pub struct Owed {
    /// First that of the captions, then one a target.
    lanes: Vec<String>,
    open: BTreeMap<UtteranceId, Vec<Lane>>,
    newest: Option<UtteranceId>,
    last_event: u64,
    ended: bool,
    utterances: usize,
    faults: Faults,
}

/// Name of the lane of the captions; no language tag.
const CAPTIONS: &str = "";

impl Owed {
    /// For a session with these targets.
    #[must_use]
    pub fn new(targets: &[String]) -> Self {
        let mut lanes = vec![CAPTIONS.to_owned()];
        lanes.extend(targets.iter().cloned());
        Self {
            lanes,
            open: BTreeMap::new(),
            newest: None,
            last_event: 0,
            ended: false,
            utterances: 0,
            faults: Faults::default(),
        }
    }

    /// Takes in an event.
    pub fn take(&mut self, event: &Event) {
        self.faults.unordered += usize::from(self.ended || event.event <= self.last_event);
        self.last_event = event.event;
        match &event.message {
            ServerMessage::SpeechStarted { utterance, .. } => self.opened(*utterance),
            ServerMessage::Caption(c) => self.text(CAPTIONS, c.utterance, &c.committed, c.is_final),
            ServerMessage::Translation(t) => self.text(t.target.as_str(), t.utterance, &t.committed, t.is_final),
            ServerMessage::Gap { utterance, target, .. } => {
                self.faults.gaps += 1;
                if let Some(utterance) = utterance {
                    self.gap(*utterance, target.as_ref().map(|target| target.as_str()));
                }
            }
            ServerMessage::Ended { .. } => self.ended = true,
            _ => {}
        }
    }

    /// Utterances opened.
    #[must_use]
    pub fn utterances(&self) -> usize {
        self.utterances
    }

    /// Whether the session ended in order.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// What was wrong; what has not come by now counts as lost.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let waiting = self.open.values().flatten().filter(|lane| !lane.done).count();
        Faults { lost: self.faults.lost + waiting, ..self.faults }
    }

    fn opened(&mut self, utterance: UtteranceId) {
        if self.newest.is_some_and(|newest| utterance <= newest) {
            self.faults.doubled += 1;
            return;
        }
        self.newest = Some(utterance);
        self.utterances += 1;
        self.open.insert(utterance, vec![Lane::default(); self.lanes.len()]);
    }

    fn text(&mut self, lane: &str, utterance: UtteranceId, committed: &str, is_final: bool) {
        let Some(index) = self.lanes.iter().position(|known| known == lane) else { return };
        let earlier = is_final && self.open.range(..utterance).any(|(_, lanes)| !lanes[index].done);
        let lane = self.open.get_mut(&utterance).map(|lanes| &mut lanes[index]);
        let Some(lane) = lane.filter(|lane| !lane.done) else {
            let fault = if is_final { &mut self.faults.doubled } else { &mut self.faults.unordered };
            *fault += 1;
            return;
        };
        self.faults.unordered += usize::from(earlier);
        self.faults.reworded += usize::from(!committed.starts_with(lane.committed.as_str()));
        committed.clone_into(&mut lane.committed);
        lane.done = is_final;
        self.close(utterance);
    }

    /// A gap stands for the final of one target, or, without one, of all lanes.
    fn gap(&mut self, utterance: UtteranceId, target: Option<&str>) {
        let Some(lanes) = self.open.get_mut(&utterance) else { return };
        let of_lane = |name: &String| target.is_none_or(|target| target == name);
        lanes.iter_mut().zip(&self.lanes).filter(|(_, name)| of_lane(name)).for_each(|(lane, _)| lane.done = true);
        self.close(utterance);
    }

    fn close(&mut self, utterance: UtteranceId) {
        if self.open.get(&utterance).is_some_and(|lanes| lanes.iter().all(|lane| lane.done)) {
            self.open.remove(&utterance);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(targets: &[&str], messages: &[Value]) -> (usize, Faults) {
        let mut owed = Owed::new(&targets.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        for (number, message) in messages.iter().enumerate() {
            let mut event = message.clone();
            if event.get("event").is_none() {
                event["event"] = json!(number + 1);
            }
            owed.take(&serde_json::from_value(event).unwrap());
        }
        (owed.utterances(), owed.faults())
    }

    fn opened(utterance: u32) -> Value {
        json!({"type": "speech_started", "utterance": utterance, "start_ms": 0})
    }

    fn caption(utterance: u32, revision: u32, committed: &str, is_final: bool) -> Value {
        json!({"type": "caption", "utterance": utterance, "revision": revision, "start_ms": 0, "end_ms": 1,
            "language": "en", "committed": committed, "tail": "", "final": is_final})
    }

    fn translation(utterance: u32, committed: &str, is_final: bool) -> Value {
        json!({"type": "translation", "utterance": utterance, "revision": 9, "target": "es", "committed": committed,
            "tail": "", "final": is_final})
    }

    fn gap(utterance: u32, target: Option<&str>) -> Value {
        json!({"type": "gap", "utterance": utterance, "target": target, "from_ms": 0, "to_ms": 1, "reason": "failed"})
    }

    #[test]
    fn a_session_that_got_all_it_was_owed_has_no_faults() {
        let events = [
            opened(1),
            caption(1, 1, "a", false),
            opened(2),
            caption(1, 2, "a b", true),
            caption(2, 1, "c", true),
            translation(1, "x", true),
            translation(2, "y", true),
        ];
        assert_eq!(checked(&["es"], &events), (2, Faults::default()));
    }

    #[test]
    fn each_rule_can_be_broken() {
        let faults = |targets: &[&str], events: &[Value]| checked(targets, events).1;
        let lost = Faults { lost: 1, ..Faults::default() };
        assert_eq!(faults(&[], &[opened(1), caption(1, 1, "a", false)]), lost);
        assert_eq!(faults(&["es"], &[opened(1), caption(1, 1, "a", true)]), lost, "the translation");
        let doubled = Faults { doubled: 1, ..Faults::default() };
        let once = [opened(1), caption(1, 1, "a", true)];
        assert_eq!(faults(&[], &[&once[..], &[caption(1, 2, "a", true)]].concat()), doubled);
        assert_eq!(faults(&[], &[&once[..], &[opened(1)]].concat()), doubled);
        let reworded = [opened(1), caption(1, 1, "one", false), caption(1, 2, "two", true)];
        assert_eq!(faults(&[], &reworded), Faults { reworded: 1, ..Faults::default() });
        let unordered = Faults { unordered: 1, ..Faults::default() };
        let early = [opened(1), opened(2), caption(2, 1, "b", true), caption(1, 1, "a", true)];
        assert_eq!(faults(&[], &early), unordered);
        assert_eq!(faults(&[], &[&once[..], &[caption(1, 2, "a", false)]].concat()), unordered);
        let mut again = caption(1, 1, "a", true);
        again["event"] = json!(1);
        assert_eq!(faults(&[], &[opened(1), again]), unordered);
        let ended = json!({"type": "ended", "reason": "stopped", "audio_ms": 0, "utterances": 1});
        assert_eq!(
            faults(&[], &[ended, opened(1), caption(1, 1, "a", true)]),
            Faults { unordered: 2, ..Faults::default() }
        );
    }

    #[test]
    fn a_gap_stands_for_a_final_and_is_counted() {
        let gaps = Faults { gaps: 1, ..Faults::default() };
        assert_eq!(checked(&["es"], &[opened(1), gap(1, None)]).1, gaps);
        assert_eq!(checked(&["es"], &[opened(1), caption(1, 1, "a", true), gap(1, Some("es"))]).1, gaps);
    }
}
