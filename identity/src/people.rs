//! The one door to everything here: what the gateway and the admin commands ask.
//!
//! # Layout
//! - [`People`]: tokens, keys, sign-ins
//! - `administration`: what operators ask
//! - `ledger`: usage, audit, transcripts, and forgetting

mod administration;
mod ledger;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;
use shared::bus::Bus;
use tokio::time::timeout;
use uuid::Uuid;

pub use self::administration::{MintError, MintRequest, SignInInfo};
use self::ledger::Unwritten;
use crate::{
    Clock, Principal, Refused, Scope, Scopes,
    access::{ACCESS_TTL, AUDIENCE, Access, AccessClaims, Trust, Verified},
    api_keys::{API_KEY_PREFIX, ApiKeys},
    config::{AuthSecretError, IdentityConfig},
    database::{Database, DatabaseError, PersonRow},
    revocation::Revocations,
    secrets::Secrets,
    sign_ins::{SignIn, SignIns, Stopped},
    signing::SigningKeys,
};

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

impl From<PersonRow> for Person {
    fn from(row: PersonRow) -> Self {
        Self { id: row.id, email: row.email, name: row.name }
    }
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

/// Why nobody can be known.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The secret beside it.
    #[error(transparent)]
    AuthSecret(#[from] AuthSecretError),
    /// Something that was logged where it happened.
    #[error("sign-in cannot be opened: {0}")]
    Refused(#[from] Refused),
}

/// People, their tokens and everything that can be revoked. Clones share it.
#[derive(Debug, Clone)]
pub struct People {
    pub(crate) inner: Arc<Inner>,
    /// Of the request that is served, for the audit.
    request: Option<Arc<str>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) database: Database,
    clock: Clock,
    secrets: Arc<Secrets>,
    pub(crate) keys: Arc<SigningKeys>,
    access: Access,
    sign_ins: SignIns,
    api_keys: ApiKeys,
    revocations: Revocations,
    issuer: String,
    audit_retention: u64,
    transcript_retention: Option<u64>,
    pub(crate) unwritten: Mutex<Unwritten>,
}

impl People {
    /// Opens the database, makes the first signing key where there is none, and begins to listen for revocations on `bus`.
    /// `trusted` are the issuers of the configuration with their keys.
    ///
    /// # Errors
    /// When the database or the secret beside it cannot be used.
    pub async fn open(
        config: &IdentityConfig,
        trusted: Vec<Trust>,
        bus: Arc<dyn Bus>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let database = Database::open(config.database_url.expose_secret()).await?;
        let secrets = Arc::new(Secrets::derive(config.auth_secret()?.expose_secret().as_bytes())?);
        let keys = Arc::new(SigningKeys::open(database.clone(), secrets.clone(), clock.clone()).await?);
        let inner = Arc::new(Inner {
            access: Access {
                keys: keys.clone(),
                clock: clock.clone(),
                issuer: config.issuer.clone(),
                shared_secret: config.shared_secret.clone().map(crate::access::SharedSecret::into_key),
                trusted,
            },
            sign_ins: SignIns::new(database.clone(), secrets.clone(), clock.clone()),
            api_keys: ApiKeys::new(database.clone(), clock.clone()),
            revocations: Revocations::start(bus, database.clone(), clock.clone()).await?,
            issuer: config.issuer.clone(),
            audit_retention: config.audit_retention.as_secs(),
            transcript_retention: config.transcript_retention.map(|kept| kept.as_secs()),
            unwritten: Mutex::default(),
            database,
            clock,
            secrets,
            keys,
        });
        tokio::spawn(ledger::forget_hourly(Arc::downgrade(&inner)));
        Ok(Self { inner, request: None })
    }

    /// The same people, for one request: its id stands in what is written to the audit meanwhile.
    #[must_use]
    pub fn for_request(&self, id: &str) -> Self {
        Self { inner: self.inner.clone(), request: Some(id.into()) }
    }

    /// What is revoked.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.inner.revocations
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Refused::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), Refused> {
        Ok(self.inner.database.ping().await?)
    }

