//! How a session ends, and what of a client's makes it end.

use std::{collections::HashSet, fmt};

use shared::{
    bus::BusError,
    language::Language,
    wire::{
        ClientMessage, EndReason, ErrorCode, GlossaryTerm, MAX_GLOSSARY_TERM_BYTES, MAX_GLOSSARY_TERMS,
        MAX_MESSAGE_BYTES, MAX_TARGETS,
    },
};

use crate::socket::Gone;

/// How a session ends.
pub(super) enum End {
    /// In order, with `ended`.
    Ended(EndReason),
    /// The client is gone; nothing can be said any more.
    Gone,
    /// With an `error`.
    Error(ErrorCode, String),
}

/// What becomes of a session once its socket has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterlife {
    /// Its client may come back for it.
    Kept,
    /// Nobody will.
    Forgotten,
    /// Somebody else has it.
    Handed,
}

impl End {
    pub(super) fn afterlife(&self) -> Afterlife {
        match self {
            Self::Ended(EndReason::Stopped) => Afterlife::Forgotten,
            Self::Ended(EndReason::Draining) | Self::Gone => Afterlife::Kept,
            Self::Error(ErrorCode::Replaced, _) => Afterlife::Handed,
            Self::Error(ErrorCode::AuthError | ErrorCode::Unavailable | ErrorCode::Internal, _) => Afterlife::Kept,
            Self::Error(..) => Afterlife::Forgotten,
        }
    }
}

impl fmt::Debug for End {
    /// Without the message: it may quote what the client said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(reason) => write!(f, "{reason:?}"),
            Self::Gone => f.write_str("Gone"),
            Self::Error(code, _) => write!(f, "{code:?}"),
        }
    }
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

pub(super) fn parse(text: &str) -> Result<ClientMessage, End> {
    serde_json::from_str(text)
        .map_err(|error| End::Error(ErrorCode::BadMessage, format!("the message cannot be read: {error}")))
}

pub(super) fn check_targets(count: usize) -> Result<(), End> {
    if count <= MAX_TARGETS {
        return Ok(());
    }
    Err(End::Error(ErrorCode::BadMessage, format!("{count} targets are too many; at most {MAX_TARGETS} are possible")))
}

/// `targets` without repetitions, in their order.
pub(super) fn distinct(targets: Vec<Language>) -> Vec<Language> {
    let mut seen = HashSet::new();
    targets.into_iter().filter(|target| seen.insert(target.clone())).collect()
}

pub(super) fn check_glossary(terms: &[GlossaryTerm]) -> Result<(), End> {
    let long = |text: &str| text.len() > MAX_GLOSSARY_TERM_BYTES;
    if terms.len() > MAX_GLOSSARY_TERMS
        || terms.iter().any(|t| long(&t.source) || t.target.as_deref().is_some_and(long))
    {
        let message = format!(
            "the glossary is too large; at most {MAX_GLOSSARY_TERMS} terms of {MAX_GLOSSARY_TERM_BYTES} bytes are possible"
        );
        return Err(End::Error(ErrorCode::BadMessage, message));
    }
    Ok(())
}

pub(super) fn too_large(size: Option<usize>) -> End {
    let size = size.map_or_else(|| "a message".to_owned(), |bytes| format!("a message of {bytes} bytes"));
    End::Error(
        ErrorCode::TooLarge,
        format!("{size} is above the limit of {MAX_MESSAGE_BYTES} bytes; send smaller frames"),
    )
}

pub(super) fn bad_order(message: &str) -> End {
    End::Error(ErrorCode::BadOrder, message.to_owned())
}

pub(super) fn replaced() -> End {
    End::Error(ErrorCode::Replaced, "the session goes on at another connection".to_owned())
}

pub(super) fn unavailable(error: &BusError) -> End {
    tracing::error!(%error, "the bus is away");
    End::Error(ErrorCode::Unavailable, "the server cannot store audio at present; try again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_named_twice_is_one_target() {
        let tags = |tags: &[&str]| -> Vec<Language> { tags.iter().map(|tag| tag.parse().unwrap()).collect() };
        assert_eq!(distinct(tags(&["es", "de", "ES"])), tags(&["es", "de"]));
    }

    #[test]
    fn what_a_client_said_is_in_the_answer_and_not_in_the_log() {
        let Err(end) = parse(r#"{"type":"stop","secret":1}"#) else { panic!("an unknown field was accepted") };
        assert!(!format!("{end:?}").contains("secret"));
        assert!(matches!(end, End::Error(ErrorCode::BadMessage, message) if message.contains("secret")));
    }
}
