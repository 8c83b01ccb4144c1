//! Who is at the door: decided before the WebSocket handshake is answered.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::Deserialize;
use shared::config::ExposeSecret;

use crate::config::AuthMode;

/// Clocks may differ by this much.
const LEEWAY: Duration = Duration::from_secs(30);

/// Somebody who got in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub` (or `user_id`); `local` without sign-in.
    pub subject: String,
    /// When the token ends, seconds since the Unix epoch; `None` without sign-in.
    pub expires: Option<u64>,
}

impl Identity {
    /// How long the token is still good; `None`: for ever.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expires.map(|at| Duration::from_secs(at).saturating_sub(now))
    }

    /// How long ago the token ended; zero while it is good.
    #[must_use]
    pub fn expired_for(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expires.map(|at| now.saturating_sub(Duration::from_secs(at))).unwrap_or_default()
    }
}

/// Why somebody did not get in. Each message is fit for the person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization` header.
    #[error("a bearer token is needed: send `Authorization: Bearer TOKEN` with the WebSocket handshake")]
    Missing,
    /// A header that is not `Bearer`.
    #[error("the Authorization header is not of the form `Bearer TOKEN`")]
    Malformed,
    /// The token ended.
    #[error("the token has expired; get a new one and connect again")]
    Expired,
    /// The token is not one of ours.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// A page of somebody else's.
    #[error("pages of this origin may not connect; the operator can add it to ALLOWED_ORIGINS")]
    Origin,
    /// A request for a name that is not this machine's, while nobody is asked to sign in.
    #[error("without sign-in only requests for localhost, 127.0.0.1 or [::1] are answered")]
    Host,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    user_id: Option<String>,
    exp: u64,
}

/// Checks tokens and origins.
pub struct Authenticator {
    key: Option<(DecodingKey, Validation)>,
    allowed_origins: Vec<String>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").field("sign_in", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// One for this mode.
    #[must_use]
    pub fn new(mode: &AuthMode, allowed_origins: Vec<String>) -> Self {
        let key = match mode {
            AuthMode::Off => None,
            AuthMode::Hs256(secret) => {
                let mut validation = Validation::new(Algorithm::HS256);
                validation.set_required_spec_claims(&["exp"]);
                validation.leeway = LEEWAY.as_secs();
                validation.validate_nbf = true;
                validation.validate_aud = false;
                Some((DecodingKey::from_secret(secret.expose_secret().as_bytes()), validation))
            }
        };
        Self { key, allowed_origins }
    }

    /// Lets a handshake in or says why not.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub fn admit(&self, headers: &HeaderMap) -> Result<Identity, AuthError> {
        self.check_origin(headers)?;
        if self.key.is_none() {
            return Ok(Identity { subject: "local".to_owned(), expires: None });
        }
        let header = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing)?;
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(AuthError::Malformed)?;
        self.verify(token)
    }

    /// Checks one token.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let Some((key, validation)) = &self.key else {
            return Ok(Identity { subject: "local".to_owned(), expires: None });
        };
        let claims = jsonwebtoken::decode::<Claims>(token, key, validation).map_err(|e| refusal(e.kind()))?.claims;
        let subject = claims.sub.or(claims.user_id).filter(|s| !s.is_empty() && s.len() <= 256);
        let subject = subject.ok_or(AuthError::Invalid("it names nobody (claim sub or user_id)"))?;
        Ok(Identity { subject, expires: Some(claims.exp) })
    }

    /// A browser always names the page's origin, which must be ours or on the list; programs send none. Without
    /// sign-in the name asked for must be this machine's own, or a foreign page could reach us by DNS rebinding.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        if self.key.is_none() && !is_loopback_name(host) {
            return Err(AuthError::Host);
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().map_err(|_| AuthError::Origin)?;
        let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        if same || self.allowed_origins.iter().any(|allowed| allowed == origin) {
            Ok(())
        } else {
            Err(AuthError::Origin)
        }
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit())).map_or(host, |p| p.0);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn refusal(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::InvalidSignature => AuthError::Invalid("its signature is wrong"),
        ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm => AuthError::Invalid("it is not signed with HS256"),
        ErrorKind::MissingRequiredClaim(_) => AuthError::Invalid("it has no expiry (claim exp)"),
        ErrorKind::ImmatureSignature => AuthError::Invalid("it is not valid yet (claim nbf)"),
        _ => AuthError::Invalid("it is not a JSON Web Token"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn gate() -> Authenticator {
        Authenticator::new(&AuthMode::Hs256(SECRET.to_owned().into()), vec!["https://app.example".to_owned()])
    }

    fn token(alg: Algorithm, claims: &Value, secret: &str) -> String {
        encode(&Header::new(alg), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn soon() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600
    }

    #[test]
    fn a_good_token_gets_in_by_sub_or_user_id() {
        let by_sub = token(Algorithm::HS256, &json!({"sub": "ana", "exp": soon()}), SECRET);
        assert_eq!(gate().verify(&by_sub).unwrap().subject, "ana");
        let by_user_id = token(Algorithm::HS256, &json!({"user_id": "bo", "exp": soon()}), SECRET);
        assert_eq!(gate().verify(&by_user_id).unwrap().subject, "bo");
    }

    #[test]
    fn bad_tokens_stay_out() {
        let other = "ffffffffffffffffffffffffffffffff";
        let bad = [
            token(Algorithm::HS256, &json!({"sub": "a", "exp": soon()}), other),
            token(Algorithm::HS384, &json!({"sub": "a", "exp": soon()}), SECRET),
            token(Algorithm::HS256, &json!({"sub": "a"}), SECRET),
            token(Algorithm::HS256, &json!({"sub": "a", "exp": 1000}), SECRET),
            token(Algorithm::HS256, &json!({"sub": "a", "exp": soon(), "nbf": soon()}), SECRET),
            token(Algorithm::HS256, &json!({"exp": soon()}), SECRET),
            token(Algorithm::HS256, &json!({"sub": "", "exp": soon()}), SECRET),
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ.".to_owned(),
            "not a token".to_owned(),
            String::new(),
        ];
        for token in bad {
            assert!(gate().verify(&token).is_err(), "{token}");
        }
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.clone(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn the_header_must_be_a_bearer() {
        assert_eq!(gate().admit(&HeaderMap::new()), Err(AuthError::Missing));
        let basic = headers(&[(header::AUTHORIZATION, "Basic abc")]);
        assert_eq!(gate().admit(&basic), Err(AuthError::Malformed));
    }

    #[test]
    fn foreign_origins_and_rebound_names_stay_out() {
        let open = Authenticator::new(&AuthMode::Off, Vec::new());
        for host in ["localhost:5026", "127.0.0.1:5026", "[::1]:5026", "localhost"] {
            let own = format!("http://{host}");
            assert!(open.admit(&headers(&[(header::HOST, host), (header::ORIGIN, &own)])).is_ok(), "{host}");
        }
        let foreign = headers(&[(header::HOST, "localhost:5026"), (header::ORIGIN, "https://evil.example")]);
        assert_eq!(open.admit(&foreign), Err(AuthError::Origin));
        let rebound = headers(&[(header::HOST, "evil.example:5026"), (header::ORIGIN, "http://evil.example:5026")]);
        assert_eq!(open.admit(&rebound), Err(AuthError::Host));
    }
}
