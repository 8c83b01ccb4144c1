//! How a session ends, and what of a client's makes it end.

use shared::{
    bus::BusError,
    wire::{
        ClientMessage, EndReason, ErrorCode, GlossaryTerm, MAX_GLOSSARY_TERM_BYTES, MAX_GLOSSARY_TERMS,
        MAX_MESSAGE_BYTES, MAX_TARGETS,
    },
};

use crate::socket::Gone;

/// How a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// In order, with `ended`.
    Ended(EndReason),
    /// The client is gone; nothing can be said any more.
    Gone,
    /// With an `error`.
    Error(ErrorCode, String),
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

pub(super) fn unavailable(error: &BusError) -> End {
    tracing::error!(%error, "the bus is away");
    End::Error(ErrorCode::Unavailable, "the server cannot store audio at present; try again".to_owned())
}
