//! Sign-in at an OpenID Connect provider: any that speaks discovery, the code flow with PKCE, and signed ID tokens.
//!
//! # Layout, in the order of a sign-in
//! - [`config`]: issuer, client, who may come in
//! - [`provider`]: begins a sign-in and ends it
//! - [`logins`]: sign-ins that were begun, on the bus, each good once
//! - [`discovery`]: where the provider's endpoints are
//! - [`jwks`]: the provider's keys; also those of issuers whose access tokens are trusted
//! - [`id_token`]: who it was, as the provider says
//! - [`guests`]: whether that person may come in
//! - `outbound`, `breaker`, `cache`: requests to the provider, bounded in time, size and number
//!
//! Absent on purpose: the provider's access and refresh tokens. They are dropped with the answer that brought them.

mod breaker;
mod cache;
pub mod config;
pub mod discovery;
pub mod guests;
pub mod id_token;
pub mod jwks;
pub mod logins;
mod outbound;
pub mod provider;

pub use config::{OidcClient, OidcConfig};
pub use guests::GuestList;
pub use jwks::KeySet;
pub use provider::Provider;

/// Google, as it names itself in discovery.
pub const GOOGLE: &str = "https://accounts.google.com";

/// An issuer, a key set or a client that cannot be used as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// Not an address.
    #[error("`{url}` is no URL: {reason}")]
    Url {
        /// What was written.
        url: String,
        /// Why.
        reason: String,
    },
    /// Anybody on the way could answer in its place.
    #[error("`{0}` must begin with https:// (http:// is for loopback addresses only)")]
    Insecure(String),
    /// The HTTP client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Why a sign-in did not come to pass. Each message is fit for the person who signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The request makes no sense.
    #[error("{0}")]
    Request(&'static str),
    /// Never begun here, begun in another browser, finished before, or too old.
    #[error("this sign-in was not begun here, is finished already, or took longer than five minutes; begin again")]
    Unknown,
    /// `state` is not the one that was given out.
    #[error("the answer does not belong to this sign-in; begin again")]
    State,
    /// The PKCE verifier does not fit the challenge.
    #[error("the code verifier does not fit the challenge that this sign-in began with; begin again")]
    Verifier,
    /// The person said no, or the provider did.
    #[error("the provider ended the sign-in without letting you in; begin again, or ask whoever runs this server")]
    Declined,
    /// The provider did not take the code.
    #[error("the provider did not accept the code; it is good once and for a short time: begin again")]
    Code,
    /// The ID token does not hold; the word says which check.
    #[error("the provider's answer could not be verified; begin again")]
    Token(&'static str),
    /// A rule about e-mail addresses, and none that is verified.
    #[error("the provider has not verified the e-mail address of this account; verify it there, then sign in again")]
    Unverified,
    /// Not on the list.
    #[error("this account may not sign in here; use another account, or ask whoever runs this server to let it in")]
    NotInvited,
    /// The provider does not know our client id or secret.
    #[error("sign-in is not set up correctly on this server; tell whoever runs it")]
    Setup,
    /// The provider or the bus does not answer.
    #[error("sign-in is not possible at present; try again in a moment")]
    Away,
}

impl Failed {
    /// The same as a stable word, for the audit and for metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Request(_) => "bad_request",
            Self::Unknown => "unknown_login",
            Self::State => "wrong_state",
            Self::Verifier => "wrong_verifier",
            Self::Declined => "declined",
            Self::Code => "code_refused",
            Self::Token(check) => check,
            Self::Unverified => "email_not_verified",
            Self::NotInvited => "not_invited",
            Self::Setup => "client_refused",
            Self::Away => "provider_away",
        }
    }
}
