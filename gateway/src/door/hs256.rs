//! Tokens minted elsewhere with a secret that both sides know.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{Principal, Refused, Scope, Scopes};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use shared::config::{ExposeSecret, SecretString};

/// Clocks may differ by this much.
const LEEWAY: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    user_id: Option<String>,
    exp: u64,
}

/// Checks HS256 tokens.
pub struct Hs256 {
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Hs256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hs256").finish_non_exhaustive()
    }
}

impl Hs256 {
    /// Checks tokens signed with `secret`.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp"]);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.validate_aud = false;
        Self { key: DecodingKey::from_secret(secret.expose_secret().as_bytes()), validation }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`Refused::Expired`], [`Refused::Invalid`].
    pub fn verify(&self, token: &str) -> Result<Principal, Refused> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = claims.map_err(|e| refusal(e.kind()))?.claims;
        let name = claims.sub.or(claims.user_id).filter(|s| !s.is_empty() && s.len() <= 256);
        let name = name.ok_or(Refused::Invalid("it names nobody (claim sub or user_id)"))?;
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("hs256|{name}")));
        let subject = format!("ext:{}", &digest[..22]);
        Ok(Principal { subject, family: None, scopes: Scopes::of([Scope::Stream]), expires: Some(claims.exp) })
    }
}

fn refusal(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::InvalidSignature => Refused::Invalid("its signature is wrong"),
        ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm => Refused::Invalid("it is not signed with HS256"),
        ErrorKind::MissingRequiredClaim(_) => Refused::Invalid("it has no expiry (claim exp)"),
        ErrorKind::ImmatureSignature => Refused::Invalid("it is not valid yet (claim nbf)"),
        _ => Refused::Invalid("it is not a JSON Web Token"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn gate() -> Hs256 {
        Hs256::new(&SECRET.to_owned().into())
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
        let ana = gate().verify(&by_sub).unwrap();
        assert!(ana.subject.starts_with("ext:") && !ana.subject.contains("ana") && ana.subject.len() == 26);
        let by_user_id = token(Algorithm::HS256, &json!({"user_id": "bo", "exp": soon()}), SECRET);
        assert_ne!(gate().verify(&by_user_id).unwrap().subject, ana.subject);
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
}
