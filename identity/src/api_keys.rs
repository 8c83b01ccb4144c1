//! API keys: credentials of machines, `stk_ID_SECRET`. The id is no secret: it names the key in lists, limits and usage.

use subtle::ConstantTimeEq as _;

use crate::{
    Clock, Principal, Refused, Scopes,
    database::{ApiKeyRow, Database, seconds, stored},
    secrets,
};

/// What every API key begins with, so that secret scanners know it.
pub const API_KEY_PREFIX: &str = "stk_";
/// When a key was used last is written down at most so often, seconds.
const NOTED_EVERY: u64 = 60;
/// Longest key, bytes: prefix, id of 16, secret of 43.
const MAX_KEY: usize = 64;

/// What an API key is to be.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What people call it.
    pub label: String,
    /// Who answers for it.
    pub owner: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it ends, seconds since the Unix epoch; `None`: when it is revoked.
    pub expires: Option<u64>,
}

/// An API key that was made just now; the only time that it is whole.
#[derive(Clone)]
pub struct MadeApiKey {
    /// Names it.
    pub id: String,
    /// The key.
    pub key: String,
}

impl std::fmt::Debug for MadeApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes and checks API keys.
#[derive(Debug)]
pub(crate) struct ApiKeys {
    database: Database,
    clock: Clock,
}

impl ApiKeys {
    pub(crate) fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// Makes a key.
    pub(crate) async fn create(&self, new: NewApiKey) -> Result<MadeApiKey, Refused> {
        let (id, secret) = (secrets::hex(&secrets::chance::<8>()?), secrets::token()?);
        let row = ApiKeyRow {
            id: id.clone(),
            hash: secrets::fingerprint(&secret),
            label: new.label,
            owner: new.owner,
            scopes: new.scopes.to_string(),
            created: stored(self.clock.now()),
            last_used: None,
            expires: new.expires.map(stored),
            revoked_at: None,
        };
        self.database.add_api_key(&row).await?;
        Ok(MadeApiKey { key: format!("{API_KEY_PREFIX}{id}_{secret}"), id })
    }

    /// Whose key this is.
    pub(crate) async fn verify(&self, key: &str) -> Result<Principal, Refused> {
        let invalid = Refused::Invalid("it is not an API key of ours");
        let parts = key.strip_prefix(API_KEY_PREFIX).filter(|_| key.len() <= MAX_KEY).and_then(|k| k.split_once('_'));
        let (id, secret) = parts.ok_or_else(|| invalid.clone())?;
        let row = self.database.api_key(id).await?;
        // The hash is compared for a key that is not there as well, so that time tells nothing about which ids exist.
        let hash = row.as_ref().map_or(secrets::fingerprint(""), |row| row.hash.clone());
        let same: bool = hash.as_bytes().ct_eq(secrets::fingerprint(secret).as_bytes()).into();
        let Some(row) = row.filter(|_| same) else { return Err(invalid) };
        let now = self.clock.now();
        if row.revoked_at.is_some() {
            return Err(Refused::Revoked);
        }
        if row.expires.is_some_and(|at| seconds(at) <= now) {
            return Err(Refused::Expired);
        }
        if row.last_used.is_none_or(|at| now >= seconds(at) + NOTED_EVERY) {
            // A note for operators; a database that cannot be written keeps nobody out.
            if let Err(error) = self.database.api_key_used(&row.id, now).await {
                tracing::warn!(%error, "the use of an API key cannot be noted");
            }
        }
        let scopes = row.scopes.parse().map_err(|_| Refused::Unavailable)?;
        Ok(Principal { subject: subject_of(&row.id), family: None, scopes, expires: row.expires.map(seconds) })
    }

    /// Revokes a key; `false` when there is none of this id that is not revoked yet.
    pub(crate) async fn revoke(&self, id: &str) -> Result<bool, Refused> {
        Ok(self.database.revoke_api_key(id, self.clock.now()).await?)
    }
}

/// The subject of a key.
pub(crate) fn subject_of(id: &str) -> String {
    format!("key:{id}")
}
