//! Statements about the keys of our own tokens.

use sqlx::FromRow;

use super::{Database, DatabaseError, on, stored};

/// A signing key; the private half is sealed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SigningKeyRow {
    /// Counts up; the newest is the highest.
    pub number: i64,
    /// Name in the header of tokens.
    pub kid: String,
    /// Public half, base64url (the `x` of RFC 8037 §2).
    pub public: String,
    /// Private half, sealed, base64url.
    pub sealed: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// When it begins to sign, likewise.
    pub active_from: i64,
    /// When it was taken out of use in an emergency, likewise.
    pub dropped_at: Option<i64>,
}

impl Database {
    /// All keys, the oldest first.
    pub(crate) async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, DatabaseError> {
        let sql = "SELECT number, kid, public, sealed, created, active_from, dropped_at FROM signing_keys
            ORDER BY number";
        Ok(on!(self, |pool| sqlx::query_as(sql).fetch_all(pool).await)?)
    }

    /// Keeps a new key, unless another has its number: then that one is as good, and this one is forgotten.
    pub(crate) async fn add_signing_key(&self, new: &SigningKeyRow) -> Result<bool, DatabaseError> {
        let sql = "INSERT INTO signing_keys (number, kid, public, sealed, created, active_from)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (number) DO NOTHING";
        let rows = on!(self, |pool| sqlx::query(sql)
            .bind(new.number)
            .bind(&new.kid)
            .bind(&new.public)
            .bind(&new.sealed)
            .bind(new.created)
            .bind(new.active_from)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows > 0)
    }

    /// Takes a key out of use; `false` when there is none of this name in use.
    pub(crate) async fn drop_signing_key(&self, kid: &str, now: u64) -> Result<bool, DatabaseError> {
        let sql = "UPDATE signing_keys SET dropped_at = $2 WHERE kid = $1 AND dropped_at IS NULL";
        let rows = on!(self, |pool| sqlx::query(sql)
            .bind(kid)
            .bind(stored(now))
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows > 0)
    }

    /// Lets a key that waits sign from now on.
    pub(crate) async fn activate_signing_key(&self, number: i64, now: u64) -> Result<(), DatabaseError> {
        let sql = "UPDATE signing_keys SET active_from = $2 WHERE number = $1 AND active_from > $2";
        on!(self, |pool| sqlx::query(sql).bind(number).bind(stored(now)).execute(pool).await.map(drop))?;
        Ok(())
    }
}
