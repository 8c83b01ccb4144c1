//! What is written down of a session, so that any gateway can go on with it.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::{bus::EntryId, ids::SessionId, wire::AudioFormat};
use subtle::ConstantTimeEq as _;

use super::trace;
use crate::dispatch::{Memory, MemoryView};

/// What was wrong with JSON, without what stands there: it may be what was said.
pub(super) fn unquoted(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
}

/// What does not change while a session lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Founding {
    /// Whose session it is.
    pub(super) subject: String,
    /// SHA-256 of the resume token's secret, in hexadecimal digits.
    pub(super) secret_hash: String,
    pub(super) audio: AudioFormat,
    pub(super) partials: bool,
    pub(super) words: bool,
    /// When it began, seconds since the Unix epoch.
    pub(super) began: u64,
}

/// How far it got.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Progress {
    /// All audio before this is settled, where no utterance is open; milliseconds.
    pub(super) safe_ms: u64,
    pub(super) received_ms: u64,
    /// Utterances opened.
    pub(super) utterances: u32,
    /// Number of the newest event.
    pub(super) event: u64,
    /// Newest answer of a worker that was taken in.
    pub(super) seen: EntryId,
    /// Whether the client said `stop`.
    pub(super) stopping: bool,
    /// When this was written, milliseconds since the Unix epoch.
    pub(super) written: u64,
}

/// As it is written.
#[derive(Debug, Serialize)]
pub(super) struct StateView<'a> {
    pub(super) founding: &'a Founding,
    pub(super) progress: Progress,
    pub(super) dispatch: MemoryView<'a>,
    pub(super) traces: trace::MemoryView<'a>,
}

/// As it is read back.
#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) founding: Founding,
    pub(super) progress: Progress,
    pub(super) dispatch: Memory,
    #[serde(default)]
    pub(super) traces: trace::Memory,
}

/// Lets a client go on with its session: the session's name, and a secret that only the client and the gateway that holds
/// the session know.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ResumeToken {
    pub(super) session: SessionId,
    secret: String,
}

impl ResumeToken {
    /// A fresh one, with 256 random bits.
    pub(super) fn random(session: SessionId) -> Self {
        let [high, low]: [u128; 2] = rand::random();
        Self { session, secret: format!("{high:032x}{low:032x}") }
    }

    /// Reads what [`ResumeToken::text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (session, secret) = text.split_once('.')?;
        let plain = secret.len() == 64 && secret.bytes().all(|b| b.is_ascii_hexdigit());
        let session = session.parse().ok()?;
        plain.then(|| Self { session, secret: secret.to_owned() })
    }

    pub(super) fn text(&self) -> String {
        format!("{}.{}", self.session, self.secret)
    }

    pub(super) fn secret_hash(&self) -> String {
        Sha256::digest(self.secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it is the one of this session; takes the same time whatever it is.
    pub(super) fn opens(&self, founding: &Founding) -> bool {
        self.secret_hash().as_bytes().ct_eq(founding.secret_hash.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_no_part_of_a_fault() {
        let error = serde_json::from_str::<Progress>(r#"{"safe_ms": "good morning"}"#).unwrap_err();
        assert!(error.to_string().contains("good morning"));
        assert_eq!(unquoted(&error), "Data error at line 1 column 26");
    }

    #[test]
    fn a_token_is_read_back_and_nothing_else_is_one() {
        let token = ResumeToken::random(SessionId::random());
        assert!(ResumeToken::parse(&token.text()).is_some_and(|read| read == token));
        for bad in ["", ".", "a.b", &token.session.to_string(), &format!("{}.{}", token.session, "z".repeat(64))] {
            assert!(ResumeToken::parse(bad).is_none(), "{bad}");
        }
    }
}