    /// Whose credential this is: an access token of ours, one minted elsewhere, or an API key. What was revoked is refused.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn verify(&self, bearer: &str) -> Result<Principal, Refused> {
        if bearer.starts_with(API_KEY_PREFIX) {
            // What was revoked for a key ends its live sessions; whether the key itself is good, its row says.
            let verified = timeout(PATIENCE, self.inner.api_keys.verify(bearer)).await;
            return verified.unwrap_or(Err(Refused::Unavailable));
        }
        let Verified { principal, issued } = self.inner.access.verify(bearer).await?;
        if self.inner.revocations.is_revoked_since(&principal, issued).await? {
            return Err(Refused::Revoked);
        }
        Ok(principal)
    }

    /// Lets somebody in whom the provider vouches for: makes or finds the person, begins a family of refresh tokens, writes
    /// the audit. `device` is what the person calls the client; `address` is where it came from.
    ///
    /// # Errors
    /// [`Refused::Forbidden`] for somebody who was disabled; [`Refused::Unavailable`].
    pub async fn sign_in(&self, who: &ProviderIdentity, device: &str, address: &str) -> Result<Tokens, Refused> {
        let address = self.inner.secrets.address(address);
        let now = self.inner.clock.now();
        let person = self.inner.database.meet(who, &Uuid::new_v4().to_string(), now).await?;
        if person.disabled {
            self.audit("sign_in", "disabled", Some(&person.id), Some(&address)).await;
            return Err(DISABLED);
        }
        let sign_in = self.inner.sign_ins.begin(&person.id, device, &address).await?;
        // Whoever was disabled meanwhile had no family yet that could be revoked.
        if self.inner.database.person(&person.id).await?.is_none_or(|person| person.disabled) {
            self.inner.database.revoke_family(&sign_in.family.id, "disabled", now).await?;
            return Err(DISABLED);
        }
        let tokens = self.tokens(person, sign_in).await?;
        self.audit("sign_in", "ok", Some(&tokens.person.id), Some(&address)).await;
        Ok(tokens)
    }

    /// The next tokens for a refresh token, which is used up by it.
    ///
    /// # Errors
    /// [`Refused::Invalid`], [`Refused::Expired`], or [`Refused::Revoked`] when it was used before: then its whole family is
    /// revoked.
    pub async fn refresh(&self, refresh_token: &str, address: &str) -> Result<Tokens, Refused> {
        let sign_in = match self.inner.sign_ins.refresh(refresh_token).await {
            Ok(sign_in) => sign_in,
            Err(stopped) => return Err(self.refresh_stopped(stopped, address).await),
        };
        let person = self.inner.database.person(&sign_in.family.person).await?.ok_or(Refused::Revoked)?;
        if person.disabled {
            return Err(DISABLED);
        }
        self.tokens(person, sign_in).await
    }

    /// Ends the sign-in that a refresh token belongs to: no refresh, no access token and no live socket of it is good any
    /// more. One that is unknown is no error.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn sign_out(&self, refresh_token: &str) -> Result<(), Refused> {
        let Some(family) = self.inner.sign_ins.end(refresh_token, "sign_out").await? else { return Ok(()) };
        self.audit("sign_out", "ok", Some(&family.person), None).await;
        self.inner.revocations.revoke_family(&family.id).await
    }

    /// A sign-in that did not come to pass, for the audit. `reason` is a stable word, not what somebody sent.
    pub async fn sign_in_failed(&self, reason: &'static str, address: &str) {
        let address = self.inner.secrets.address(address);
        self.audit("sign_in", reason, None, Some(&address)).await;
    }

    /// The public keys of our access tokens, as a JWK Set (RFC 7517).
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn jwks(&self) -> Result<Value, Refused> {
        self.inner.keys.jwks().await
    }

    /// The person with this id; `None` for the subjects of machines and of other issuers.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn person(&self, subject: &str) -> Result<Option<Person>, Refused> {
        Ok(self.inner.database.person(subject).await?.map(Person::from))
    }

    async fn refresh_stopped(&self, stopped: Stopped, address: &str) -> Refused {
        let address = self.inner.secrets.address(address);
        match stopped {
            Stopped::Reused(family) => {
                tracing::warn!(family = family.id, "a refresh token was used twice; its sign-in is revoked");
                self.audit("refresh", "reused", Some(&family.person), Some(&address)).await;
                if let Err(error) = self.inner.revocations.revoke_family(&family.id).await {
                    tracing::warn!(%error, "other gateways hear of it when the bus is back");
                }
                Refused::Revoked
            }
            Stopped::Refused(why) => {
                let outcome = match why {
                    Refused::Unavailable => return why,
                    Refused::Expired => "expired",
                    Refused::Revoked => "revoked",
                    _ => "unknown",
                };
                self.audit("refresh", outcome, None, Some(&address)).await;
                why
            }
        }
    }

    async fn tokens(&self, person: PersonRow, sign_in: SignIn) -> Result<Tokens, Refused> {
        let scopes = Scopes::of([Scope::Stream]);
        let access_token = self.access_token(&person.id, &sign_in.family.id, &scopes, ACCESS_TTL.as_secs()).await?;
        Ok(Tokens {
            access_token,
            token_type: "Bearer",
            expires_in: ACCESS_TTL.as_secs(),
            refresh_token: sign_in.refresh_token,
            scope: scopes.to_string(),
            person: person.into(),
        })
    }

    async fn access_token(&self, sub: &str, sid: &str, scope: &Scopes, life: u64) -> Result<String, Refused> {
        let (iat, jti) = (self.inner.clock.now(), Uuid::new_v4().to_string());
        let iss = &self.inner.issuer;
        self.inner
            .keys
            .sign(&AccessClaims { iss, aud: AUDIENCE, sub, sid, jti: &jti, scope, iat, exp: iat + life })
            .await
    }
}

/// Nobody waits at the door for longer for a database that does not answer.
const PATIENCE: Duration = Duration::from_secs(3);
const DISABLED: Refused = Refused::Forbidden("this account was disabled; ask the operator");
