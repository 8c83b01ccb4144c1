//! What a token says, and what it must say (RFC 7519 §4.1, RFC 9068 §2.2).

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{LEEWAY, Verified};
use crate::{Principal, Refused, Scope, Scopes};

/// Times beyond this have no exact place in a JSON number (2^53).
const LATEST: f64 = 9_007_199_254_740_992.0;
/// Longest name within our own tokens, bytes.
const MAX_NAME: usize = 128;

/// Claims of our own access tokens.
#[derive(Debug, Clone, Serialize)]
pub struct AccessClaims<'a> {
    /// `PUBLIC_URL`, or `subtide`.
    pub iss: &'a str,
    /// [`super::AUDIENCE`].
    pub aud: &'a str,
    /// Whose it is.
    pub sub: &'a str,
    /// The sign-in that it descends from.
    pub sid: &'a str,
    /// Names this token.
    pub jti: &'a str,
    /// What it allows.
    pub scope: &'a Scopes,
    /// When it was minted, seconds since the Unix epoch.
    pub iat: u64,
    /// When it ends, likewise.
    pub exp: u64,
}

/// Claims of any token, as its signature covers them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Claims {
    pub(super) sub: Option<String>,
    pub(super) user_id: Option<String>,
    aud: Option<Audience>,
    sid: Option<String>,
    jti: Option<String>,
    scope: Option<String>,
    #[serde(default, deserialize_with = "numeric_date")]
    pub(super) iat: Option<u64>,
    #[serde(default, deserialize_with = "numeric_date")]
    pub(super) exp: Option<u64>,
    #[serde(default, deserialize_with = "numeric_date")]
    nbf: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Seconds since the Unix epoch, whole or not (RFC 7519 §2, `NumericDate`).
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    if let Some(whole) = number.as_u64() {
        return Ok(Some(whole));
    }
    let seconds = number.as_f64().filter(|seconds| (0.0..LATEST).contains(seconds));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just now")]
    seconds.map(|seconds| Some(seconds as u64)).ok_or_else(|| D::Error::custom("not a time"))
}

impl Claims {
    /// A token must end, may say when it begins, and was not minted in the future.
    pub(super) fn check_times(&self, now: u64) -> Result<(), Refused> {
        let leeway = LEEWAY.as_secs();
        let expires = self.exp.ok_or(Refused::Invalid("it has no expiry (claim exp)"))?;
        if expires.saturating_add(leeway) <= now {
            return Err(Refused::Expired);
        }
        if self.nbf.is_some_and(|from| from > now + leeway) {
            return Err(Refused::Invalid("it is not valid yet (claim nbf)"));
        }
        if self.iat.is_some_and(|at| at > now + leeway) {
            return Err(Refused::Invalid("it was minted in the future (claim iat)"));
        }
        Ok(())
    }

    pub(super) fn check_audience(&self, audience: &str) -> Result<(), Refused> {
        let ours = match &self.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Many(many)) => many.iter().any(|one| one == audience),
            None => false,
        };
        if ours { Ok(()) } else { Err(Refused::Invalid("it is not meant for this server (claim aud)")) }
    }

    /// The scopes it claims, so far as we know them and `most` has them; one that claims none may stream.
    pub(super) fn scopes_within(&self, most: &Scopes) -> Scopes {
        match &self.scope {
            None => Scopes::of([Scope::Stream]),
            Some(scope) => {
                let known = scope.split_whitespace().filter_map(|word| word.parse().ok());
                Scopes::of(known.filter(|scope| most.has(*scope)))
            }
        }
    }

    /// Of our own tokens every claim is there.
    pub(super) fn into_own(self) -> Result<Verified, Refused> {
        let name = |claim: Option<String>| claim.filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
        let missing = Refused::Invalid("a claim is missing (iat, sub, sid, jti or scope)");
        let (Some(subject), Some(family), Some(_)) = (name(self.sub), name(self.sid), name(self.jti)) else {
            return Err(missing);
        };
        let (Some(scope), Some(issued)) = (self.scope, self.iat) else { return Err(missing) };
        let scopes = scope.parse().map_err(|_| Refused::Invalid("it has a scope that is not known here"))?;
        let principal = Principal { subject, family: Some(family), scopes, expires: self.exp };
        Ok(Verified { principal, issued: Some(issued) })
    }
}
