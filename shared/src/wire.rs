//! The client protocol `subtide.v1` on `/v1/stream`, as docs/PROTOCOL.md tells it.
//!
//! A client sends one [`ClientMessage::Start`] as text, then PCM in binary frames and further messages as text.
//! The server answers with [`ServerMessage`]s, each with a growing `event` number.

mod error;

use serde::{Deserialize, Serialize};

pub use self::error::{ErrorCode, Refusal, WireError};
use crate::{
    ids::{Revision, SessionId, UtteranceId},
    language::{Language, Source},
};

/// The WebSocket subprotocol a client may ask for.
pub const SUBPROTOCOL: &str = "subtide.v1";
/// Largest message a client may send, in bytes: two seconds of 16 kHz mono PCM.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Most target languages of one session.
pub const MAX_TARGETS: usize = 16;
/// Most glossary terms of one session.
pub const MAX_GLOSSARY_TERMS: usize = 256;
/// Longest side of a glossary term, in bytes.
pub const MAX_GLOSSARY_TERM_BYTES: usize = 128;

/// How the client's PCM is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioFormat {
    /// Sample encoding.
    pub encoding: Encoding,
    /// Samples per second and channel, 8000 to 48000.
    pub sample_rate: u32,
    /// 1 (mono) or 2 (interleaved stereo, mixed down).
    pub channels: u8,
}

/// Sample encodings a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Signed 16-bit little-endian.
    #[serde(rename = "pcm_s16le")]
    PcmS16le,
}

/// A word or name and what it is called in a target language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlossaryTerm {
    /// As spoken.
    pub source: String,
    /// As it must be translated; absent: only a hint for recognition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What a client says in text frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// Must come first, once.
    Start(Start),
    /// Changes the languages from the next utterance on, and the glossary at once.
    Update {
        /// New source language.
        #[serde(default)]
        source: Option<Source>,
        /// New targets, replacing all earlier ones.
        #[serde(default)]
        targets: Option<Vec<Language>>,
        /// New glossary, replacing the earlier one.
        #[serde(default)]
        glossary: Option<Vec<GlossaryTerm>>,
    },
    /// Ends the open utterance now; more audio may follow.
    Finalize {},
    /// No more audio: everything owed is sent, then `ended`.
    Stop {},
    /// A fresh access token.
    Auth {
        /// Bearer token.
        token: String,
    },
}

/// The first message of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Layout of the binary frames that follow.
    pub audio: AudioFormat,
    /// Language spoken; `auto` when absent.
    #[serde(default)]
    pub source: Source,
    /// Languages to translate into; none when absent.
    #[serde(default)]
    pub targets: Vec<Language>,
    /// Whether partial captions are wanted.
    #[serde(default = "yes")]
    pub partials: bool,
    /// Whether captions shall say when each word was spoken; costs the worker a fifth more work.
    #[serde(default)]
    pub words: bool,
    /// Names and terms to recognise and translate in a set way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub glossary: Vec<GlossaryTerm>,
    /// The session to go on with; the other fields are then those it began with and are not looked at, except `audio`,
    /// which must be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// W3C trace context (`traceparent`) of whatever this session is a part of; one that is not valid is not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
}

/// The session a client wants to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// `resume_token` of its newest `started`.
    pub token: String,
    /// Number of the last event the client saw.
    pub last_event: u64,
}

fn yes() -> bool {
    true
}

/// A server message with its number; numbers grow by one from 1 within a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Growing number.
    pub event: u64,
    /// What happened.
    #[serde(flatten)]
    pub message: ServerMessage,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The session is open.
    Started {
        /// Its name.
        session: SessionId,
        /// Secret that lets this client go on after a broken socket, for `limits.resume_window_ms`.
        resume_token: String,
        /// Whether this is an earlier session going on.
        #[serde(default)]
        resumed: bool,
        /// Audio is wanted from here on, milliseconds since the session's first sample: 0 in a new session, and in a resumed
        /// one the end of what is safe here.
        #[serde(default)]
        audio_ms: u64,
        /// What the server will take.
        limits: Limits,
    },
    /// An utterance was opened.
    SpeechStarted {
        /// Which.
        utterance: UtteranceId,
        /// Start of its audio (pre-roll included) since the session's first sample, milliseconds.
        start_ms: u64,
    },
    /// An utterance was closed; its final caption follows.
    SpeechEnded {
        /// Which.
        utterance: UtteranceId,
        /// End of its audio, milliseconds since the session's first sample.
        end_ms: u64,
    },
    /// Text heard.
    Caption(Caption),
    /// Text translated.
    Translation(Translation),
    /// All audio up to here is safe on the server and need not be sent again.
    Ack {
        /// Milliseconds since the session's first sample.
        audio_ms: u64,
    },
    /// Captions come later than they should; once more, with `behind_ms` 0, when they no longer do.
    Lag {
        /// How far they are behind, milliseconds: the age of the oldest unanswered decode, or the interval of updates
        /// where that is longer.
        behind_ms: u64,
        /// New audio between two partial captions at present, milliseconds; it grows while workers fall behind.
        update_interval_ms: u64,
    },
    /// Speech that will get no caption, or no translation into `target`.
    Gap {
        /// The utterance it belongs to, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        utterance: Option<UtteranceId>,
        /// The target that gets no translation; absent: there is no caption (and so no translation either).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Language>,
        /// Start, milliseconds since the session's first sample.
        from_ms: u64,
        /// End, likewise.
        to_ms: u64,
        /// Why.
        reason: GapReason,
    },
    /// Something the client asked for will not be done; the session goes on.
    Warning {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
    },
    /// The session ends now, with a close frame after this.
    Error(WireError),
    /// The end of an orderly session; nothing follows.
    Ended {
        /// Why.
        reason: EndReason,
        /// Audio received in all, milliseconds.
        audio_ms: u64,
        /// Utterances cut in all.
        utterances: u32,
    },
}

