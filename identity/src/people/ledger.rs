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

    /// Keeps a final text, if `TRANSCRIPT_RETENTION` says so; whether it did.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn keep_transcript(&self, said: Transcript<'_>) -> Result<bool, Refused> {
        if self.inner.transcript_retention.is_none() {
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

/// The day of a time, `YYYY-MM-DD` in UTC.
///
/// Years are counted from March, so that the leap day is a year's last (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
#[must_use]
pub(crate) fn utc_day(seconds: u64) -> String {
    // Days since 0000-03-01; 1970-01-01 is day 719,468. An era is 400 years, 146,097 days.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::utc_day;

    #[test]
    fn days_are_those_of_the_calendar() {
        // As `date -u -d @SECONDS +%F` tells them.
        let days = [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_107_542_400, "2100-03-01"),
        ];
        for (seconds, day) in days {
            assert_eq!(utc_day(seconds), day);
        }
    }
}
