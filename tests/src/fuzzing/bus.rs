//! What lies on the bus.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::LazyLock,
    time::{Duration, Instant},
};

use gateway::{
    dispatch::{Conditions, Dispatch, Memory, Settings},
    session::probe,
};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    bus::EntryId,
    ids::SessionId,
    jobs::{self, Published, SessionEvent, SpeechJob, TranslationJob, TranslationState},
    language::{Language, Source},
    wire::ServerMessage,
};

use super::first_line;

/// An entry of any stream: what can be read as something is written and read again unchanged.
pub fn bus_entry(data: &[u8]) {
    again::<SpeechJob>(data);
    again::<TranslationJob>(data);
    again::<Published>(data);
    again::<TranslationState>(data);
    again::<Settings>(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<EntryId>() {
        assert_eq!(id.to_string().parse::<EntryId>().ok(), Some(id));
    }
    if let Ok(language) = text.parse::<Language>() {
        assert_eq!(language.to_string().parse::<Language>(), Ok(language));
    }
    if let Ok(session) = text.parse::<SessionId>() {
        assert_eq!(session.to_string().parse::<SessionId>().ok(), Some(session));
    }
}

fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    let Ok(value) = jobs::decode::<T>(data) else { return };
    let written = jobs::encode(&value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
    // A number too large for its type becomes infinite, and JSON has no word for that. Nobody writes one.
    if !written.windows(4).any(|word| word == b"null") {
        assert_eq!(jobs::decode::<T>(&written).ok().as_ref(), Some(&value), "{}", String::from_utf8_lossy(&written));
    }
}

static SETTINGS: LazyLock<Settings> =
    LazyLock::new(|| Settings { source: Source::Auto, targets: Vec::new(), glossary: Vec::new() });
const CONDITIONS: Conditions = Conditions {
    partials: true,
    words: false,
    max_utterance: Duration::from_secs(9),
    final_timeout: Duration::from_secs(60),
};

/// What another gateway wrote of a session in the first line, and what workers then say in the others: whatever that is, each
/// utterance gets one final in each lane at most, in order, and in the end nothing is owed.
pub fn session_state(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (state, events) = first_line(text);
    let now = Instant::now();
    let resumed = probe::resumed(state.as_bytes(), CONDITIONS, SETTINGS.clone(), now);
    let Some((mut dispatch, open)) = resumed else { return };
    remembered(&dispatch);
    let mut out = dispatch.show_again();
    out.clear();
    for line in events.lines() {
        if let Ok(event) = serde_json::from_str::<SessionEvent>(line) {
            dispatch.receive(event.clone(), now, &mut out);
            dispatch.receive(event, now, &mut out);
        }
        dispatch.due(now);
    }
    if let Some((utterance, start_ms)) = open {
        out.extend(dispatch.ended(utterance, start_ms, false));
    }
    dispatch.due(now);
    remembered(&dispatch);
    dispatch.expire(now + CONDITIONS.final_timeout, &mut out);
    dispatch.give_up(&mut out);
    assert!(dispatch.idle(), "something is still owed");
    // What was held was written by whoever wrote the state, and may be of any utterance.
    if state.contains("Held") {
        return;
    }
    let mut lanes = BTreeMap::new();
    for message in &out {
        let (lane, utterance) = match message {
            ServerMessage::Caption(caption) if caption.is_final => (None, caption.utterance),
            ServerMessage::Translation(translation) if translation.is_final => {
                (Some(translation.target.clone()), translation.utterance)
            }
            _ => continue,
        };
        let before = lanes.insert(lane.clone(), utterance);
        assert!(before.is_none_or(|before| before < utterance), "{lane:?}: {utterance} after {before:?}");
    }
}

/// What is written down of a dispatcher is what is read back.
fn remembered(dispatch: &Dispatch) {
    let written = serde_json::to_value(dispatch.memory()).unwrap_or_else(|error| panic!("{error}"));
    let read = serde_json::from_value::<Memory>(written.clone());
    assert!(read.is_ok() || written.to_string().contains("null"), "{written}");
}
