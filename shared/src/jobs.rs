//! What travels on the bus between the roles, and the names of the streams it travels on.
//!
//! A job is a small reference; the audio it speaks of lies in `audio:{session}:{utterance}`. All state a worker
//! needs is in the job or on the bus, so any worker can take any job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    bus::EntryId,
    ids::{Revision, SessionId, UtteranceId},
    language::{Language, Source},
    wire::{Caption, GapReason, GlossaryTerm, Translation},
};

/// Stream of [`SpeechJob`]s.
pub const AUDIO_JOBS: &str = "audio_jobs";
/// Consumer group of the stt-workers on [`AUDIO_JOBS`].
pub const STT_GROUP: &str = "stt";
/// Stream of [`TranslationJob`]s.
pub const TRANSLATION_JOBS: &str = "translation_jobs";
/// Consumer group of the translation-workers on [`TRANSLATION_JOBS`].
pub const MT_GROUP: &str = "mt";
/// Stream of jobs that were delivered more than [`MAX_DELIVERIES`] times, for an operator to read.
pub const DEAD_LETTERS: &str = "dead_letters";

/// A job delivered more often than this goes to [`DEAD_LETTERS`], and its utterance gets a visible gap.
pub const MAX_DELIVERIES: u32 = 3;
/// A job whose worker was silent this long belongs to whoever claims it.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often a worker renews the lease of the jobs it holds: three chances within one [`LEASE`].
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long audio, events and state of a silent session stay on the bus: the resume window (120 s) and a reserve.
pub const SESSION_TTL: Duration = Duration::from_secs(600);

/// A session whose socket broke can be resumed for so long.
pub const RESUME_WINDOW: Duration = Duration::from_secs(120);

/// State: who holds a session, as a random number. Whoever resumes it writes another, and nothing that the one before
/// still does has an effect.
#[must_use]
pub fn owner_key(session: SessionId) -> String {
    format!("owner:{session}")
}

/// State: all that a gateway must know to go on with a session.
#[must_use]
pub fn session_key(session: SessionId) -> String {
    format!("session:{session}")
}

/// State: languages and terms of a session, apart from the rest because they are large and seldom change.
#[must_use]
pub fn settings_key(session: SessionId) -> String {
    format!("settings:{session}")
}

/// Stream of what a client must not miss: its events, with their numbers, those that a later one replaces left out.
#[must_use]
pub fn log_stream(session: SessionId) -> String {
    format!("log:{session}")
}

/// Stream with the PCM (16 kHz mono s16le) of one utterance, 100 ms an entry or, where a client sends more at once, as
/// much as came.
#[must_use]
pub fn audio_stream(session: SessionId, utterance: UtteranceId) -> String {
    format!("audio:{session}:{utterance}")
}

/// Stream of [`SessionEvent`]s of one session.
#[must_use]
pub fn event_stream(session: SessionId) -> String {
    format!("events:{session}")
}

/// Mailbox of one gateway: copies of the events of all the sessions it holds.
#[must_use]
pub fn gateway_mailbox(gateway: &str) -> String {
    format!("mailbox:{gateway}")
}

/// State: the newest revision asked for of an utterance, as a decimal number. A worker that holds an older one
/// publishes nothing.
#[must_use]
pub fn revision_key(session: SessionId, utterance: UtteranceId) -> String {
    format!("revision:{session}:{utterance}")
}

/// State: [`TranslationState`] of an utterance in one target language.
#[must_use]
pub fn translation_key(session: SessionId, utterance: UtteranceId, target: &Language) -> String {
    format!("translation:{session}:{utterance}:{target}")
}

/// Whether speech goes on after the audio a job names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// The utterance is still being spoken.
    Partial,
    /// The whole utterance.
    Final,
}

