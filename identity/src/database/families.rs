//! Statements about sign-ins: families of refresh tokens. Tokens come and go as hashes.

use sqlx::FromRow;

use super::{Database, DatabaseError, on, seconds, stored};

/// A sign-in.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct FamilyRow {
    /// The claim `sid` of its access tokens.
    pub id: String,
    /// Whose it is.
    pub person: String,
    /// What they call the client.
    pub device: String,
    /// Sign-in, seconds since the Unix epoch.
    pub created: i64,
    /// Last refresh, likewise.
    pub last_used: i64,
    /// When it was revoked, likewise.
    pub revoked_at: Option<i64>,
    /// A stable word for why.
    pub reason: Option<String>,
}

/// A refresh token that is shown, its successor, and the rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// Hash of the token.
    pub(crate) hash: &'a str,
    /// Hash of the token that follows it.
    pub(crate) successor: &'a str,
    /// Seconds since the Unix epoch.
    pub(crate) now: u64,
    /// Seconds for which a token may rest.
    pub(crate) idle: u64,
    /// Seconds that a family lives.
    pub(crate) absolute: u64,
    /// Seconds for which the immediate predecessor still leads to the same successor.
    pub(crate) grace: u64,
}

/// What became of a refresh token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The successor is good, either since now or since another call within the grace.
    Rotated(FamilyRow),
    /// It rested too long, or its family is too old.
    Expired,
    /// Its family was revoked before.
    Revoked,
    /// It was used before: its family is revoked by this call.
    Reused(FamilyRow),
    /// Nothing of the kind was ever given out.
    Unknown,
}

#[derive(FromRow)]
struct TokenRow {
    generation: i64,
    issued: i64,
    used_at: Option<i64>,
    newest: i64,
}

impl TokenRow {
    /// Whether it was used just now, its successor was not yet, and so whoever shows it may be the one who used it.
    fn within_grace(&self, shown: &Shown<'_>) -> bool {
        let used = self.used_at.map(seconds);
        used.is_some_and(|at| shown.now.saturating_sub(at) <= shown.grace) && self.generation + 1 == self.newest
    }
}

/// Locks the family of a token: on SQLite the whole file for writing, on PostgreSQL its row. As the first statement of a
/// transaction it makes all others of this family wait for the end of it.
const LOCK: &str = "UPDATE families SET last_used = last_used
    WHERE id = (SELECT family FROM refresh_tokens WHERE hash = $1)
    RETURNING id, person, device, created, last_used, revoked_at, reason";
const TOKEN: &str = "SELECT generation, issued, used_at,
        (SELECT max(generation) FROM refresh_tokens WHERE family = token.family) AS newest
    FROM refresh_tokens AS token WHERE hash = $1";
const USE: &str = "UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1";
const ISSUE: &str = "INSERT INTO refresh_tokens (hash, family, generation, issued) VALUES ($1, $2, $3, $4)";
const TOUCH: &str = "UPDATE families SET last_used = $2 WHERE id = $1";
const SEEN: &str = "UPDATE people SET last_seen = $2 WHERE id = $1";
const REVOKE: &str = "UPDATE families SET revoked_at = $2, reason = $3 WHERE id = $1 AND revoked_at IS NULL";

