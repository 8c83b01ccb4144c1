//! What a dispatcher did and showed since somebody last asked: for whoever counts.

use std::time::Instant;

use shared::{
    jobs::JobKind,
    wire::{Caption, ServerMessage},
};

use super::{PARTIAL_STEP_MS, utterance::Utterance};

/// What became visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first words of an utterance.
    First,
    /// More committed text of an utterance that is still being spoken.
    Committed,
    /// A final caption.
    Final,
    /// A final translation.
    TranslationFinal,
}

/// Where its time began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// When the audio before this came, milliseconds since the session's first sample.
    Audio(u64),
    /// Then.
    Moment(Instant),
}

/// Something that became visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// What.
    pub stage: Stage,
    /// Where its time began.
    pub since: Since,
}

/// What was done and shown.
#[derive(Debug, Default)]
pub struct Tally {
    /// Partials asked for.
    pub partials: u64,
    /// Finals asked for.
    pub finals: u64,
    /// Partials whose answer did not come in time.
    pub given_up: u64,
    /// Partials that were still out when the final was asked for.
    pub overtaken: u64,
    /// Partials that were not asked for because one before was still out, or answers are slow: each took this audio along.
    pub coalesced: u64,
    /// In the order in which it was shown.
    pub shown: Vec<Shown>,
}

impl Tally {
    /// A decode of `state` is about to be asked for.
    pub(super) fn asks(&mut self, kind: JobKind, state: &Utterance) {
        let still_out = u64::from(state.asked_at.is_some());
        match kind {
            JobKind::Final => {
                self.finals += 1;
                self.overtaken += still_out;
            }
            JobKind::Partial => {
                self.partials += 1;
                self.given_up += still_out;
                if state.asked_end_ms > state.start_ms {
                    let steps = state.end_ms.saturating_sub(state.asked_end_ms) / PARTIAL_STEP_MS;
                    self.coalesced += steps.saturating_sub(1);
                }
            }
        }
    }

    /// A caption of `state` goes out. Where the client wants `partials`, its first words are worth a note.
    pub(super) fn words(&mut self, caption: &Caption, state: &mut Utterance, partials: bool) {
        let silent = caption.committed.is_empty() && caption.tail.is_empty();
        if !silent && !std::mem::replace(&mut state.voiced, true) && partials {
            self.note(Stage::First, Since::Audio(state.speech_ms));
        }
    }

    /// Committed text of `state` has grown, by an answer to the newest partial. Its audio ends at `located_ms` where the worker
    /// found that out; where it did not, before the end of the decode that heard it first, the one before.
    pub(super) fn commits(&mut self, state: &Utterance, located_ms: Option<u64>) {
        let end_ms = located_ms.or(state.heard_to_ms).unwrap_or(state.asked_end_ms);
        self.note(Stage::Committed, Since::Audio(end_ms));
    }

    /// What was held is let out. A final that was asked for at `final_at` has waited since then; a gap is none.
    pub(super) fn lets_out(&mut self, message: Option<&ServerMessage>, final_at: Option<Instant>) {
        let stage = match message {
            Some(ServerMessage::Caption(_)) => Stage::Final,
            Some(ServerMessage::Translation(_)) => Stage::TranslationFinal,
            _ => return,
        };
        if let Some(at) = final_at {
            self.note(stage, Since::Moment(at));
        }
    }

    fn note(&mut self, stage: Stage, since: Since) {
        self.shown.push(Shown { stage, since });
    }
}
