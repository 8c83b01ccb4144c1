//! Statements about API keys.

use sqlx::FromRow;

use super::{Database, DatabaseError, on, stored};

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ApiKeyRow {
    /// The part of the key that is no secret.
    pub id: String,
    /// SHA-256 of the secret part, hexadecimal.
    pub hash: String,
    /// What people call it.
    pub label: String,
    /// Who answers for it.
    pub owner: String,
    /// Scopes, with spaces between them.
    pub scopes: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// Likewise, to the minute.
    pub last_used: Option<i64>,
    /// Likewise.
    pub expires: Option<i64>,
    /// Likewise.
    pub revoked_at: Option<i64>,
}

impl Database {
    /// Keeps a new key.
    pub(crate) async fn add_api_key(&self, new: &ApiKeyRow) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO api_keys (id, hash, label, owner, scopes, created, expires)
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        on!(self, |pool| sqlx::query(sql)
            .bind(&new.id)
            .bind(&new.hash)
            .bind(&new.label)
            .bind(&new.owner)
            .bind(&new.scopes)
            .bind(new.created)
            .bind(new.expires)
            .execute(pool)
            .await
            .map(drop))?;
        Ok(())
    }

    /// The key with this id.
    pub(crate) async fn api_key(&self, id: &str) -> Result<Option<ApiKeyRow>, DatabaseError> {
        let sql = "SELECT id, hash, label, owner, scopes, created, last_used, expires, revoked_at FROM api_keys
            WHERE id = $1";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(id).fetch_optional(pool).await)?)
    }

    /// The newest 1,000 keys.
    pub(crate) async fn api_keys(&self) -> Result<Vec<ApiKeyRow>, DatabaseError> {
        let sql = "SELECT id, hash, label, owner, scopes, created, last_used, expires, revoked_at FROM api_keys
            ORDER BY created DESC, id LIMIT 1000";
        Ok(on!(self, |pool| sqlx::query_as(sql).fetch_all(pool).await)?)
    }

    /// Notes that a key was used.
    pub(crate) async fn api_key_used(&self, id: &str, now: u64) -> Result<(), DatabaseError> {
        let sql = "UPDATE api_keys SET last_used = $2 WHERE id = $1";
        on!(self, |pool| sqlx::query(sql).bind(id).bind(stored(now)).execute(pool).await.map(drop))?;
        Ok(())
    }

    /// Revokes a key; `false` when there is none of this id that is not revoked yet.
    pub(crate) async fn revoke_api_key(&self, id: &str, now: u64) -> Result<bool, DatabaseError> {
        let sql = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
        let rows = on!(self, |pool| sqlx::query(sql)
            .bind(id)
            .bind(stored(now))
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows > 0)
    }
}
