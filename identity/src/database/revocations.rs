//! Statements about revocations.

use super::{Database, DatabaseError, on, stored};

impl Database {
    /// Writes down that something of `kind` was revoked; a later time replaces an earlier one.
    pub(crate) async fn add_revocation(&self, kind: &str, id: &str, now: u64) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO revocations (kind, id, at) VALUES ($1, $2, $3)
            ON CONFLICT (kind, id) DO UPDATE SET at = excluded.at WHERE revocations.at < excluded.at";
        on!(self, |pool| sqlx::query(sql).bind(kind).bind(id).bind(stored(now)).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// What was revoked since `since`: kind, id, time; the oldest first.
    pub(crate) async fn revocations_since(&self, since: u64) -> Result<Vec<(String, String, i64)>, DatabaseError> {
        let sql = "SELECT kind, id, at FROM revocations WHERE at >= $1 ORDER BY at";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(stored(since)).fetch_all(pool).await)?)
    }

    /// Forgets what was revoked before `before`: every token of then has ended by itself.
    pub(crate) async fn forget_revocations(&self, before: u64) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM revocations WHERE at < $1";
        on!(self, |pool| sqlx::query(sql).bind(stored(before)).execute(pool).await.map(drop))?;
        Ok(())
    }
}
