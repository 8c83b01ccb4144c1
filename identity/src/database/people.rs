//! Statements about people.

use sqlx::FromRow;

use super::{Database, DatabaseError, on, stored};
use crate::people::ProviderIdentity;

/// Somebody who signed in once.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PersonRow {
    /// Ours.
    pub id: String,
    /// Who vouches for them.
    pub issuer: String,
    /// As the provider told it.
    pub email: Option<String>,
    /// Likewise.
    pub name: Option<String>,
    /// Whether they may not sign in.
    pub disabled: bool,
    /// First sign-in, seconds since the Unix epoch.
    pub created: i64,
    /// Last sign-in or refresh, likewise.
    pub last_seen: i64,
}

impl Database {
    /// Makes or finds the person whom `who` vouches for, with the e-mail address and the name of this time. `id` is theirs if
    /// they are new.
    pub(crate) async fn meet(&self, who: &ProviderIdentity, id: &str, now: u64) -> Result<PersonRow, DatabaseError> {
        let sql = "INSERT INTO people (id, issuer, subject, email, name, created, last_seen)
            VALUES ($1, $2, $3, $4, $5, $6, $6)
            ON CONFLICT (issuer, subject) DO UPDATE SET email = excluded.email, name = excluded.name,
                last_seen = excluded.last_seen
            RETURNING id, issuer, email, name, disabled, created, last_seen";
        let (email, name) = (who.verified_email.as_deref(), who.name.as_deref());
        Ok(on!(self, |pool| sqlx::query_as(sql)
            .bind(id)
            .bind(&who.issuer)
            .bind(&who.subject)
            .bind(email)
            .bind(name)
            .bind(stored(now))
            .fetch_one(pool)
            .await)?)
    }

    /// The person with this id.
    pub(crate) async fn person(&self, id: &str) -> Result<Option<PersonRow>, DatabaseError> {
        let sql = "SELECT id, issuer, email, name, disabled, created, last_seen FROM people WHERE id = $1";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(id).fetch_optional(pool).await)?)
    }

    /// At most `count` people with ids after `after`, in the order of their ids.
    pub(crate) async fn people(&self, after: &str, count: u32) -> Result<Vec<PersonRow>, DatabaseError> {
        let sql = "SELECT id, issuer, email, name, disabled, created, last_seen FROM people
            WHERE id > $1 ORDER BY id LIMIT $2";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(after).bind(i64::from(count)).fetch_all(pool).await)?)
    }

    /// People with this id or this e-mail address, at most 100.
    pub(crate) async fn people_called(&self, name: &str) -> Result<Vec<PersonRow>, DatabaseError> {
        let sql = "SELECT id, issuer, email, name, disabled, created, last_seen FROM people
            WHERE id = $1 OR lower(email) = lower($1) ORDER BY id LIMIT 100";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(name).fetch_all(pool).await)?)
    }

    /// Whether the person may sign in from now on; `false` when there is none with this id.
    pub(crate) async fn set_disabled(&self, id: &str, disabled: bool) -> Result<bool, DatabaseError> {
        let sql = "UPDATE people SET disabled = $2 WHERE id = $1";
        let rows = on!(self, |pool| sqlx::query(sql)
            .bind(id)
            .bind(disabled)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows > 0)
    }
}
