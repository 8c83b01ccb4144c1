//! The Ed25519 keys of our own tokens.
//!
//! They lie in the database, the private halves sealed, so that all gateways share them. A key goes through three states:
//! *next* (published, not signing yet: every cache of our key set learns of it first), *current*, *previous* (verifies
//! until the last token signed with it has ended). The current key is the newest whose time has come. One that is dropped
//! in an emergency is gone at once; if it was current, its successor signs from then on.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    Clock, Refused,
    access::{LEEWAY, MAX_TOKEN_LIFE},
    database::{Database, SigningKeyRow, seconds, stored},
    secrets::{self, Secrets},
};

/// A key signs for so long.
pub const ROTATE_AFTER: Duration = Duration::from_secs(90 * 24 * 3600);
/// A key is published for so long before it signs: as long as others may cache our key set (300 s) and a gateway believes
/// what it read from the database (60 s), and a reserve.
pub const PUBLISH_BEFORE: Duration = Duration::from_secs(300 + BELIEVED + 30);
/// What was read from the database is believed for so long: the time in which a dropped key is out of use everywhere.
const BELIEVED: u64 = 60;
/// A name that is not known leads to the database at most so often, seconds.
const UNKNOWN_KID_EVERY: u64 = 10;
/// A database that does not answer for so long is away.
const PATIENCE: Duration = Duration::from_secs(2);
/// After a failure the database is left alone for so long, seconds.
const RETRY_AFTER: u64 = 5;
/// While the database is away, what was read last is believed for so long, seconds: live sessions renew their tokens, and
/// an access token lives no longer.
const STALE: u64 = 600;

/// What a key is for at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, not signing yet.
    Next,
    /// Signs and verifies.
    Current,
    /// Verifies.
    Previous,
    /// Verifies no more; every token signed with it has ended.
    Retired,
    /// Taken out of use in an emergency.
    Dropped,
}

impl KeyState {
    fn verifies(self) -> bool {
        matches!(self, Self::Next | Self::Current | Self::Previous)
    }
}

/// A key as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SigningKey {
    /// Its name.
    pub kid: String,
    /// What it is for at present.
    pub state: KeyState,
    /// Seconds since the Unix epoch.
    pub created: u64,
    /// When it begins to sign, likewise.
    pub active_from: u64,
    /// Whether our `AUTH_SECRET` opens its private half.
    pub opens: bool,
}

/// The keys as they were read last.
#[derive(Default)]
struct Ring {
    rows: Vec<SigningKeyRow>,
    verify: BTreeMap<String, DecodingKey>,
    sign: BTreeMap<String, EncodingKey>,
    /// When they were read; 0: never.
    read: u64,
    /// When reading was tried last.
    tried: u64,
    /// How often it was tried.
    tries: u64,
}

/// The keys of our own tokens.
pub(crate) struct SigningKeys {
    database: Database,
    secrets: Arc<Secrets>,
    clock: Clock,
    ring: RwLock<Arc<Ring>>,
    /// Of many who find the keys stale, one reads them.
    reading: Mutex<()>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// The keys of a database; makes the first one.
    pub(crate) async fn open(database: Database, secrets: Arc<Secrets>, clock: Clock) -> Result<Self, Refused> {
        let keys = Self { database, secrets, clock, ring: RwLock::default(), reading: Mutex::default() };
        keys.read().await?;
        Ok(keys)
    }

