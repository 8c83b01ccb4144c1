//! What is kept of a job that was given up.

use serde::{Deserialize, Serialize};

use crate::{
    bus::{Delivery, EntryId, Produce},
    ids::{Revision, SessionId, UtteranceId},
    jobs::{self, DEAD_LETTERS, JobKind},
    language::Language,
};

/// A job that was given up, for an operator to read in [`DEAD_LETTERS`]. Which job, and why; never what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Stream it came from.
    pub stream: String,
    /// Its id there.
    pub entry: EntryId,
    /// How often it was delivered.
    pub deliveries: u32,
    /// Why it was given up.
    pub reason: String,
    /// What it was about; absent when the payload was no job.
    pub subject: Option<Subject>,
}

/// What a job was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Session.
    pub session: SessionId,
    /// Utterance.
    pub utterance: UtteranceId,
    /// Revision.
    pub revision: Revision,
    /// Partial or final.
    pub kind: JobKind,
    /// Target, for a translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Language>,
}

impl DeadLetter {
    /// The letter for `job`, to be written in the step that acknowledges it. A second one for the same job appends
    /// nothing.
    ///
    /// # Errors
    /// Never in practice; see [`jobs::encode`].
    pub fn produce(job: &Delivery, reason: &str, subject: Option<Subject>) -> Result<Produce, serde_json::Error> {
        let letter = Self {
            stream: job.stream.to_string(),
            entry: job.id,
            deliveries: job.deliveries,
            reason: reason.to_owned(),
            subject,
        };
        Ok(Produce {
            stream: DEAD_LETTERS.to_owned(),
            idempotency_key: format!("dead:{}:{}", job.stream, job.id),
            payload: jobs::encode(&letter)?,
            set: None,
        })
    }
}
