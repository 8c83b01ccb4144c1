//! Who people are. The gateway asks; nothing here knows sockets, audio or HTTP routes.
//!
//! # Layout
//! - [`principal`]: who got in, and why somebody did not
//! - [`people`]: the one door to the rest
//! - [`clock`]: what time it is
//! - [`database`]: people, sign-ins, keys, usage and audit, in SQLite or PostgreSQL
//! - [`signing`]: the Ed25519 keys of our own tokens
//! - [`access`]: access tokens, ours and those minted elsewhere
//! - [`sign_ins`]: families of refresh tokens: rotation, reuse, revocation
//! - [`api_keys`]: credentials of machines
//! - [`revocation`]: what reaches every gateway's live sockets
//! - [`config`]: every key that is read; `secrets`: what is made of `AUTH_SECRET`, and of chance
//! - [`oidc`]: sign-in at an OpenID Connect provider
//!
//! Absent on purpose: passwords. Somebody else keeps those.

pub mod access;
pub mod api_keys;
pub mod clock;
pub mod config;
pub mod database;
pub mod oidc;
pub mod people;
pub mod principal;
pub mod revocation;
mod secrets;
pub mod sign_ins;
pub mod signing;

pub use clock::Clock;
pub use config::IdentityConfig;
pub use oidc::{KeySet, OidcConfig, Provider};
pub use people::{People, Person, ProviderIdentity, Tokens};
pub use principal::{Principal, Refused, Scope, Scopes};

#[cfg(test)]
mod tests;
