//! A sign-in from its beginning to its end: the authorization code flow with PKCE (RFC 6749 §4.1, RFC 7636), `state` and
//! `nonce`. For native programs as RFC 8252 wants it: the system's browser, a loopback port, an exchange by us.

use std::{net::Ipv6Addr, sync::Arc};

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    ExtraTokenFields, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    StandardErrorResponse, StandardRevocableToken, StandardTokenResponse, TokenUrl,
    basic::{
        BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{bus::Bus, config::ExposeSecret as _};
use url::Url;

use super::{
    Failed, GOOGLE, KeySet, OidcClient, OidcConfig, OidcError,
    discovery::{Discovery, Document},
    id_token::{self, Expected},
    logins::{self, Asker, Logins, Pending},
    outbound::OutboundError,
};
use crate::{Clock, ProviderIdentity};

/// Longest code that is passed on, bytes; those of Microsoft have about 1500.
const MAX_CODE_BYTES: usize = 4096;
/// Length of what we make ourselves: 256 bits in base64url.
const RANDOM_CHARS: usize = 43;
/// RFC 7636 §4.1.
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;
/// What a program may call itself.
const MAX_DEVICE_CHARS: usize = 64;

/// The provider of sign-ins.
#[derive(Debug)]
pub struct Provider {
    config: OidcConfig,
    discovery: Arc<Discovery>,
    keys: KeySet,
    logins: Logins,
    clock: Clock,
}

/// A native program that wants somebody to sign in.
#[derive(Debug, Clone)]
pub struct Native {
    /// Its PKCE challenge, `S256`.
    pub challenge: String,
    /// The loopback port it listens at.
    pub port: u16,
    /// Whether it listens at `[::1]` rather than at `127.0.0.1`.
    pub ipv6: bool,
    /// What it calls itself, for the person's list of sign-ins.
    pub device: String,
}

/// A sign-in that was begun.
#[derive(Clone, Serialize)]
pub struct Started {
    /// Names it; a secret of whoever began it.
    pub login_id: String,
    /// Where the person's browser goes.
    pub authorize_url: String,
    /// Seconds that the person may take.
    pub expires_in: u64,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// What a native program brings back.
#[derive(Clone)]
pub struct Answer {
    /// As it was given at the start.
    pub login_id: String,
    /// As it came back with the person's browser.
    pub state: String,
    /// Likewise.
    pub code: String,
    /// What the challenge was made of; empty for browsers, whose verifier is our own.
    pub code_verifier: String,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// Somebody whom the provider vouches for and who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who it is.
    pub who: ProviderIdentity,
    /// What the program calls itself; `browser` for a browser.
    pub device: String,
    /// Where in the page a browser goes next.
    pub return_to: String,
}

/// What we want of a token answer. The provider's own tokens are in it as well, and dropped with it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct IdToken {
    id_token: Option<String>,
}

impl std::fmt::Debug for IdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdToken").finish_non_exhaustive()
    }
}

impl ExtraTokenFields for IdToken {}

