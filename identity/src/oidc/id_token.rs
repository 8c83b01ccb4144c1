//! Who signed in, as the provider's ID token says (OpenID Connect Core 1.0 §3.1.3.7). Every claim is checked here and by
//! hand: a library's defaults let tokens pass that lack the claim in question.

use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq as _;

use super::{Failed, GOOGLE, jwks::KeySet};
use crate::{Clock, ProviderIdentity, Refused};

/// Google's other spelling of itself, in `iss` (not in discovery).
const GOOGLE_BARE: &str = "accounts.google.com";
/// Longest token, bytes. Some providers put groups into them.
const MAX_BYTES: usize = 16 * 1024;
/// By how much two clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// How long ago it may have been issued.
const MAX_AGE: Duration = Duration::from_secs(600);
/// OpenID Connect Core 1.0 §2: a `sub` has at most 255 ASCII characters.
const MAX_SUBJECT: usize = 255;
/// Of what a person is called; longer names are cut.
const MAX_NAME_CHARS: usize = 200;
/// Of an e-mail address (RFC 5321 §4.5.3.1).
const MAX_EMAIL_BYTES: usize = 254;

/// What a token must say to be the answer to one sign-in.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer, as configured.
    pub issuer: &'a str,
    /// Our client id there.
    pub client_id: &'a str,
    /// SHA-256 of the nonce that the sign-in began with.
    pub nonce_hash: &'a [u8; 32],
}

/// Who it was, and what rules about guests need to know besides.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who it was.
    pub who: ProviderIdentity,
    /// `hd`: the Google Workspace domain that the account belongs to.
    pub workspace: Option<String>,
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    #[serde(deserialize_with = "seconds")]
    exp: u64,
    #[serde(deserialize_with = "seconds")]
    iat: u64,
    #[serde(default, deserialize_with = "maybe_seconds")]
    nbf: Option<u64>,
    nonce: String,
    email: Option<String>,
    email_verified: Option<Flag>,
    name: Option<String>,
    hd: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A truth value; some providers write it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Text(String),
}

/// A `NumericDate` (RFC 7519 §2), which may have a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let date = f64::deserialize(deserializer)?;
    // The range is that of whole seconds in an f64; what is outside of it is no date.
    if (0.0..9_007_199_254_740_992.0).contains(&date) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was looked at")]
        return Ok(date as u64);
    }
    Err(serde::de::Error::custom("not a date"))
}

fn maybe_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    seconds(deserializer).map(Some)
}

/// Verifies everything about `token`.
///
/// # Errors
/// [`Failed::Token`] with the check that failed; [`Failed::Away`] when the issuer's keys cannot be had.
pub async fn verify(token: &str, keys: &KeySet, expected: Expected<'_>, clock: &Clock) -> Result<Verified, Failed> {
    if token.len() > MAX_BYTES {
        return Err(Failed::Token("id_token_too_large"));
    }
    let header = decode_header(token).map_err(|_| Failed::Token("id_token_header"))?;
    let kid = header_is_plain(&header)?;
    let (algorithm, key) = keys.key(kid).await.map_err(|refused| match refused {
        Refused::Unavailable => Failed::Away,
        _ => Failed::Token("id_token_unknown_key"),
    })?;
    let google = expected.issuer == GOOGLE;
    if header.alg != algorithm || (google && algorithm != Algorithm::RS256) {
        return Err(Failed::Token("id_token_algorithm"));
    }
    // The library checks the signature alone: it does not know our clock, and takes an absent claim for a good one.
    let mut signature = Validation::new(algorithm);
    signature.required_spec_claims.clear();
    (signature.validate_exp, signature.validate_nbf, signature.validate_aud) = (false, false, false);
    let decoded = decode::<Claims>(token, &key, &signature).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::Json(_) => Failed::Token("id_token_claims"),
        _ => Failed::Token("id_token_signature"),
    })?;
    check(&decoded.claims, expected, clock.now())?;
    Ok(verified(decoded.claims, expected.issuer))
}

/// The `kid`, when the header asks for nothing but a look at the issuer's own keys.
fn header_is_plain(header: &Header) -> Result<&str, Failed> {
    let own_key = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
    if own_key || header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(Failed::Token("id_token_header"));
    }
    // An access token (`at+jwt`) or a logout token (`logout+jwt`) of the same issuer is no ID token.
    if header.typ.as_deref().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(Failed::Token("id_token_type"));
    }
    header.kid.as_deref().ok_or(Failed::Token("id_token_unknown_key"))
}

fn check(claims: &Claims, expected: Expected<'_>, now: u64) -> Result<(), Failed> {
    let issuer = claims.iss == expected.issuer || (expected.issuer == GOOGLE && claims.iss == GOOGLE_BARE);
    let ours = |audience: &String| audience == expected.client_id;
    let authorised = claims.azp.as_ref().map(ours);
    let audience = match &claims.aud {
        Audience::One(audience) => ours(audience),
        Audience::Many(audiences) if audiences.len() == 1 => audiences.iter().all(ours),
        Audience::Many(audiences) => audiences.iter().any(ours) && authorised == Some(true),
    };
    let leeway = LEEWAY.as_secs();
    let nonce = super::logins::hash(&claims.nonce).ct_eq(expected.nonce_hash).into();
    let checks = [
        (issuer, "id_token_issuer"),
        (audience, "id_token_audience"),
        (authorised != Some(false), "id_token_authorised_party"),
        (now < claims.exp.saturating_add(leeway), "id_token_expired"),
        (claims.iat <= now + leeway, "id_token_future"),
        (claims.nbf.is_none_or(|from| from <= now + leeway), "id_token_future"),
        (now <= claims.iat + MAX_AGE.as_secs() + leeway, "id_token_old"),
        (nonce, "id_token_nonce"),
        (!claims.sub.is_empty() && claims.sub.len() <= MAX_SUBJECT && claims.sub.is_ascii(), "id_token_subject"),
    ];
    match checks.into_iter().find(|(holds, _)| !holds) {
        Some((_, word)) => Err(Failed::Token(word)),
        None => Ok(()),
    }
}

fn verified(claims: Claims, issuer: &str) -> Verified {
    let is_verified = match &claims.email_verified {
        Some(Flag::Bool(verified)) => *verified,
        Some(Flag::Text(text)) => text == "true",
        None => false,
    };
    let plausible = |email: &String| {
        let parts = email.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        parts && email.len() <= MAX_EMAIL_BYTES && !email.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let name = |name: String| name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect::<String>();
    Verified {
        who: ProviderIdentity {
            // One spelling, or Google's two would make two people of one.
            issuer: issuer.to_owned(),
            subject: claims.sub,
            verified_email: claims.email.filter(|_| is_verified).filter(plausible),
            name: claims.name.map(name).filter(|name| !name.trim().is_empty()),
        },
        workspace: claims.hd,
    }
}