impl Database {
    /// Begins a family with its first token, of which `token` is the hash.
    pub(crate) async fn begin_family(&self, new: &FamilyRow, token: &str, address: &str) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO families (id, person, device, address, created, last_used)
            VALUES ($1, $2, $3, $4, $5, $5)";
        on!(self, |pool| {
            let mut step = pool.begin().await?;
            let family = sqlx::query(sql).bind(&new.id).bind(&new.person).bind(&new.device).bind(address);
            family.bind(new.created).execute(&mut *step).await?;
            let issue = sqlx::query(ISSUE).bind(token).bind(&new.id).bind(0_i64);
            issue.bind(new.created).execute(&mut *step).await?;
            step.commit().await?;
        });
        Ok(())
    }

    /// Uses up a token for its successor, in one transaction.
    pub(crate) async fn rotate(&self, shown: Shown<'_>) -> Result<Rotation, DatabaseError> {
        let now = stored(shown.now);
        on!(self, |pool| {
            let mut step = pool.begin().await?;
            let family = sqlx::query_as(LOCK).bind(shown.hash).fetch_optional(&mut *step).await?;
            let Some(family): Option<FamilyRow> = family else { return Ok(Rotation::Unknown) };
            if family.revoked_at.is_some() {
                return Ok(Rotation::Revoked);
            }
            let token: TokenRow = sqlx::query_as(TOKEN).bind(shown.hash).fetch_one(&mut *step).await?;
            if shown.is_too_old(&family, &token) {
                return Ok(Rotation::Expired);
            }
            if token.used_at.is_none() {
                sqlx::query(USE).bind(shown.hash).bind(now).execute(&mut *step).await?;
                let issue = sqlx::query(ISSUE).bind(shown.successor).bind(&family.id).bind(token.generation + 1);
                issue.bind(now).execute(&mut *step).await?;
                sqlx::query(TOUCH).bind(&family.id).bind(now).execute(&mut *step).await?;
                sqlx::query(SEEN).bind(&family.person).bind(now).execute(&mut *step).await?;
                step.commit().await?;
                return Ok(Rotation::Rotated(family));
            }
            let known: Option<TokenRow> =
                sqlx::query_as(TOKEN).bind(shown.successor).fetch_optional(&mut *step).await?;
            if token.within_grace(&shown) && known.is_some_and(|successor| successor.used_at.is_none()) {
                return Ok(Rotation::Rotated(family));
            }
            sqlx::query(REVOKE).bind(&family.id).bind(now).bind("reuse").execute(&mut *step).await?;
            step.commit().await?;
            Ok(Rotation::Reused(family))
        })
    }

    /// The family of a token.
    pub(crate) async fn family_of(&self, token: &str) -> Result<Option<FamilyRow>, DatabaseError> {
        let sql = "SELECT id, person, device, created, last_used, revoked_at, reason FROM families
            WHERE id = (SELECT family FROM refresh_tokens WHERE hash = $1)";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(token).fetch_optional(pool).await)?)
    }

    /// Revokes a family; `false` when there is none of this id that is not revoked yet.
    pub(crate) async fn revoke_family(&self, id: &str, reason: &str, now: u64) -> Result<bool, DatabaseError> {
        let rows = on!(self, |pool| sqlx::query(REVOKE)
            .bind(id)
            .bind(stored(now))
            .bind(reason)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(rows > 0)
    }

    /// Revokes all families of a person; their ids.
    pub(crate) async fn revoke_families(
        &self,
        person: &str,
        why: &str,
        now: u64,
    ) -> Result<Vec<String>, DatabaseError> {
        let sql = "UPDATE families SET revoked_at = $2, reason = $3 WHERE person = $1 AND revoked_at IS NULL
            RETURNING id";
        Ok(on!(self, |pool| sqlx::query_scalar(sql).bind(person).bind(stored(now)).bind(why).fetch_all(pool).await)?)
    }

    /// The newest 100 families of a person.
    pub(crate) async fn families_of(&self, person: &str) -> Result<Vec<FamilyRow>, DatabaseError> {
        let sql = "SELECT id, person, device, created, last_used, revoked_at, reason FROM families
            WHERE person = $1 ORDER BY created DESC, id LIMIT 100";
        Ok(on!(self, |pool| sqlx::query_as(sql).bind(person).fetch_all(pool).await)?)
    }

    /// Forgets the families that began at `before` or earlier, and their tokens: nothing can be refreshed with them any more.
    pub(crate) async fn forget_families(&self, before: u64) -> Result<u64, DatabaseError> {
        let sql = "DELETE FROM families WHERE created <= $1";
        let done = on!(self, |pool| sqlx::query(sql)
            .bind(stored(before))
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done)
    }
}

impl Shown<'_> {
    fn is_too_old(&self, family: &FamilyRow, token: &TokenRow) -> bool {
        self.now >= seconds(family.created) + self.absolute || self.now >= seconds(token.issued) + self.idle
    }
}
