//! Who got in, and why somebody did not.

use std::{
    collections::BTreeSet,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Open sessions.
    Stream,
    /// Send audio faster than it is spoken.
    Batch,
    /// The admin listener.
    Admin,
}

impl Scope {
    /// The scope as it is written in tokens and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Batch => "batch",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "stream" => Ok(Self::Stream),
            "batch" => Ok(Self::Batch),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("`{text}` is no scope; there are stream, batch and admin")),
        }
    }
}

/// A set of scopes; written with spaces between them, as in OAuth (RFC 6749 §3.3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// These.
    #[must_use]
    pub fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().collect())
    }

    /// Whether `scope` is among them.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&names.join(" "))
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

impl FromStr for Scopes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Scopes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Somebody who got in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Whose limits and usage count: the id of a person of ours, `key:ID` for an API key, an opaque name made of issuer and
    /// `sub` for tokens minted elsewhere, `local` without sign-in. At most 128 characters of `[A-Za-z0-9:_-]`, so that it may
    /// stand in a key on the bus, and never an e-mail address.
    pub subject: String,
    /// The sign-in that the token descends from (claim `sid`), which can be revoked as a whole; `None` for tokens minted
    /// elsewhere and without sign-in.
    pub family: Option<String>,
    /// What is allowed.
    pub scopes: Scopes,
    /// When the token ends, seconds since the Unix epoch; `None`: never.
    pub expires: Option<u64>,
}

impl Principal {
    /// The one person there is without sign-in.
    #[must_use]
    pub fn local() -> Self {
        let scopes = Scopes::of([Scope::Stream, Scope::Batch]);
        Self { subject: "local".to_owned(), family: None, scopes, expires: None }
    }

    /// How long the token is still good; `None`: for ever.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.expires.map(|at| Duration::from_secs(at).saturating_sub(now()))
    }

    /// How long ago the token ended; zero while it is good.
    #[must_use]
    pub fn expired_for(&self) -> Duration {
        self.expires.map(|at| now().saturating_sub(Duration::from_secs(at))).unwrap_or_default()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Why a credential was refused. Each message is fit for the person who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was shown.
    #[error("a credential is needed: send `Authorization: Bearer TOKEN` with the request")]
    Missing,
    /// A header that is not `Bearer`.
    #[error("the Authorization header is not of the form `Bearer TOKEN`")]
    Malformed,
    /// The token ended.
    #[error("the token has expired; get a new one and try again")]
    Expired,
    /// It was taken back.
    #[error("this sign-in was ended; sign in again")]
    Revoked,
    /// Not one of ours.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// Known, and not allowed to do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It cannot be decided now, because the database, the bus or the issuer is away; nobody gets in meanwhile.
    #[error("sign-in cannot be checked at present; try again in a moment")]
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_with_spaces_and_read_back() {
        let scopes: Scopes = "admin stream".parse().unwrap();
        assert!(scopes.has(Scope::Admin) && scopes.has(Scope::Stream) && !scopes.has(Scope::Batch));
        assert_eq!(scopes.to_string(), "stream admin");
        assert!("stream root".parse::<Scopes>().is_err_and(|e| e.contains("root")));
    }
}
