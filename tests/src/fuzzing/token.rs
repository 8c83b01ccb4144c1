//! Access tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{
    Refused, Scope,
    access::{LEEWAY, MAX_TOKEN_BYTES, probe},
};
use jsonwebtoken::{Algorithm, EncodingKey};

use super::first_line;

const SECRET: &[u8] = b"a secret that nobody can guess, and so no token is signed with it";
const OTHER: &[u8] = b"another secret, with which tokens are signed here and not elsewhere";
const AUDIENCE: &str = "gateway";
/// 2026-01-01, seconds since the Unix epoch.
const NOW: u64 = 1_767_225_600;

/// A token as it came; or, where there are two lines, the header and the claims of one that is then signed. What nobody signed
/// is refused; what is taken has not expired, names somebody without saying who, and allows no more than it may.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match first_line(text) {
        (token, "") => raw(token),
        (header, claims) => signed(header, claims),
    }
}

fn raw(text: &str) {
    if let Ok(unverified) = probe::parse(text) {
        assert!(text.len() <= MAX_TOKEN_BYTES && text.split('.').count() == 3);
        assert!(["EdDSA", "RS256", "ES256", "HS256"].contains(&unverified.algorithm.as_str()));
        assert!(unverified.kid.is_none_or(|kid| !kid.is_empty() && kid.len() <= 256));
    }
    assert!(probe::verify_shared(text, SECRET, Some(AUDIENCE), NOW).is_err(), "nobody signed it");
}

fn signed(header: &str, claims: &str) {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(OTHER);
    let Ok(signature) = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256) else { return };
    let token = format!("{message}.{signature}");
    assert!(probe::verify_shared(&token, SECRET, Some(AUDIENCE), NOW).is_err(), "it is signed with another key");
    let Ok(who) = probe::verify_shared(&token, OTHER, Some(AUDIENCE), NOW) else { return };
    assert!(probe::parse(&token).is_ok_and(|token| token.algorithm == "HS256"));
    let Some(expires) = who.expires else { panic!("it lasts for ever") };
    assert!(expires.saturating_add(LEEWAY.as_secs()) > NOW, "it has expired at {expires}");
    let later = expires.saturating_add(LEEWAY.as_secs());
    if later < u64::MAX {
        assert_eq!(probe::verify_shared(&token, OTHER, Some(AUDIENCE), later), Err(Refused::Expired));
    }
    let Some(name) = who.subject.strip_prefix("ext:") else { panic!("{}", who.subject) };
    assert!(name.len() == 22 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    assert!(who.family.is_none() && !who.scopes.has(Scope::Admin), "{who:?}");
    assert!(claims.contains(AUDIENCE) || claims.contains('\\'), "it is meant for somebody else");
}
