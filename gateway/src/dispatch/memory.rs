//! What of a dispatcher must not be lost with its gateway.

use std::{collections::BTreeMap, time::Instant};

use serde::{Deserialize, Serialize};
use shared::{
    bus::EntryId,
    ids::{Revision, SessionId, UtteranceId},
    jobs::JobKind,
    language::Language,
    wire::ServerMessage,
};

use super::{
    Conditions, Dispatch, Settings,
    utterance::{Carried, Lane, Utterance},
};

/// A gateway that goes on with a session numbers its revisions so far above the newest one written down: what the gateway
/// before it asked for afterwards stays below, and no late answer to it is taken for one of ours.
const REVISIONS_APART: u32 = 1000;

/// What a dispatcher knows, apart from its settings: as it is read back.
#[derive(Debug, Deserialize)]
pub struct Memory {
    utterances: BTreeMap<UtteranceId, Utterance>,
    context: String,
    language: Option<Language>,
    carried: Option<Carried>,
}

/// The same as it is written down.
#[derive(Debug, Serialize)]
pub struct MemoryView<'a> {
    utterances: &'a BTreeMap<UtteranceId, Utterance>,
    context: &'a str,
    language: Option<&'a Language>,
    carried: Option<&'a Carried>,
}

impl Memory {
    /// The utterance that is still being spoken, and where it begins, milliseconds.
    #[must_use]
    pub fn open(&self) -> Option<(UtteranceId, u64)> {
        self.utterances.iter().find(|(_, u)| !u.ended).map(|(id, u)| (*id, u.start_ms))
    }
}

impl Dispatch {
    /// Whether anything is owed of `utterance`.
    #[must_use]
    pub fn holds(&self, utterance: UtteranceId) -> bool {
        self.utterances.contains_key(&utterance)
    }

    /// Whether there is something to take: closed utterances, committed text that has grown, what was shown.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.grown || !self.closed.is_empty() || !self.tally.shown.is_empty()
    }

    /// What must be known to go on, but for the settings.
    #[must_use]
    pub fn memory(&self) -> MemoryView<'_> {
        MemoryView {
            utterances: &self.utterances,
            context: &self.context,
            language: self.language.as_ref(),
            carried: self.carried.as_ref(),
        }
    }

    /// Goes on with what another dispatcher knew. Finals that were asked for are waited for; partials are asked for anew.
    #[must_use]
    pub fn resumed(
        session: SessionId,
        conditions: Conditions,
        settings: Settings,
        memory: Memory,
        now: Instant,
    ) -> Self {
        let Memory { mut utterances, context, language, carried } = memory;
        for state in utterances.values_mut() {
            if state.asked_kind == JobKind::Final && state.owes() {
                // Translations that are owed still are waited for as long as the caption would be, and then given up as well.
                state.asked_at = Some(now);
            } else if !state.ended {
                state.asked = Revision(state.asked.0.saturating_add(REVISIONS_APART));
            }
        }
        let fresh = Self::new(session, conditions, settings);
        Self { utterances, context, language, carried, ..fresh }
    }

    /// The open utterance has audio on the bus up to `end_ms`, `last` being its last entry.
    pub fn found(&mut self, utterance: UtteranceId, last: Option<EntryId>, end_ms: u64) {
        if let Some(state) = self.utterances.get_mut(&utterance) {
            state.last_entry = last;
            state.end_ms = end_ms;
            state.asked_end_ms = state.asked_end_ms.min(end_ms);
        }
    }

    /// Where each utterance stands that waits for its final, for a client that may have missed it.
    pub fn show_again(&mut self) -> Vec<ServerMessage> {
        let waiting = self.utterances.iter_mut().filter(|(_, state)| matches!(state.caption, Lane::Open));
        let visible = waiting.filter(|(_, state)| !state.committed.is_empty() || !state.tail.is_empty());
        visible.filter_map(|(id, state)| state.shown_again(*id)).collect()
    }
}