    /// Signs `claims` as an access token (RFC 9068 §2.1).
    pub(crate) async fn sign(&self, claims: &impl Serialize) -> Result<String, Refused> {
        let mut ring = self.ring().await?;
        if self.current(&ring).is_none() {
            self.read().await?;
            ring = self.held();
        }
        let (kid, key) = self.current(&ring).ok_or(Refused::Unavailable)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, key).map_err(|_| Refused::Unavailable)
    }

    /// The key that verifies what `kid` signed.
    pub(crate) async fn verifying(&self, kid: &str) -> Result<DecodingKey, Refused> {
        let mut ring = self.ring().await?;
        let now = self.clock.now();
        if !ring.verify.contains_key(kid) && now >= ring.tried + UNKNOWN_KID_EVERY {
            ring = self.read_again(&ring).await?;
        }
        let unknown = Refused::Invalid("it was signed with a key that is not ours");
        // One whose time has not come may be in use already where the clock is ahead.
        ring.state(kid, now).filter(|state| state.verifies()).ok_or_else(|| unknown.clone())?;
        ring.verify.get(kid).cloned().ok_or(unknown)
    }

    /// What verifies our tokens, as a JWK Set (RFC 7517 §5, RFC 8037 §2).
    pub(crate) async fn jwks(&self) -> Result<Value, Refused> {
        let (ring, now) = (self.ring().await?, self.clock.now());
        let published = ring.rows.iter().filter(|row| ring.state(&row.kid, now).is_some_and(KeyState::verifies));
        let key = |row: &SigningKeyRow| {
            let (kid, x) = (&row.kid, &row.public);
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x})
        };
        Ok(json!({"keys": published.map(key).collect::<Vec<_>>()}))
    }

    /// All keys, the newest first.
    pub(crate) async fn list(&self) -> Result<Vec<SigningKey>, Refused> {
        self.read().await?;
        let (ring, now) = (self.held(), self.clock.now());
        let told = |row: &SigningKeyRow| SigningKey {
            kid: row.kid.clone(),
            state: ring.state(&row.kid, now).unwrap_or(KeyState::Retired),
            created: seconds(row.created),
            active_from: seconds(row.active_from),
            opens: ring.sign.contains_key(&row.kid),
        };
        Ok(ring.rows.iter().rev().map(told).collect())
    }

    /// Makes the next key now, unless one waits already; its name.
    pub(crate) async fn rotate(&self) -> Result<String, Refused> {
        let now = self.clock.now();
        let rows = self.database.signing_keys().await?;
        let waiting = |row: &&SigningKeyRow| seconds(row.active_from) > now && row.dropped_at.is_none();
        if let Some(next) = rows.last().filter(waiting) {
            return Ok(next.kid.clone());
        }
        self.make(&rows, now + PUBLISH_BEFORE.as_secs()).await?;
        self.read().await?;
        self.held().rows.last().map(|row| row.kid.clone()).ok_or(Refused::Unavailable)
    }

    /// Takes `kid` out of use: here at once, elsewhere within a minute. `false` when it is not in use.
    pub(crate) async fn drop_key(&self, kid: &str) -> Result<bool, Refused> {
        let now = self.clock.now();
        let dropped = self.database.drop_signing_key(kid, now).await?;
        let rows = self.database.signing_keys().await?;
        let waits = |row: &&SigningKeyRow| seconds(row.active_from) > now && row.dropped_at.is_none();
        let current = rows.iter().rfind(|row| seconds(row.active_from) <= now);
        if current.is_some_and(|row| row.kid == kid)
            && let Some(next) = rows.iter().find(waits)
        {
            self.database.activate_signing_key(next.number, now).await?;
        }
        self.read().await?;
        Ok(dropped)
    }

    fn held(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn hold(&self, ring: Ring) {
        *self.ring.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(ring);
    }

    /// The keys, read again when they were believed for long enough.
    async fn ring(&self) -> Result<Arc<Ring>, Refused> {
        let (ring, now) = (self.held(), self.clock.now());
        if now < ring.read + BELIEVED {
            return Ok(ring);
        }
        if now < ring.tried + RETRY_AFTER {
            return if now < ring.read + STALE { Ok(ring) } else { Err(Refused::Unavailable) };
        }
        self.read_again(&ring).await
    }

    /// Reads the keys, unless somebody else tried since they were `seen`; while the database is away, those that there were.
    async fn read_again(&self, seen: &Ring) -> Result<Arc<Ring>, Refused> {
        let _turn = self.reading.lock().await;
        let held = self.held();
        if held.tries == seen.tries && !matches!(timeout(PATIENCE, self.read_in_turn()).await, Ok(Ok(()))) {
            let (tried, tries) = (self.clock.now(), held.tries + 1);
            self.hold(Ring { tried, tries, ..held.copy() });
        }
        let held = self.held();
        if self.clock.now() < held.read + STALE { Ok(held) } else { Err(Refused::Unavailable) }
    }

    async fn read(&self) -> Result<(), Refused> {
        let _turn = self.reading.lock().await;
        self.read_in_turn().await
    }

    /// Reads the keys, and makes one where none can sign or the current one is old.
    async fn read_in_turn(&self) -> Result<(), Refused> {
        let now = self.clock.now();
        let mut rows = self.database.signing_keys().await?;
        let current = rows.iter().rfind(|row| seconds(row.active_from) <= now);
        let signs =
            |row: &SigningKeyRow| row.dropped_at.is_none() && self.secrets.open(&row.kid, &row.sealed).is_some();
        if !current.is_some_and(signs) {
            if current.is_some_and(|row| row.dropped_at.is_none()) {
                tracing::error!("AUTH_SECRET does not open the signing key: was it changed? A new key is made");
            }
            self.make(&rows, now).await?;
            rows = self.database.signing_keys().await?;
        } else if rows.last().is_some_and(|newest| now >= seconds(newest.active_from) + ROTATE_AFTER.as_secs()) {
            self.make(&rows, now + PUBLISH_BEFORE.as_secs()).await?;
            rows = self.database.signing_keys().await?;
        }
        let tries = self.held().tries + 1;
        self.hold(Ring { tries, ..Ring::of(rows, &self.secrets, now) });
        Ok(())
    }

    /// Makes a key that signs from `active_from` on, unless another gateway was faster.
    async fn make(&self, rows: &[SigningKeyRow], active_from: u64) -> Result<(), Refused> {
        let made = || -> Result<_, aws_lc_rs::error::Unspecified> {
            let pair = Ed25519KeyPair::generate()?;
            Ok((URL_SAFE_NO_PAD.encode(pair.public_key()), pair.to_pkcs8v1()?))
        };
        let (public, private) = made().map_err(|_| Refused::Unavailable)?;
        let kid = secrets::hex(&secrets::chance::<8>()?);
        let new = SigningKeyRow {
            number: rows.last().map_or(0, |newest| newest.number) + 1,
            sealed: self.secrets.seal(&kid, private.as_ref())?,
            kid,
            public,
            created: stored(self.clock.now()),
            active_from: stored(active_from),
            dropped_at: None,
        };
        if self.database.add_signing_key(&new).await? {
            tracing::info!(kid = new.kid, active_from, "a signing key was made");
        }
        Ok(())
    }

    fn current<'a>(&self, ring: &'a Ring) -> Option<(&'a str, &'a EncodingKey)> {
        let row = ring.current(self.clock.now()).filter(|row| row.dropped_at.is_none())?;
        Some((&row.kid, ring.sign.get(&row.kid)?))
    }
}

