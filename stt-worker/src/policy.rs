//! Which words of a partial become committed. Pure.

use std::{fmt, str::FromStr};

use inference::alignment::AlignedWord;
pub use shared::agreement::Agreed;

use crate::{align_att::AlignAtt, local_agreement::LocalAgreement};

/// What was heard in one decode of an utterance that goes on.
#[derive(Debug, Clone, Copy)]
pub struct Partial<'a> {
    /// Text that can never change again.
    pub committed: &'a str,
    /// The hypothesis before this one, after `committed`.
    pub previous_tail: &'a str,
    /// The newest hypothesis, after `committed`; a leading space says that a new word begins.
    pub continuation: &'a str,
    /// The words of `continuation` (put together they are it), where [`Policy::needs_words`].
    pub words: &'a [AlignedWord],
    /// Length of the audio that was heard, milliseconds.
    pub audio_ms: u32,
}

/// Decides what part of each hypothesis may never change again.
pub trait Policy: fmt::Debug + Send + Sync {
    /// Whether the words' places in the audio must be known; that costs a pass through the decoder.
    fn needs_words(&self) -> bool;

    /// The text, split in two. Its committed part starts with `partial.committed`.
    fn split(&self, partial: &Partial<'_>) -> Agreed;
}

/// The policies an operator can choose from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// What two successive hypotheses agree on.
    #[default]
    LocalAgreement,
    /// What the decoder found well before the end of the audio.
    AlignAtt,
}

impl PolicyKind {
    pub(crate) fn build(self) -> Box<dyn Policy> {
        match self {
            Self::LocalAgreement => Box::new(LocalAgreement),
            Self::AlignAtt => Box::new(AlignAtt),
        }
    }
}

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        match name {
            "local-agreement" => Ok(Self::LocalAgreement),
            "alignatt" => Ok(Self::AlignAtt),
            _ => Err(UnknownPolicy(name.to_owned())),
        }
    }
}

/// A name that belongs to no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no streaming policy is called {0:?}; write \"local-agreement\" or \"alignatt\"")]
pub struct UnknownPolicy(String);
