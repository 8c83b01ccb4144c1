//! What is kept of a job that was given up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    bus::{Delivery, EntryId, Publish},
    ids::{Revision, SessionId, UtteranceId},
    jobs::{self, DEAD_LETTERS, JobKind},
    language::Language,
};

/// How long letters are kept: long enough for whoever looks after a weekend, so that they cannot fill the bus.
const KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);

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
    /// The letter for `job`, to be written in the step that acknowledges it, and kept for three days.
    ///
    /// # Errors
    /// Never in practice; see [`jobs::encode`].
    pub fn publish(job: &Delivery, reason: &str, subject: Option<Subject>) -> Result<Publish, serde_json::Error> {
        let letter = Self {
            stream: job.stream.to_string(),
            entry: job.id,
            deliveries: job.deliveries,
            reason: reason.to_owned(),
            subject,
        };
        Ok(Publish { stream: DEAD_LETTERS.to_owned(), payload: jobs::encode(&letter)?, ttl: KEPT })
    }
}