/// One decode of one utterance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpeechJob {
    /// Session.
    pub session: SessionId,
    /// Utterance.
    pub utterance: UtteranceId,
    /// Revision this decode will have.
    pub revision: Revision,
    /// Partial or final.
    pub kind: JobKind,
    /// Last entry of the utterance's audio stream that belongs to this decode.
    pub last_entry: EntryId,
    /// Start of the utterance since the session's first sample, milliseconds.
    pub start_ms: u64,
    /// End of the audio of this decode, likewise.
    pub end_ms: u64,
    /// Language spoken.
    pub source: Source,
    /// With `auto`: the language of the session so far, which another must clearly beat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_language: Option<Language>,
    /// Languages to translate into.
    pub targets: Vec<Language>,
    /// Whether the caption shall say when each word was spoken.
    #[serde(default)]
    pub words: bool,
    /// Whether the answer shall say where in the audio the committed text ends: the utterance must soon be cut.
    #[serde(default)]
    pub locate: bool,
    /// Whether the committed text is all there is, because the utterance was cut behind it: nothing is added to it. (With
    /// `words` the audio is heard once more, for their times.)
    #[serde(default)]
    pub complete: bool,
    /// Share of the audio, 0 to 1, that the gateway's detector is sure holds speech.
    #[serde(default = "whole")]
    pub speech_share: f32,
    /// Committed text so far, to force as a prefix.
    pub committed: String,
    /// Tail of the newest hypothesis as far as it is shown...
    pub tail: String,
    /// ...and the rest of it, for the agreement with the next one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hidden: String,
    /// Text of the utterance before this one, for context; empty when there is none.
    pub context: String,
    /// Terms of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub glossary: Vec<GlossaryTerm>,
    /// W3C trace context of the gateway's span of this decode; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace_parent: String,
}

fn whole() -> f32 {
    1.0
}

/// One caption to translate into one language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranslationJob {
    /// Session.
    pub session: SessionId,
    /// Utterance.
    pub utterance: UtteranceId,
    /// Revision of the caption.
    pub revision: Revision,
    /// Partial or final, as the caption.
    pub kind: JobKind,
    /// Start of the utterance since the session's first sample, milliseconds (for a gap).
    pub start_ms: u64,
    /// End of the audio of the caption, likewise.
    pub end_ms: u64,
    /// Language heard.
    pub source: Language,
    /// Language to translate into.
    pub target: Language,
    /// Committed source text.
    pub committed: String,
    /// Unstable rest of the source text; empty in a final.
    pub tail: String,
    /// Terms of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub glossary: Vec<GlossaryTerm>,
    /// W3C trace context of the worker's span that heard the caption; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace_parent: String,
}

/// What a translation-worker leaves for the next job of the same utterance and target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TranslationState {
    /// Newest caption revision translated.
    pub revision: Revision,
    /// Committed target text, to force as a prefix.
    pub committed: String,
    /// Tail of the newest hypothesis.
    pub tail: String,
    /// Bytes of the committed source text whose translation is settled: whole sentences, not translated again.
    #[serde(default)]
    pub settled_source: usize,
    /// Bytes of `committed` that translate them.
    #[serde(default)]
    pub settled: usize,
}

/// What the workers tell a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SessionEvent {
    /// Text heard.
    Caption {
        /// As the client gets it.
        caption: Caption,
        /// End of the hypothesis, behind the caption's tail, that is too unsteady to be shown.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hidden: String,
        /// Where the committed text ends, milliseconds since the session's first sample; only where the job asked, and
        /// only when something is committed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        committed_end_ms: Option<u64>,
        /// The model lost its way (its text went round in circles): what it said here must not be given to it as context.
        #[serde(default)]
        reset: bool,
    },
    /// Text translated.
    Translation(Translation),
    /// The session goes on elsewhere; told to the gateway that held it, by the one that holds it now.
    Moved {
        /// What [`owner_key`] holds now.
        owner: String,
    },
    /// No caption, or (with `target`) no translation, will come for this revision.
    Gap {
        /// Utterance.
        utterance: UtteranceId,
        /// Revision of the job that was given up.
        revision: Revision,
        /// Whether that job was the utterance's final.
        was_final: bool,
        /// The target, when a translation was given up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Language>,
        /// Start of the speech, milliseconds since the session's first sample.
        from_ms: u64,
        /// End of the speech, likewise.
        to_ms: u64,
        /// Why.
        reason: GapReason,
    },
}

/// A [`SessionEvent`] as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published<E = SessionEvent> {
    /// What is told.
    #[serde(flatten)]
    pub event: E,
    /// W3C trace context of the worker's span that told it; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace_parent: String,
}

/// Anything the bus carries, as JSON bytes.
///
/// # Errors
/// Only when a value cannot be written as JSON, which none of the types here can cause.
pub fn encode<T: Serialize>(value: &T) -> Result<bytes::Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(bytes::Bytes::from)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// When the bytes are not the JSON of a `T`.
pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}
