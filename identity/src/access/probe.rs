//! For the fuzz targets alone (`tests/src/fuzzing`): tokens as they are taken apart, and as they are checked.

use jsonwebtoken::DecodingKey;

use super::{Refused, external_shared, token::Token};
use crate::Principal;

/// What a token says of itself, nothing verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// Its algorithm.
    pub algorithm: String,
    /// Its key.
    pub kid: Option<String>,
    /// Who minted it.
    pub issuer: Option<String>,
    /// Whether it says that it is an access token.
    pub is_access_token: bool,
}

/// Takes a token apart.
///
/// # Errors
/// As [`Refused`].
pub fn parse(text: &str) -> Result<Unverified, Refused> {
    let token = Token::parse(text)?;
    Ok(Unverified {
        algorithm: format!("{:?}", token.algorithm),
        is_access_token: token.is_access_token(),
        kid: token.kid,
        issuer: token.unverified_issuer,
    })
}

/// Whose token this is, at `now` (seconds since the Unix epoch), if it was signed with `secret`.
///
/// # Errors
/// As [`Refused`].
pub fn verify_shared(text: &str, secret: &[u8], audience: Option<&str>, now: u64) -> Result<Principal, Refused> {
    let verified = external_shared(&Token::parse(text)?, (&DecodingKey::from_secret(secret), audience), now)?;
    Ok(verified.principal)
}
