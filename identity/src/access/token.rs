//! Taking a JSON Web Token apart (RFC 7515 §7.1), and its signature.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{Claims, MAX_TOKEN_BYTES};
use crate::Refused;

const NOT_A_TOKEN: Refused = Refused::Invalid("it is not a JSON Web Token");
/// Header fields that bring a key along or name where to get one, and those that must be understood (RFC 7515 §4.1).
const FORBIDDEN: [&str; 7] = ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit"];
/// Algorithms of which anybody's key may be; which one it must be is the key's to say.
const KNOWN: [Algorithm; 4] = [Algorithm::EdDSA, Algorithm::RS256, Algorithm::ES256, Algorithm::HS256];
/// Longest `kid` that is looked up, bytes.
const MAX_KID: usize = 256;

/// A token whose header can be read; nothing about it is verified.
#[derive(Debug)]
pub(super) struct Token<'a> {
    text: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    typ: Option<String>,
    /// What it says its issuer is; picks which keys to try.
    pub(super) unverified_issuer: Option<String>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Refused> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refused::Invalid("it is too long"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NOT_A_TOKEN);
        };
        let header = object(header)?;
        if FORBIDDEN.iter().any(|field| header.contains_key(*field)) {
            return Err(Refused::Invalid("its header has a field that is not allowed"));
        }
        let text_of = |map: &Map<String, Value>, name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
        let named = text_of(&header, "alg").ok_or(NOT_A_TOKEN)?;
        let algorithm = KNOWN.into_iter().find(|known| format!("{known:?}") == named);
        Ok(Self {
            text,
            algorithm: algorithm.ok_or(Refused::Invalid("its algorithm is not accepted"))?,
            kid: text_of(&header, "kid").filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID),
            typ: text_of(&header, "typ"),
            unverified_issuer: text_of(&object(claims)?, "iss"),
        })
    }

    /// Whether it says that it is an access token (RFC 9068 §2.1), not, say, an ID token.
    pub(super) fn is_access_token(&self) -> bool {
        let typ = self.typ.as_deref().unwrap_or_default();
        typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
    }

    /// Its claims, if `key` signed them with `algorithm`. No claim has been looked at.
    pub(super) fn verified(&self, algorithm: Algorithm, key: &DecodingKey) -> Result<Claims, Refused> {
        if self.algorithm != algorithm {
            return Err(Refused::Invalid("it is not signed with the algorithm of its key"));
        }
        let mut validation = Validation::new(algorithm);
        // Our clock decides, and absent claims are refused by name.
        validation.set_required_spec_claims::<&str>(&[]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(self.text, key, &validation);
        decoded.map(|token| token.claims).map_err(|error| refusal(error.kind()))
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| NOT_A_TOKEN)?;
    serde_json::from_slice(&bytes).map_err(|_| NOT_A_TOKEN)
}

fn refusal(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::InvalidSignature => Refused::Invalid("its signature is wrong"),
        ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm => {
            Refused::Invalid("it is not signed with the algorithm of its key")
        }
        ErrorKind::Json(_) => Refused::Invalid("a claim is not of its type"),
        _ => NOT_A_TOKEN,
    }
}
