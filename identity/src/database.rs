//! People, sign-ins, keys, usage and audit, in SQLite or PostgreSQL.
//!
//! Every statement is written once and runs on both: placeholders are `$1`, times are seconds since the Unix epoch, hashes
//! are text, and [`on!`] picks the pool. The migrations are one set as well; `tests/tests/people.rs` holds both databases
//! to one suite.
//!
//! # Layout
//! - `open`: addresses, files, pools
//! - `people`, `families`, `api_keys`, `signing_keys`, `revocations`, `ledger` (usage, audit, transcripts): the statements

mod api_keys;
mod families;
mod ledger;
mod open;
mod people;
mod revocations;
mod signing_keys;

use sqlx::{PgPool, SqlitePool};

pub use self::{
    api_keys::ApiKeyRow,
    families::{FamilyRow, Rotation},
    ledger::{AuditRow, Event, Transcript, UsageRow},
    people::PersonRow,
    signing_keys::SigningKeyRow,
};
pub(crate) use self::{families::Shown, open::sqlite_file};
use crate::Refused;

/// Runs `$run` with `$pool` bound to the pool of whichever database it is.
macro_rules! on {
    ($database:expr, |$pool:ident| $run:expr) => {
        match $database {
            $crate::database::Database::Sqlite($pool) => $run,
            $crate::database::Database::Postgres($pool) => $run,
        }
    };
}
use on;

/// The database; clones share its connections.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file.
    Sqlite(SqlitePool),
    /// A server, which several gateways may share.
    Postgres(PgPool),
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be opened; the message names no password.
    #[error("DATABASE_URL cannot be used: {0}")]
    Url(String),
    /// It cannot be reached, or refused a statement.
    #[error("the database cannot be used: {0}")]
    Statement(#[from] sqlx::Error),
    /// Its tables cannot be brought to this version.
    #[error("the tables of the database cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl From<DatabaseError> for Refused {
    fn from(error: DatabaseError) -> Self {
        tracing::warn!(%error, "nobody can be checked");
        Self::Unavailable
    }
}

/// Seconds since the Unix epoch as the database has them.
pub(crate) fn stored(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The other way round.
pub(crate) fn seconds(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
