//! What a dispatcher is told and what it tells: settings, conditions, where to split, what is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::{
    ids::UtteranceId,
    language::{Language, Source},
    wire::GlossaryTerm,
};

/// An utterance that reaches so near to the maximum length is split behind its committed text wherever that ends.
const SPLIT_ANYWHERE: Duration = Duration::from_millis(2500);

/// What can change from one utterance to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Language spoken.
    pub source: Source,
    /// Languages to translate into.
    pub targets: Vec<Language>,
    /// Terms.
    pub glossary: Vec<GlossaryTerm>,
}

/// What holds for a session as long as it lives.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Whether partial captions are wanted.
    pub partials: bool,
    /// Whether the words' times are wanted.
    pub words: bool,
    /// Longest utterance.
    pub max_utterance: Duration,
    /// An utterance whose final does not come for so long gets a gap.
    pub final_timeout: Duration,
}

impl Conditions {
    /// Length from which it is asked where the committed text ends: a quarter of the maximum. Long enough for a sentence,
    /// and for a model to hear well; short enough that the maximum is seldom reached.
    pub(super) fn locate_after_ms(&self) -> u64 {
        millis(self.max_utterance / 4)
    }

    pub(super) fn split_anywhere_after_ms(&self) -> u64 {
        millis(self.max_utterance.saturating_sub(SPLIT_ANYWHERE))
    }
}

/// Where the committed text of an open utterance ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedEnd {
    /// Which.
    pub utterance: UtteranceId,
    /// Where its committed text ends, milliseconds since the session's first sample.
    pub at_ms: u64,
    /// Whether it is to be split there.
    pub split: bool,
}

/// An utterance with nothing owed any more; its keys on the bus can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Which.
    pub utterance: UtteranceId,
    /// The targets it had.
    pub targets: Vec<Language>,
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
