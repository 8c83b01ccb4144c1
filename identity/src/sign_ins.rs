//! Families of refresh tokens: what a sign-in is, and how long it lasts.
//!
//! A refresh token is opaque and used once. Its successor is derived from it with a secret of ours rather than drawn, so
//! that a client whose answer was lost, or whose windows asked at the same time, is given the same one again within a
//! short grace, though only hashes are kept. Whoever shows an older token is not the only one who has it: the whole family
//! is revoked (RFC 9700 §4.14.2).

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    Clock, Refused,
    database::{Database, DatabaseError, FamilyRow, Rotation, Shown, stored},
    secrets::{self, Secrets},
};

/// What every refresh token begins with, so that secret scanners know it.
pub const REFRESH_PREFIX: &str = "srt_";
/// A refresh token may rest for so long.
pub const IDLE: Duration = Duration::from_secs(14 * 24 * 3600);
/// A sign-in lasts for so long.
pub const ABSOLUTE: Duration = Duration::from_secs(30 * 24 * 3600);
/// For so long the token that was used last still leads to its successor.
pub const GRACE: Duration = Duration::from_secs(10);
/// Longest name of a client, characters.
const MAX_DEVICE: usize = 64;
/// No refresh token is longer, in bytes.
const MAX_REFRESH_TOKEN: usize = 128;

/// Begins, goes on with and ends sign-ins.
#[derive(Debug)]
pub(crate) struct SignIns {
    database: Database,
    secrets: Arc<Secrets>,
    clock: Clock,
}

/// A sign-in and the refresh token that goes on with it.
#[derive(Debug)]
pub(crate) struct SignIn {
    pub(crate) family: FamilyRow,
    pub(crate) refresh_token: String,
}

/// Why a refresh token led nowhere.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It was used before; its family is revoked now.
    Reused(FamilyRow),
    /// Everything else.
    Refused(Refused),
}

impl From<Refused> for Stopped {
    fn from(why: Refused) -> Self {
        Self::Refused(why)
    }
}

impl From<DatabaseError> for Stopped {
    fn from(error: DatabaseError) -> Self {
        Self::Refused(error.into())
    }
}

impl SignIns {
    pub(crate) fn new(database: Database, secrets: Arc<Secrets>, clock: Clock) -> Self {
        Self { database, secrets, clock }
    }

    /// Begins a family for `person`; `address` is a keyed hash.
    pub(crate) async fn begin(&self, person: &str, device: &str, address: &str) -> Result<SignIn, Refused> {
        let refresh_token = format!("{REFRESH_PREFIX}{}", secrets::token()?);
        let now = stored(self.clock.now());
        let family = FamilyRow {
            id: Uuid::new_v4().to_string(),
            person: person.to_owned(),
            device: device.chars().filter(|c| !c.is_control()).take(MAX_DEVICE).collect(),
            created: now,
            last_used: now,
            revoked_at: None,
            reason: None,
        };
        self.database.begin_family(&family, &secrets::fingerprint(&refresh_token), address).await?;
        Ok(SignIn { family, refresh_token })
    }

    /// Uses up a refresh token for its successor.
    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<SignIn, Stopped> {
        let unknown = Refused::Invalid("it is not a refresh token of ours");
        if !is_well_formed(refresh_token) {
            return Err(unknown.into());
        }
        let successor = format!("{REFRESH_PREFIX}{}", self.secrets.successor(refresh_token));
        let shown = Shown {
            hash: &secrets::fingerprint(refresh_token),
            successor: &secrets::fingerprint(&successor),
            now: self.clock.now(),
            idle: IDLE.as_secs(),
            absolute: ABSOLUTE.as_secs(),
            grace: GRACE.as_secs(),
        };
        match self.database.rotate(shown).await? {
            Rotation::Rotated(family) => Ok(SignIn { family, refresh_token: successor }),
            Rotation::Reused(family) => Err(Stopped::Reused(family)),
            Rotation::Expired => Err(Refused::Expired.into()),
            Rotation::Revoked => Err(Refused::Revoked.into()),
            Rotation::Unknown => Err(unknown.into()),
        }
    }

    /// Ends the family of a refresh token; `None` when it is not one of ours. A family that ended before is told again, so
    /// that a second try reaches whoever did not hear of the first.
    pub(crate) async fn end(&self, refresh_token: &str, reason: &str) -> Result<Option<FamilyRow>, Refused> {
        if !is_well_formed(refresh_token) {
            return Ok(None);
        }
        let family = self.database.family_of(&secrets::fingerprint(refresh_token)).await?;
        if let Some(family) = &family {
            self.database.revoke_family(&family.id, reason, self.clock.now()).await?;
        }
        Ok(family)
    }
}

fn is_well_formed(refresh_token: &str) -> bool {
    refresh_token.starts_with(REFRESH_PREFIX) && refresh_token.len() <= MAX_REFRESH_TOKEN
}