/// The `oauth2` crate's client, with the two endpoints that are used.
type OAuth = Client<
    BasicErrorResponse,
    StandardTokenResponse<IdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Provider {
    /// Asks nobody yet: a provider that is away keeps the server from nothing but sign-ins.
    ///
    /// # Errors
    /// When the issuer is no URL, or neither `https` nor loopback.
    pub fn new(config: OidcConfig, bus: Arc<dyn Bus>, clock: Clock) -> Result<Self, OidcError> {
        let discovery = Arc::new(Discovery::new(&config.issuer, clock.clone())?);
        let keys = KeySet::discovered(Arc::clone(&discovery), clock.clone());
        Ok(Self { config, discovery, keys, logins: Logins::new(bus, clock.clone()), clock })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &OidcConfig {
        &self.config
    }

    /// What people call the provider: `Google`, or the host of the issuer.
    #[must_use]
    pub fn name(&self) -> String {
        if self.config.issuer == GOOGLE {
            return "Google".to_owned();
        }
        let url = Url::parse(&self.config.issuer).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The provider's keys.
    #[must_use]
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Begins the sign-in of a native program's person. The redirect is made here and leads to a loopback address: whatever
    /// is sent to us, a code of another client's cannot be exchanged with it.
    ///
    /// # Errors
    /// [`Failed::Request`] for a port or a challenge that cannot be one; [`Failed::Away`]; [`Failed::Setup`].
    pub async fn start_native(&self, native: Native) -> Result<Started, Failed> {
        let Native { challenge, port, ipv6, device } = native;
        let base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if challenge.len() != RANDOM_CHARS || !challenge.chars().all(base64url) {
            return Err(Failed::Request(
                "`code_challenge` must be base64url of a SHA-256: 43 characters (RFC 7636, S256)",
            ));
        }
        if port == 0 {
            return Err(Failed::Request("`port` must be the loopback port that the program listens at"));
        }
        if device.chars().count() > MAX_DEVICE_CHARS || device.chars().any(char::is_control) {
            return Err(Failed::Request("`device` may have 64 characters, and no control characters"));
        }
        let host = if ipv6 { format!("[{}]", Ipv6Addr::LOCALHOST) } else { "127.0.0.1".to_owned() };
        let redirect_uri = format!("http://{host}:{port}/callback");
        let asker = Asker::Native { challenge: challenge.clone(), device };
        self.start(logins::random(), asker, redirect_uri, challenge).await
    }

    /// Begins the sign-in of a browser's person, who goes to `return_to` afterwards: a path of our own page, which the
    /// caller has looked at. The login id belongs into a cookie.
    ///
    /// # Errors
    /// [`Failed::Away`], [`Failed::Setup`].
    pub async fn start_browser(&self, return_to: String) -> Result<Started, Failed> {
        let login_id = logins::random();
        let challenge = logins::challenge_of(&logins::verifier_of(&login_id));
        self.start(login_id, Asker::Browser { return_to }, self.config.callback(), challenge).await
    }

    async fn start(
        &self,
        login_id: String,
        asker: Asker,
        redirect_uri: String,
        challenge: String,
    ) -> Result<Started, Failed> {
        let document = self.discovery.document().await.map_err(|_| Failed::Away)?;
        let oauth = self.oauth(&document, &asker, &redirect_uri)?;
        let (state, nonce) = (logins::random(), logins::random());
        let method = json!({"code_challenge": challenge, "code_challenge_method": "S256"});
        let challenge: PkceCodeChallenge = serde_json::from_value(method).map_err(|_| Failed::Setup)?;
        let (url, _) = oauth
            .authorize_url(|| CsrfToken::new(state.clone()))
            .add_scopes(["openid", "email", "profile"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(challenge)
            .add_extra_param("nonce", nonce.as_str())
            .url();
        let (state_hash, nonce_hash) = (logins::hash(&state), logins::hash(&nonce));
        let login = Pending { state_hash, nonce_hash, redirect_uri, asker, expires: self.logins.expiry() };
        self.logins.put(&login_id, &login).await?;
        Ok(Started { login_id, authorize_url: url.into(), expires_in: logins::TTL.as_secs() })
    }

    /// Ends the sign-in of a native program's person.
    ///
    /// # Errors
    /// See [`Failed`]. Whatever it is, this sign-in is over.
    pub async fn finish_native(&self, answer: Answer) -> Result<SignedIn, Failed> {
        let login = self.take(&answer).await?;
        let Asker::Native { challenge, device } = &login.asker else { return Err(Failed::Unknown) };
        if !VERIFIER_CHARS.contains(&answer.code_verifier.len())
            || logins::challenge_of(&answer.code_verifier) != *challenge
        {
            return Err(Failed::Verifier);
        }
        let device = if device.is_empty() { "program".to_owned() } else { device.clone() };
        let who = self.exchange(&login, answer.code, answer.code_verifier).await?;
        Ok(SignedIn { who, device, return_to: String::new() })
    }

    /// Ends the sign-in of a browser's person; `login_id` is what its cookie holds.
    ///
    /// # Errors
    /// See [`Failed`]. Whatever it is, this sign-in is over.
    pub async fn finish_browser(&self, answer: Answer) -> Result<SignedIn, Failed> {
        let login = self.take(&answer).await?;
        let Asker::Browser { return_to } = &login.asker else { return Err(Failed::Unknown) };
        let return_to = return_to.clone();
        let who = self.exchange(&login, answer.code, logins::verifier_of(&answer.login_id)).await?;
        Ok(SignedIn { who, device: "browser".to_owned(), return_to })
    }

    /// Whether `issuer`, which some providers put beside the code (RFC 9207), is ours.
    #[must_use]
    pub fn is_issuer(&self, issuer: &str) -> bool {
        issuer == self.config.issuer
    }

    async fn take(&self, answer: &Answer) -> Result<Pending, Failed> {
        if answer.login_id.len() != RANDOM_CHARS {
            return Err(Failed::Unknown);
        }
        if answer.code.is_empty() || answer.code.len() > MAX_CODE_BYTES {
            return Err(Failed::Code);
        }
        let login = self.logins.take(&answer.login_id).await?;
        login.check_state(&answer.state).map(|()| login)
    }

    /// A code becomes a person.
    async fn exchange(&self, login: &Pending, code: String, verifier: String) -> Result<ProviderIdentity, Failed> {
        let document = self.discovery.document().await.map_err(|_| Failed::Away)?;
        let oauth = self.oauth(&document, &login.asker, &login.redirect_uri)?;
        let request = oauth.exchange_code(AuthorizationCode::new(code));
        let answer =
            request.set_pkce_verifier(PkceCodeVerifier::new(verifier)).request_async(self.discovery.outbound()).await;
        let answer = answer.map_err(|error| self.refused(&error))?;
        let token = answer.extra_fields().id_token.as_deref().ok_or(Failed::Token("id_token_missing"))?;
        let client_id = &self.client(&login.asker).id;
        let expected = Expected { issuer: &self.config.issuer, client_id, nonce_hash: &login.nonce_hash };
        let verified = id_token::verify(token, &self.keys, expected, &self.clock).await?;
        self.config.guests.admit(&verified)?;
        Ok(verified.who)
    }

    /// What a failed exchange means. The provider's answer is never logged: there may be tokens in it.
    fn refused(
        &self,
        error: &RequestTokenError<OutboundError, StandardErrorResponse<BasicErrorResponseType>>,
    ) -> Failed {
        let issuer = &self.config.issuer;
        match error {
            RequestTokenError::ServerResponse(answer) => match answer.error() {
                BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                    tracing::error!(issuer, "the provider refuses our client id or secret; look at OIDC_CLIENT_ID");
                    Failed::Setup
                }
                BasicErrorResponseType::Extension(_) => Failed::Away,
                _ => Failed::Code,
            },
            RequestTokenError::Request(error) => {
                tracing::warn!(issuer, "a code cannot be exchanged at the provider: {error}");
                Failed::Away
            }
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                tracing::warn!(issuer, "the provider's answer to a code is no token answer");
                Failed::Away
            }
        }
    }

    fn client(&self, asker: &Asker) -> &OidcClient {
        match asker {
            Asker::Native { .. } => &self.config.native,
            Asker::Browser { .. } => &self.config.client,
        }
    }

    fn oauth(&self, document: &Document, asker: &Asker, redirect_uri: &str) -> Result<OAuth, Failed> {
        let (Some(authorize), Some(token)) = (&document.authorization_endpoint, &document.token_endpoint) else {
            tracing::error!(issuer = self.config.issuer, "the issuer has no endpoints for signing in");
            return Err(Failed::Setup);
        };
        let OidcClient { id, secret } = self.client(asker);
        let methods = document.token_endpoint_auth_methods_supported.as_deref();
        let knows = |method: &str| methods.is_some_and(|methods| methods.iter().any(|known| known == method));
        // RFC 8414 §2: where the provider does not tell, it is `client_secret_basic`.
        let in_body = knows("client_secret_post") && !knows("client_secret_basic");
        let mut client = Client::new(ClientId::new(id.clone()));
        if let Some(secret) = secret {
            client = client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()));
        }
        Ok(client
            .set_auth_type(if in_body { AuthType::RequestBody } else { AuthType::BasicAuth })
            .set_auth_uri(AuthUrl::from_url(authorize.clone()))
            .set_token_uri(TokenUrl::from_url(token.clone()))
            .set_redirect_uri(RedirectUrl::new(redirect_uri.to_owned()).map_err(|_| Failed::Setup)?))
    }
}
