//! Statements about what is written down: usage, audit, and, where that is asked for, transcripts.

use sqlx::FromRow;

use super::{Database, DatabaseError, on, stored};

/// Audio of a subject on a day.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct UsageRow {
    /// Whose.
    pub subject: String,
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// Milliseconds.
    pub audio_ms: i64,
}

/// An entry of the audit.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AuditRow {
    /// Sorts by time.
    pub id: String,
    /// Seconds since the Unix epoch.
    pub at: i64,
    /// What was tried, a stable word.
    pub what: String,
    /// What came of it, a stable word.
    pub outcome: String,
    /// Who did it, or to whom it was done, when that is known.
    pub person: Option<String>,
    /// Keyed hash of the address it came from.
    pub address: Option<String>,
    /// Finds the request in the logs.
    pub request: Option<String>,
}

/// Something for the audit.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What was tried, a stable word.
    pub what: &'a str,
    /// What came of it, a stable word.
    pub outcome: &'a str,
    /// Whom it is about.
    pub person: Option<&'a str>,
    /// Keyed hash of an address.
    pub address: Option<&'a str>,
    /// Finds the request in the logs.
    pub request: Option<&'a str>,
}

/// A final text to keep.
#[derive(Clone, Copy)]
pub struct Transcript<'a> {
    /// Session it was said in.
    pub session: &'a str,
    /// Who said it.
    pub subject: &'a str,
    /// Number of the utterance.
    pub utterance: u64,
    /// Language it was said in.
    pub language: &'a str,
    /// Language of `text`, where that is a translation.
    pub target: Option<&'a str>,
    /// The text.
    pub text: &'a str,
}

impl std::fmt::Debug for Transcript<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcript").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Database {
    /// Adds to the usage of a subject on a day.
    pub(crate) async fn add_usage(&self, subject: &str, day: &str, audio_ms: u64) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO usage (subject, day, audio_ms) VALUES ($1, $2, $3)
            ON CONFLICT (subject, day) DO UPDATE SET audio_ms = usage.audio_ms + excluded.audio_ms";
        on!(self, |pool| sqlx::query(sql)
            .bind(subject)
            .bind(day)
            .bind(stored(audio_ms))
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// Usage of a day, the most first, at most 1,000 subjects.
    pub(crate) async fn usage_of_day(&self, day: &str) -> Result<Vec<UsageRow>, DatabaseError> {
        let sql = "SELECT subject, day, audio_ms FROM usage WHERE day = $1 ORDER BY audio_ms DESC, subject LIMIT 1000";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(day).fetch_all(pool).await)?)
    }

    /// Usage of a subject on a day, milliseconds.
    pub(crate) async fn usage(&self, subject: &str, day: &str) -> Result<i64, DatabaseError> {
        let sql = "SELECT audio_ms FROM usage WHERE subject = $1 AND day = $2";
        let found: Option<i64> =
            on!(self, |pool| sqlx::query_scalar(sql).bind(subject).bind(day).fetch_optional(pool).await)?;
        Ok(found.unwrap_or(0))
    }

    /// Writes an event down under `id`, which sorts by time.
    pub(crate) async fn add_audit(&self, id: &str, now: u64, event: Event<'_>) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO audit (id, at, what, outcome, person, address, request)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        on!(self, |pool| sqlx::query(sql)
            .bind(id)
            .bind(stored(now))
            .bind(event.what)
            .bind(event.outcome)
            .bind(event.person)
            .bind(event.address)
            .bind(event.request)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// The newest `count` entries of the audit, the newest first.
    pub(crate) async fn audit(&self, count: u32) -> Result<Vec<AuditRow>, DatabaseError> {
        let sql = "SELECT id, at, what, outcome, person, address, request FROM audit ORDER BY id DESC LIMIT $1";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(i64::from(count)).fetch_all(pool).await)?)
    }

    /// Keeps a text under `id`.
    pub(crate) async fn add_transcript(&self, id: &str, now: u64, said: Transcript<'_>) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO transcripts (id, session, subject, utterance, at, language, target, text)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        on!(self, |pool| sqlx::query(sql)
            .bind(id)
            .bind(said.session)
            .bind(said.subject)
            .bind(stored(said.utterance))
            .bind(stored(now))
            .bind(said.language)
            .bind(said.target)
            .bind(said.text)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// How many texts are kept.
    pub(crate) async fn transcripts(&self) -> Result<i64, DatabaseError> {
        Ok(on!(self, |pool| sqlx::query_scalar("SELECT count(*) FROM transcripts").fetch_one(pool).await)?)
    }

    /// Forgets audit entries before one time, and transcripts before another.
    pub(crate) async fn forget(&self, audit_before: u64, transcripts_before: u64) -> Result<(), DatabaseError> {
        on!(self, |pool| {
            sqlx::query("DELETE FROM audit WHERE at < $1").bind(stored(audit_before)).execute(pool).await?;
            let transcripts = sqlx::query("DELETE FROM transcripts WHERE at < $1");
            transcripts.bind(stored(transcripts_before)).execute(pool).await?;
        });
        Ok(())
    }
}
