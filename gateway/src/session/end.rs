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

/// Bytes of a client's own word that an error may say again.
const MAX_REPEATED: usize = 32;

/// How a session ends.
pub(super) enum End {
    /// In order, with `ended`.
    Ended(EndReason),
    /// The client is gone; nothing can be said any more.
    Gone,
    /// The client gave no sign of life for so long that nothing is to be waited for.
    Silent,
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
            Self::Ended(EndReason::Draining) | Self::Gone | Self::Silent => Afterlife::Kept,
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
            Self::Silent => f.write_str("Silent"),
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
    serde_json::from_str(text).map_err(|error| {
        let fault = unrepeated(error.to_string());
        End::Error(ErrorCode::BadMessage, format!("the message cannot be read: {fault}"))
    })
}

/// A parser's fault without what the client wrote, where that is longer than a name: a mistyped name is worth saying again, a
/// token or a sentence that came to stand in the wrong place is not.
fn unrepeated(mut fault: String) -> String {
    for (open, closes) in [("`", ["`, expected", "`, there are no"]), ("string \"", ["\", expected", "\" at line"])] {
        let Some(begin) = fault.find(open).map(|at| at + open.len()) else { continue };
        let ends = closes.iter().filter_map(|close| fault[begin..].rfind(close)).max();
        if let Some(end) = ends.filter(|length| *length > MAX_REPEATED).map(|length| begin + length) {
            fault.replace_range(begin..end, "…");
        }
    }
    fault
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

    fn fault(text: &str) -> String {
        match parse(text) {
            Err(End::Error(ErrorCode::BadMessage, message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mistyped_name_is_said_again_and_nothing_longer() {
        assert!(fault(r#"{"type":"shout"}"#).contains("`shout`"));
        assert!(fault(r#"{"type":"stop","volume":3}"#).contains("`volume`"));
        let secret = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl";
        let words = r#"what was said in this room, and \"nobody\" else `, expected may hear"#;
        for long in [secret, words] {
            for text in [
                format!(r#"{{"type":"{long}"}}"#),
                format!(r#"{{"type":"stop","{long}":1}}"#),
                format!(r#"{{"type":"start","{long}":1}}"#),
                format!(r#"{{"type":"start","audio":{{"encoding":"{long}","sample_rate":16000,"channels":1}}}}"#),
                format!(r#"{{"type":"start","audio":"{long}"}}"#),
                format!(r#"{{"type":"start","audio":{{"encoding":"pcm_s16le","sample_rate":"{long}","channels":1}}}}"#),
            ] {
                let said = fault(&text);
                assert!(!said.contains("c2lnbmF0") && !said.contains("nobody"), "{said}");
            }
        }
    }
}
