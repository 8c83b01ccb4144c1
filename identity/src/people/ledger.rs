//! Usage, audit, transcripts, and forgetting what has been kept for long enough.

use std::{
    collections::HashMap,
    sync::{PoisonError, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::sleep;

use super::{Inner, People};
use crate::{
    Refused,
    access::{LEEWAY, MAX_TOKEN_LIFE},
    clock::utc_day,
    database::{AuditRow, Event, Transcript, UsageRow, seconds},
    secrets,
    sign_ins::ABSOLUTE,
};

/// Usage that the database did not take yet: audio in milliseconds of a subject on a day.
pub(crate) type Unwritten = HashMap<(String, String), u64>;

/// Most subjects and days that wait for the database; usage of more is lost, and said to be.
const MOST_UNWRITTEN: usize = 10_000;
/// What has been kept for long enough is forgotten so often.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// Revocations are kept beyond the last token that they concern, seconds.
const REVOCATIONS_KEPT: u64 = 24 * 3600;

impl People {
    /// Adds heard audio, milliseconds, to the usage of `subject` today (UTC). What the database does not take now, it gets
    /// with the next.
    pub async fn used(&self, subject: &str, audio_ms: u64) {
        let day = utc_day(self.inner.clock.now());
        {
            let mut unwritten = self.inner.unwritten();
            let key = (subject.to_owned(), day);
            if unwritten.len() >= MOST_UNWRITTEN && !unwritten.contains_key(&key) {
                tracing::error!(audio_ms, "usage is lost: the database has been away for too long");
                return;
            }
            *unwritten.entry(key).or_default() += audio_ms;
        }
        self.inner.write_usage().await;
    }

    /// Audio of `subject` today (UTC), milliseconds.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn used_today(&self, subject: &str) -> Result<u64, Refused> {
        let day = utc_day(self.inner.clock.now());
        Ok(self.inner.database.usage(subject, &day).await.map(seconds)?)
    }

    /// Usage of a day (`YYYY-MM-DD`, UTC; today when absent), the most first, at most 1,000 subjects.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn usage_of(&self, day: Option<&str>) -> Result<Vec<UsageRow>, Refused> {
        let today = utc_day(self.inner.clock.now());
        Ok(self.inner.database.usage_of_day(day.unwrap_or(&today)).await?)
    }

    /// Whether final texts are kept at all.
    #[must_use]
    pub fn keeps_transcripts(&self) -> bool {
        self.inner.transcript_retention.is_some()
    }

    /// Keeps a final text, if `TRANSCRIPT_RETENTION` says so; whether it did.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn keep_transcript(&self, said: Transcript<'_>) -> Result<bool, Refused> {
        if !self.keeps_transcripts() {
            return Ok(false);
        }
        self.inner.database.add_transcript(&name_by_time(), self.inner.clock.now(), said).await?;
        Ok(true)
    }

    /// How many texts are kept.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn transcripts(&self) -> Result<u64, Refused> {
        Ok(self.inner.database.transcripts().await.map(seconds)?)
    }

    /// The newest `count` entries of the audit, the newest first.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn audit_log(&self, count: u32) -> Result<Vec<AuditRow>, Refused> {
        Ok(self.inner.database.audit(count).await?)
    }

    /// Forgets what has been kept for long enough: audit, transcripts, revocations and sign-ins that ended. Done every hour
    /// by itself.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn forget_old(&self) -> Result<(), Refused> {
        self.inner.forget_old().await
    }

    /// Writes to the audit. What cannot be written is logged: the door does not close because of it.
    pub(super) async fn audit(&self, what: &str, outcome: &str, person: Option<&str>, address: Option<&str>) {
        let event = Event { what, outcome, person, address, request: self.request.as_deref() };
        if let Err(error) = self.inner.database.add_audit(&name_by_time(), self.inner.clock.now(), event).await {
            tracing::warn!(%error, what, outcome, "the audit could not be written");
        }
    }
}

impl Inner {
    fn unwritten(&self) -> std::sync::MutexGuard<'_, Unwritten> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write_usage(&self) {
        loop {
            let next = self.unwritten().keys().next().cloned();
            let Some(key) = next else { return };
            let Some(audio_ms) = self.unwritten().remove(&key) else { continue };
            if let Err(error) = self.database.add_usage(&key.0, &key.1, audio_ms).await {
                tracing::warn!(%error, "usage waits for the database");
                *self.unwritten().entry(key).or_default() += audio_ms;
                return;
            }
        }
    }

    async fn forget_old(&self) -> Result<(), Refused> {
        let now = self.clock.now();
        let before = |kept: u64| now.saturating_sub(kept);
        self.write_usage().await;
        let transcripts = self.transcript_retention.unwrap_or(0);
        self.database.forget(before(self.audit_retention), before(transcripts)).await?;
        self.database.forget_families(before(ABSOLUTE.as_secs())).await?;
        let tokens = MAX_TOKEN_LIFE.as_secs() + LEEWAY.as_secs();
        self.database.forget_revocations(before(tokens + REVOCATIONS_KEPT)).await?;
        Ok(())
    }
}

/// Until nobody asks for people any more.
pub(super) async fn forget_hourly(inner: Weak<Inner>) {
    loop {
        let Some(people) = inner.upgrade() else { return };
        if let Err(error) = people.forget_old().await {
            tracing::warn!(%error, "what is old could not be forgotten; trying again in an hour");
        }
        drop(people);
        sleep(FORGET_EVERY).await;
    }
}

/// A name that sorts by the time at which it was made.
fn name_by_time() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let chance = secrets::chance::<4>().unwrap_or_default();
    format!("{:020}-{}", now.as_nanos(), secrets::hex(&chance))
}
