//! Where a provider's endpoints are (OpenID Connect Discovery 1.0 §4).

use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::{
    OidcError,
    cache::{Away, Cached, Fetched},
    outbound::{Outbound, OutboundError, trustworthy},
};
use crate::Clock;

/// What of the discovery document we use. An issuer of access tokens alone has no endpoints for people.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Document {
    /// Must be, byte for byte, the issuer that was asked.
    pub issuer: String,
    /// The keys that tokens are signed with.
    pub jwks_uri: Url,
    /// Where the person's browser goes.
    #[serde(default)]
    pub authorization_endpoint: Option<Url>,
    /// Where a code becomes an ID token.
    #[serde(default)]
    pub token_endpoint: Option<Url>,
    /// How a client may prove itself; by default, `client_secret_basic`.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// PKCE methods, where the provider tells.
    #[serde(default)]
    pub code_challenge_methods_supported: Option<Vec<String>>,
}

/// The discovery document of one issuer, cached.
#[derive(Debug)]
pub struct Discovery {
    issuer: String,
    well_known: Url,
    outbound: Outbound,
    document: Cached<Document>,
}

impl Discovery {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// When `issuer` is no URL, or neither `https` nor loopback.
    pub fn new(issuer: &str, clock: Clock) -> Result<Self, OidcError> {
        let base = trustworthy(issuer)?;
        let well_known = trustworthy(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
        let outbound = Outbound::new(&base, clock.clone())?;
        Ok(Self { issuer: issuer.to_owned(), well_known, outbound, document: Cached::new(clock) })
    }

    /// The issuer as it was configured.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How often the document was asked for.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.document.fetches()
    }

    pub(super) fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The document.
    pub(super) async fn document(&self) -> Result<Arc<Document>, Away> {
        self.document.get(async || self.fetch().await.inspect_err(|error| self.complain(error))).await
    }

    async fn fetch(&self) -> Result<Fetched<Document>, OutboundError> {
        let fetched: Fetched<Document> = self.outbound.json(&self.well_known).await?;
        self.check(&fetched.value).map(|()| fetched)
    }

    fn check(&self, document: &Document) -> Result<(), OutboundError> {
        self.check_issuer(&document.issuer)?;
        let endpoints =
            [Some(&document.jwks_uri), document.authorization_endpoint.as_ref(), document.token_endpoint.as_ref()];
        if !endpoints.into_iter().flatten().all(|endpoint| self.outbound.may_ask(endpoint)) {
            return Err(OutboundError::Content("an endpoint in it is neither https nor loopback".to_owned()));
        }
        match &document.code_challenge_methods_supported {
            Some(methods) if !methods.iter().any(|method| method == "S256") => {
                Err(OutboundError::Content("it does not know the PKCE method S256".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn check_issuer(&self, found: &str) -> Result<(), OutboundError> {
        if found == self.issuer {
            return Ok(());
        }
        // Escaped and cut: somebody else wrote it.
        let found: String = found.escape_debug().take(200).collect();
        Err(OutboundError::Content(format!("it says that its issuer is `{found}`; the setting must be exactly that")))
    }

    fn complain(&self, error: &OutboundError) {
        tracing::warn!(issuer = self.issuer, "the discovery document of the issuer cannot be used: {error}");
    }
}