/// Text heard in one utterance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caption {
    /// Utterance it belongs to.
    pub utterance: UtteranceId,
    /// Grows; a later one replaces an earlier one.
    pub revision: Revision,
    /// Start of the utterance since the session's first sample, milliseconds.
    pub start_ms: u64,
    /// End of the audio this text was heard in, likewise.
    pub end_ms: u64,
    /// Language heard.
    pub language: Language,
    /// How sure the model is of the language, 0 to 1; absent where the client named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language_probability: Option<f32>,
    /// Text that will never change again.
    pub committed: String,
    /// The unstable rest; empty when `final`.
    pub tail: String,
    /// The words of `committed` and `tail` with their times, where `start` asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
    /// Whether this is the last word on the utterance.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// One word of a caption and when it was spoken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word with its punctuation, without spaces around it.
    pub text: String,
    /// Where it begins, milliseconds since the session's first sample.
    pub start_ms: u64,
    /// Where it ends, likewise.
    pub end_ms: u64,
    /// Mean probability of its tokens, 0 to 1.
    pub probability: f32,
}

/// One utterance in one target language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Translation {
    /// Utterance it belongs to.
    pub utterance: UtteranceId,
    /// Revision of the caption it translates.
    pub revision: Revision,
    /// Language translated into.
    pub target: Language,
    /// Text that will never change again.
    pub committed: String,
    /// The unstable rest; empty when `final`.
    pub tail: String,
    /// Whether this is the last word on the utterance in this language.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// What one session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest message, bytes.
    pub max_message_bytes: usize,
    /// Most targets at once.
    pub max_targets: usize,
    /// Longest utterance, milliseconds; a longer one is cut before, between sentences where that can be.
    pub max_utterance_ms: u64,
    /// Session is closed after so long without audio, milliseconds.
    pub idle_timeout_ms: u64,
    /// A session whose socket broke can be resumed for so long, milliseconds; so much audio is worth keeping in the client.
    #[serde(default)]
    pub resume_window_ms: u64,
}

/// Why speech got no caption or translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Tried several times on several workers, and failed each time.
    Failed,
    /// No worker answered in time.
    TimedOut,
    /// The queue was full or away too long.
    Overloaded,
    /// No model translates from the language heard into this target.
    NoModel,
}

/// Why a session ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The client sent `stop`.
    Stopped,
    /// This server is going away; connect again.
    Draining,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_reads_with_defaults() -> Result<(), serde_json::Error> {
        let text =
            r#"{"type":"start","audio":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1},"targets":["es"]}"#;
        let ClientMessage::Start(start) = serde_json::from_str(text)? else { panic!("not a start") };
        assert!(start.partials);
        assert_eq!(start.source, Source::Auto);
        Ok(())
    }

    #[test]
    fn unknown_fields_and_types_are_refused_by_name() {
        let refused = serde_json::from_str::<ClientMessage>(r#"{"type":"start","volume":3}"#);
        assert!(refused.is_err_and(|e| e.to_string().contains("volume")));
        let refused = serde_json::from_str::<ClientMessage>(r#"{"type":"shout"}"#);
        assert!(refused.is_err_and(|e| e.to_string().contains("shout")));
    }

    #[test]
    fn an_event_is_flat_json() -> Result<(), serde_json::Error> {
        let event = Event { event: 7, message: ServerMessage::Ack { audio_ms: 1200 } };
        assert_eq!(serde_json::to_string(&event)?, r#"{"event":7,"type":"ack","audio_ms":1200}"#);
        assert_eq!(serde_json::from_str::<Event>(r#"{"event":7,"type":"ack","audio_ms":1200}"#)?, event);
        Ok(())
    }
}
