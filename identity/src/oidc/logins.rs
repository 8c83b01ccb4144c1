//! Sign-ins that were begun: each is kept on the bus for five minutes and can be taken once, by any gateway.
//!
//! Nothing there lets a reader of the bus finish a sign-in: ids, `state` and `nonce` are hashed, and a browser's PKCE
//! verifier is derived from what only its cookie holds.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::bus::{Bus, BusError, StateWrite};
use subtle::ConstantTimeEq as _;

use super::Failed;
use crate::Clock;

/// How long a person may take at the provider.
pub const TTL: Duration = Duration::from_secs(300);

/// 256 random bits as they travel: base64url, 43 characters.
#[must_use]
pub fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::rng().random::<[u8; 32]>())
}

/// SHA-256.
#[must_use]
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The PKCE verifier of the browser that holds the login id in its cookie. Who sees the verifier (the provider) learns
/// nothing of the id.
pub(super) fn verifier_of(login_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash(&format!("pkce verifier of {login_id}")))
}

/// `S256` of RFC 7636 §4.2.
pub(super) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash(verifier))
}

/// Who asked to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asker {
    /// A program that listens at a loopback port; it has shown its PKCE challenge.
    Native { challenge: String, device: String },
    /// A page; where in it the person goes afterwards.
    Browser { return_to: String },
}

/// One sign-in that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) state_hash: [u8; 32],
    pub(super) nonce_hash: [u8; 32],
    pub(super) redirect_uri: String,
    pub(super) asker: Asker,
    /// Second since the Unix epoch.
    pub(super) expires: u64,
}

impl Pending {
    /// Whether `state` is the one that was given out.
    pub(super) fn check_state(&self, state: &str) -> Result<(), Failed> {
        if hash(state).ct_eq(&self.state_hash).into() { Ok(()) } else { Err(Failed::State) }
    }
}

/// Where they are kept.
#[derive(Debug, Clone)]
pub(super) struct Logins {
    bus: Arc<dyn Bus>,
    clock: Clock,
}

impl Logins {
    pub(super) fn new(bus: Arc<dyn Bus>, clock: Clock) -> Self {
        Self { bus, clock }
    }

    pub(super) fn expiry(&self) -> u64 {
        self.clock.now() + TTL.as_secs()
    }

    pub(super) async fn put(&self, login_id: &str, login: &Pending) -> Result<(), Failed> {
        let value = serde_json::to_vec(login).map_err(|_| Failed::Away)?;
        let write = StateWrite { key: key(login_id), value: Bytes::from(value), ttl: TTL };
        self.bus.set(write).await.map_err(|error| away(&error))
    }

    /// Of all who ask, one gets it.
    pub(super) async fn take(&self, login_id: &str) -> Result<Pending, Failed> {
        let value = self.bus.take(&key(login_id)).await.map_err(|error| away(&error))?;
        let login: Pending = value.and_then(|value| serde_json::from_slice(&value).ok()).ok_or(Failed::Unknown)?;
        if self.clock.now() < login.expires { Ok(login) } else { Err(Failed::Unknown) }
    }
}

/// Made of the id's hash: whoever lists the keys cannot finish the sign-ins.
fn key(login_id: &str) -> String {
    format!("login:{}", URL_SAFE_NO_PAD.encode(hash(login_id)))
}

fn away(error: &BusError) -> Failed {
    tracing::warn!("a sign-in cannot be kept: {error}");
    Failed::Away
}

#[cfg(test)]
mod tests {
    use shared::bus::MemoryBus;

    use super::*;

    fn pending(logins: &Logins) -> Pending {
        Pending {
            state_hash: hash("state"),
            nonce_hash: hash("nonce"),
            redirect_uri: "http://127.0.0.1:1/callback".to_owned(),
            asker: Asker::Browser { return_to: "/".to_owned() },
            expires: logins.expiry(),
        }
    }

    #[tokio::test]
    async fn a_login_is_taken_once_and_not_after_five_minutes() {
        let clock = Clock::default();
        let logins = Logins::new(Arc::new(MemoryBus::default()), clock.clone());
        let (id, login) = (random(), pending(&logins));
        logins.put(&id, &login).await.unwrap();
        assert_eq!(logins.take("another").await, Err(Failed::Unknown));
        assert_eq!(logins.take(&id).await, Ok(login.clone()));
        assert_eq!(logins.take(&id).await, Err(Failed::Unknown));
        logins.put(&id, &login).await.unwrap();
        clock.advance(TTL);
        assert_eq!(logins.take(&id).await, Err(Failed::Unknown));
    }

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let challenge = challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(verifier_of("a").len(), 43);
    }
}
