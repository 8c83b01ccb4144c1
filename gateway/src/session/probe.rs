//! For the fuzz targets alone (`tests/src/fuzzing`): the parts of a session that read what others wrote.

use std::time::Instant;

use shared::{
    ids::{SessionId, UtteranceId},
    jobs,
    wire::ClientMessage,
};

use super::{
    end::{End, check_glossary, check_targets, parse},
    state::{ResumeToken, State},
};
use crate::dispatch::{Conditions, Dispatch, Settings};

/// What a session makes of a text frame, or what it answers.
///
/// # Errors
/// The answer.
pub fn message(text: &str) -> Result<ClientMessage, String> {
    let told = |end| if let End::Error(_, message) = end { message } else { String::new() };
    let message = parse(text).map_err(told)?;
    match &message {
        ClientMessage::Start(start) => {
            check_targets(start.targets.len()).and_then(|()| check_glossary(&start.glossary)).map_err(told)?;
        }
        ClientMessage::Update { targets, glossary, .. } => {
            check_targets(targets.as_ref().map_or(0, Vec::len)).map_err(told)?;
            check_glossary(glossary.as_deref().unwrap_or_default()).map_err(told)?;
        }
        _ => {}
    }
    Ok(message)
}

/// A resume token as it is written again; `None` where it is none.
#[must_use]
pub fn resume_token(text: &str) -> Option<String> {
    ResumeToken::parse(text).map(|token| token.text())
}

/// A dispatcher that goes on with what stands on the bus of a session, and the utterance that is open in it.
#[must_use]
pub fn resumed(
    state: &[u8],
    conditions: Conditions,
    settings: Settings,
    now: Instant,
) -> Option<(Dispatch, Option<(UtteranceId, u64)>)> {
    let State { dispatch, .. } = jobs::decode::<State>(state).ok()?;
    let open = dispatch.open();
    Some((Dispatch::resumed(SessionId::random(), conditions, settings, dispatch, now), open))
}