impl Ring {
    fn of(rows: Vec<SigningKeyRow>, secrets: &Secrets, now: u64) -> Self {
        let mut ring = Self { read: now, tried: now, ..Self::default() };
        for row in &rows {
            if let Ok(key) = DecodingKey::from_ed_components(&row.public) {
                ring.verify.insert(row.kid.clone(), key);
            }
            if let Some(private) = secrets.open(&row.kid, &row.sealed) {
                ring.sign.insert(row.kid.clone(), EncodingKey::from_ed_der(&private));
            }
        }
        ring.rows = rows;
        ring
    }

    fn copy(&self) -> Self {
        let (verify, sign) = (self.verify.clone(), self.sign.clone());
        Self { rows: self.rows.clone(), verify, sign, read: self.read, tried: self.tried, tries: self.tries }
    }

    fn current(&self, now: u64) -> Option<&SigningKeyRow> {
        self.rows.iter().rfind(|row| seconds(row.active_from) <= now)
    }

    fn state(&self, kid: &str, now: u64) -> Option<KeyState> {
        let at = self.rows.iter().position(|row| row.kid == kid)?;
        let row = &self.rows[at];
        if row.dropped_at.is_some() {
            return Some(KeyState::Dropped);
        }
        if seconds(row.active_from) > now {
            return Some(KeyState::Next);
        }
        let successor =
            self.rows[at + 1..].iter().map(|later| seconds(later.active_from)).filter(|at| *at <= now).min();
        let last = MAX_TOKEN_LIFE.as_secs() + LEEWAY.as_secs();
        Some(match successor {
            None => KeyState::Current,
            Some(since) if now <= since + last => KeyState::Previous,
            Some(_) => KeyState::Retired,
        })
    }
}
