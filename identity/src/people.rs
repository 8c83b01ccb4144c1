//! The one door to everything here: what the gateway and the admin commands ask.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use shared::bus::Bus;

use crate::{Clock, Principal, Refused};

/// What a person gets who signed in, and again at each refresh (RFC 6749 §5.1).
#[derive(Clone, Serialize)]
pub struct Tokens {
    /// EdDSA JWT, for `Authorization: Bearer`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds that the access token is good for.
    pub expires_in: u64,
    /// Opaque; good for one refresh.
    pub refresh_token: String,
    /// Scopes of the access token, with spaces between them.
    pub scope: String,
    /// Whose they are.
    pub person: Person,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("person", &self.person.id).finish_non_exhaustive()
    }
}

/// Somebody who signed in once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Ours; the `sub` of our tokens.
    pub id: String,
    /// As the provider told it, for people to recognise themselves.
    pub email: Option<String>,
    /// Likewise.
    pub name: Option<String>,
}

/// Who somebody is, as an OpenID Connect provider's verified ID token says.
#[derive(Clone, PartialEq, Eq)]
pub struct ProviderIdentity {
    /// `iss`.
    pub issuer: String,
    /// `sub`; with the issuer, the key of a person.
    pub subject: String,
    /// `email`, only where `email_verified` is true.
    pub verified_email: Option<String>,
    /// `name`.
    pub name: Option<String>,
}

impl std::fmt::Debug for ProviderIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderIdentity").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// People, their tokens and everything that can be revoked. Clones share it.
#[derive(Debug, Clone)]
pub struct People {
    bus: Arc<dyn Bus>,
    clock: Clock,
}

impl People {
    /// Whose credential this is: an access token of ours, one minted elsewhere, or an API key.
    ///
    /// # Errors
    /// See [`Refused`].
    #[expect(clippy::unused_async)]
    pub async fn verify(&self, _bearer: &str) -> Result<Principal, Refused> {
        let (_, _) = (&self.bus, &self.clock);
        Err(Refused::Unavailable)
    }

    /// Lets somebody in whom the provider vouches for: makes or finds the person, begins a family of refresh tokens, writes
    /// the audit. `device` is what the person calls the client; `address` is where it came from.
    ///
    /// # Errors
    /// [`Refused::Forbidden`] for somebody who was disabled; [`Refused::Unavailable`].
    #[expect(clippy::unused_async)]
    pub async fn sign_in(&self, _who: &ProviderIdentity, _device: &str, _address: &str) -> Result<Tokens, Refused> {
        Err(Refused::Unavailable)
    }

    /// The next tokens for a refresh token, which is used up by it.
    ///
    /// # Errors
    /// [`Refused::Invalid`], [`Refused::Expired`], or [`Refused::Revoked`] when it was used before: then its whole family is
    /// revoked.
    #[expect(clippy::unused_async)]
    pub async fn refresh(&self, _refresh_token: &str, _address: &str) -> Result<Tokens, Refused> {
        Err(Refused::Unavailable)
    }

    /// Ends the sign-in that a refresh token belongs to: no refresh, no access token and no live socket of it is good any
    /// more. One that is unknown is no error.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    #[expect(clippy::unused_async)]
    pub async fn sign_out(&self, _refresh_token: &str) -> Result<(), Refused> {
        Err(Refused::Unavailable)
    }

    /// A sign-in that did not come to pass, for the audit. `reason` is a stable word, not what somebody sent.
    #[expect(clippy::unused_async)]
    pub async fn sign_in_failed(&self, _reason: &'static str, _address: &str) {}

    /// The public keys of our access tokens, as a JWK Set (RFC 7517).
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    #[expect(clippy::unused_async)]
    pub async fn jwks(&self) -> Result<Value, Refused> {
        Ok(json!({"keys": []}))
    }

    /// Adds heard audio, milliseconds, to the usage of `subject` today (UTC).
    #[expect(clippy::unused_async)]
    pub async fn used(&self, _subject: &str, _audio_ms: u64) {}
}
