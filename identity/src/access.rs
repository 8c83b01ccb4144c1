//! Access tokens, ours and those minted elsewhere.
//!
//! A token says itself what it wants to be checked with: `alg` and `kid` in its header, `iss` in its claims. These pick
//! which of our keys is tried, and nothing else: a key is good for one algorithm, and a token that names another, or brings
//! a key along, is refused. What it claims is looked at after its signature was found good, claim by claim: the library
//! lets a token pass that leaves `iss` or `aud` out.
//!
//! # Layout
//! - `token`: taking a token apart, the signature
//! - `claims`: what a token must say

mod claims;
#[doc(hidden)]
pub mod probe;
mod token;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::claims::AccessClaims;
use self::{claims::Claims, token::Token};
use crate::{Clock, Principal, Refused, Scope, Scopes, signing::SigningKeys};

/// An access token of a person is good for so long.
pub const ACCESS_TTL: Duration = Duration::from_secs(600);
/// None of our own access tokens is good for longer, such as one that an operator mints for a machine.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// Clocks may differ by so much.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// No token is longer, in bytes; what is longer is not looked at.
pub const MAX_TOKEN_BYTES: usize = 4096;
/// `aud` of our own access tokens.
pub const AUDIENCE: &str = "gateway";
/// What the subjects of tokens minted elsewhere begin with.
pub const EXTERNAL_PREFIX: &str = "ext:";
/// Characters of an external subject behind its prefix: 132 bits.
const EXTERNAL_NAME: usize = 22;
/// Stands for the issuer of tokens signed with `JWT_SECRET`, whatever they say.
const HS256_ISSUER: &str = "hs256";

/// The public keys of one issuer.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync {
    /// The key named `kid`, and the one algorithm that it is good for.
    ///
    /// # Errors
    /// [`Refused::Invalid`] when the issuer has none of this name; [`Refused::Unavailable`] when it cannot be asked.
    async fn key(&self, kid: &str) -> Result<(Algorithm, DecodingKey), Refused>;
}

/// Somebody else whose access tokens are welcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// `iss` of its tokens, letter by letter.
    pub issuer: String,
    /// What `aud` of its tokens must be or hold.
    pub audience: String,
    /// The most that its tokens can allow; one that claims no scope allows [`Scope::Stream`].
    #[serde(default = "default_external_scopes")]
    pub scopes: Scopes,
    /// Where its keys are; `None`: where its discovery document says.
    #[serde(default)]
    pub jwks_uri: Option<String>,
}

/// What tokens minted elsewhere can allow, unless the configuration says more.
pub(crate) fn default_external_scopes() -> Scopes {
    Scopes::of([Scope::Stream, Scope::Batch])
}

/// A trusted issuer and its keys.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Who.
    pub issuer: TrustedIssuer,
    /// Its keys.
    pub keys: Arc<dyn KeySource>,
}

/// What HS256 tokens are checked with.
#[derive(Debug, Clone)]
pub struct SharedSecret {
    /// `JWT_SECRET`.
    pub secret: SecretString,
    /// What `aud` must be or hold; `None`: anything, the secret being for us alone.
    pub audience: Option<String>,
}

/// A token that was found good, and when it was minted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) principal: Principal,
    /// Seconds since the Unix epoch; tokens minted elsewhere need not say.
    pub(crate) issued: Option<u64>,
}

/// Checks access tokens.
pub(crate) struct Access {
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) clock: Clock,
    /// `iss` of our own tokens.
    pub(crate) issuer: String,
    pub(crate) shared_secret: Option<(DecodingKey, Option<String>)>,
    pub(crate) trusted: Vec<Trust>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("issuer", &self.issuer).field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

impl SharedSecret {
    pub(crate) fn into_key(self) -> (DecodingKey, Option<String>) {
        (DecodingKey::from_secret(self.secret.expose_secret().as_bytes()), self.audience)
    }
}

impl Access {
    /// Whose token this is.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) async fn verify(&self, text: &str) -> Result<Verified, Refused> {
        let token = Token::parse(text)?;
        if token.algorithm == Algorithm::HS256 {
            return self.verify_shared(&token);
        }
        let issuer = token.unverified_issuer.as_deref().ok_or(Refused::Invalid("it does not say who minted it"))?;
        let kid = token.kid.as_deref().ok_or(Refused::Invalid("it does not name its key (header kid)"))?;
        if issuer == self.issuer {
            return self.verify_own(&token, kid).await;
        }
        let trust = self.trusted.iter().find(|trust| trust.issuer.issuer == issuer);
        let trust = trust.ok_or(Refused::Invalid("its issuer is not trusted here"))?;
        let (algorithm, key) = trust.keys.key(kid).await?;
        let claims = token.verified(algorithm, &key)?;
        claims.check_times(self.clock.now())?;
        claims.check_audience(&trust.issuer.audience)?;
        external(&trust.issuer.issuer, claims.sub.as_deref(), &claims, &trust.issuer.scopes)
    }

    async fn verify_own(&self, token: &Token<'_>, kid: &str) -> Result<Verified, Refused> {
        if !token.is_access_token() {
            return Err(Refused::Invalid("it is not an access token (header typ)"));
        }
        let key = self.keys.verifying(kid).await?;
        let claims = token.verified(Algorithm::EdDSA, &key)?;
        claims.check_times(self.clock.now())?;
        claims.check_audience(AUDIENCE)?;
        claims.into_own()
    }

    fn verify_shared(&self, token: &Token<'_>) -> Result<Verified, Refused> {
        let (key, audience) = self.shared_secret.as_ref().ok_or(Refused::Invalid("HS256 tokens are not taken here"))?;
        external_shared(token, (key, audience.as_deref()), self.clock.now())
    }
}

/// Somebody whom a token names that was signed with the shared secret, and for `audience` where there is one.
fn external_shared(
    token: &Token<'_>,
    (key, audience): (&DecodingKey, Option<&str>),
    now: u64,
) -> Result<Verified, Refused> {
    let claims = token.verified(Algorithm::HS256, key)?;
    claims.check_times(now)?;
    if let Some(audience) = audience {
        claims.check_audience(audience)?;
    }
    let subject = claims.sub.as_deref().or(claims.user_id.as_deref());
    external(HS256_ISSUER, subject, &claims, &default_external_scopes())
}

/// Somebody whom another issuer knows as `subject`. That may be an e-mail address, so it is hashed.
fn external(issuer: &str, subject: Option<&str>, claims: &Claims, most: &Scopes) -> Result<Verified, Refused> {
    let subject = subject.filter(|subject| !subject.is_empty() && subject.len() <= 256);
    let subject = subject.ok_or(Refused::Invalid("it names nobody (claim sub or user_id)"))?;
    let principal = Principal {
        subject: external_subject(issuer, subject),
        family: None,
        scopes: claims.scopes_within(most),
        expires: claims.exp,
    };
    Ok(Verified { principal, issued: claims.iat })
}

/// The name here of whom `issuer` knows as `subject`.
#[must_use]
pub fn external_subject(issuer: &str, subject: &str) -> String {
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{issuer}|{subject}").as_bytes()));
    format!("{EXTERNAL_PREFIX}{}", &hash[..EXTERNAL_NAME])
}
