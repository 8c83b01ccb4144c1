//! The keys of an issuer, by their `kid` (RFC 7517), cached: a key that is not known is asked for, but not for everybody
//! who makes up a `kid`.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    OidcError,
    cache::{Cached, Fetched},
    discovery::Discovery,
    outbound::{Outbound, OutboundError, trustworthy},
};
use crate::{
    Clock, Refused,
    access::{KeySource, Trust, TrustedIssuer},
};

/// The algorithms that signatures of others are taken in. Never a symmetric one: its key would be no secret.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// Longest `kid` that is looked up, bytes.
const MAX_KID_BYTES: usize = 256;
/// Modulus of an RSA key, bytes: 2048 to 8192 bits. Below is too weak (RFC 7518 §3.3), above takes long to verify.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Most keys of one issuer; nobody has a tenth.
const MAX_KEYS: usize = 100;

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeySet {
    place: Place,
    keys: Cached<HashMap<String, Key>>,
}

/// Where they are found.
#[derive(Debug)]
enum Place {
    Issuer(Arc<Discovery>),
    Url(Url, Outbound),
}

/// A key, and the one algorithm it is for.
#[derive(Debug, Clone)]
struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Each key is read by itself: one of a kind that we do not know is no reason to lose the others.
#[derive(Debug, Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    for_use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The keys of an issuer with a discovery document. Asks nobody yet.
    ///
    /// # Errors
    /// When `issuer` is no URL, or neither `https` nor loopback.
    pub fn of_issuer(issuer: &str, clock: Clock) -> Result<Self, OidcError> {
        Ok(Self::discovered(Arc::new(Discovery::new(issuer, clock.clone())?), clock))
    }

    /// The key set at this address. Asks nobody yet.
    ///
    /// # Errors
    /// When `url` is no URL, or neither `https` nor loopback.
    pub fn of_url(url: &str, clock: Clock) -> Result<Self, OidcError> {
        let url = trustworthy(url)?;
        let outbound = Outbound::new(&url, clock.clone())?;
        Ok(Self { place: Place::Url(url, outbound), keys: Cached::new(clock) })
    }

    pub(super) fn discovered(discovery: Arc<Discovery>, clock: Clock) -> Self {
        Self { place: Place::Issuer(discovery), keys: Cached::new(clock) }
    }

    /// How often the key set was asked for (its discovery document not counted).
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.keys.fetches()
    }

    /// The key of this name and the one algorithm that it may be used with. A key that is not known has the set fetched
    /// again, by one caller for all, at most once a minute.
    ///
    /// # Errors
    /// [`Refused::Invalid`] for a key that the issuer does not have; [`Refused::Unavailable`] while the issuer is away and
    /// was never heard of, or not for a day.
    pub async fn key(&self, kid: &str) -> Result<(Algorithm, DecodingKey), Refused> {
        const UNKNOWN: Refused = Refused::Invalid("it was signed with a key that its issuer does not have");
        if kid.is_empty() || kid.len() > MAX_KID_BYTES {
            return Err(UNKNOWN);
        }
        let keys = self.keys.get(async || self.fetch().await).await.map_err(|_| Refused::Unavailable)?;
        if let Some(Key { algorithm, key }) = keys.get(kid) {
            return Ok((*algorithm, key.clone()));
        }
        let newer = self.keys.newer(&keys, async || self.fetch().await).await.ok_or(UNKNOWN)?;
        newer.get(kid).map(|Key { algorithm, key }| (*algorithm, key.clone())).ok_or(UNKNOWN)
    }

    async fn fetch(&self) -> Result<Fetched<HashMap<String, Key>>, OutboundError> {
        let fetched = self.fetch_document().await;
        let place = match &self.place {
            Place::Issuer(discovery) => discovery.issuer(),
            Place::Url(url, _) => url.as_str(),
        };
        let Fetched { value, fresh_for } = fetched
            .inspect_err(|error| tracing::warn!(issuer = place, "the keys of the issuer cannot be had: {error}"))?;
        let keys = usable(value);
        tracing::debug!(issuer = place, keys = keys.len(), "fetched the keys of the issuer");
        Ok(Fetched { value: keys, fresh_for })
    }

    async fn fetch_document(&self) -> Result<Fetched<Document>, OutboundError> {
        match &self.place {
            Place::Url(url, outbound) => outbound.json(url).await,
            Place::Issuer(discovery) => {
                let document = discovery.document().await;
                let document = document.map_err(|_| OutboundError::Unreachable("it was never discovered"))?;
                discovery.outbound().json(&document.jwks_uri).await
            }
        }
    }
}

#[async_trait]
impl KeySource for KeySet {
    async fn key(&self, kid: &str) -> Result<(Algorithm, DecodingKey), Refused> {
        Self::key(self, kid).await
    }
}

/// Issuers whose access tokens are welcome, each with its keys, as [`crate::People::open`] wants them. Asks nobody yet.
///
/// # Errors
/// When an issuer, or the address of its keys, is no URL, or neither `https` nor loopback.
pub fn trust(issuers: &[TrustedIssuer], clock: &Clock) -> Result<Vec<Trust>, OidcError> {
    let keys = |issuer: &TrustedIssuer| match &issuer.jwks_uri {
        Some(url) => KeySet::of_url(url, clock.clone()),
        None => KeySet::of_issuer(&issuer.issuer, clock.clone()),
    };
    issuers.iter().map(|issuer| Ok(Trust { issuer: issuer.clone(), keys: Arc::new(keys(issuer)?) })).collect()
}

/// The keys of a set that signatures may be checked with. Of two with one name the first counts.
fn usable(document: Document) -> HashMap<String, Key> {
    let mut keys = HashMap::new();
    for value in document.keys.into_iter().take(MAX_KEYS) {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        if let Some(key) = key(&jwk) {
            keys.entry(jwk.kid).or_insert(key);
        }
    }
    keys
}

/// The key itself decides on its algorithm; one that says another is not used.
fn key(jwk: &Jwk) -> Option<Key> {
    let for_signatures = jwk.for_use.as_deref().is_none_or(|purpose| purpose == "sig");
    let to_verify = jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|what| what == "verify"));
    if !for_signatures || !to_verify || jwk.kid.is_empty() || jwk.kid.len() > MAX_KID_BYTES {
        return None;
    }
    let says = |names: &[&str]| jwk.alg.as_deref().is_none_or(|alg| names.contains(&alg));
    let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) if says(&["RS256"]) => (Algorithm::RS256, rsa(jwk)?),
        ("EC", Some("P-256")) if says(&["ES256"]) => {
            (Algorithm::ES256, DecodingKey::from_ec_components(jwk.x.as_deref()?, jwk.y.as_deref()?).ok()?)
        }
        // RFC 8037, and the name that RFC 9864 gives it.
        ("OKP", Some("Ed25519")) if says(&["EdDSA", "Ed25519"]) => {
            (Algorithm::EdDSA, DecodingKey::from_ed_components(jwk.x.as_deref()?).ok()?)
        }
        _ => return None,
    };
    Some(Key { algorithm, key })
}

fn rsa(jwk: &Jwk) -> Option<DecodingKey> {
    let (n, e) = (jwk.n.as_deref()?, jwk.e.as_deref()?);
    let modulus = URL_SAFE_NO_PAD.decode(n).ok()?;
    let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
    if !RSA_BYTES.contains(&bytes) {
        return None;
    }
    DecodingKey::from_rsa_components(n, e).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(keys: Value) -> Vec<String> {
        let mut names: Vec<_> = usable(serde_json::from_value(json!({ "keys": keys })).unwrap())
            .into_iter()
            .map(|(kid, key)| format!("{kid} {:?}", key.algorithm))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_keys_that_signatures_may_be_checked_with_are_kept() {
        let number = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xc1; bytes]);
        let (n, weak, x) = (number(256), number(128), number(32));
        let kept = names(json!([
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": n, "e": "AQAB"},
            {"kty": "RSA", "kid": "bare", "n": n, "e": "AQAB", "x5c": ["whatever"]},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": x, "y": x},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": x, "key_ops": ["verify"]},
            {"kty": "RSA", "kid": "weak", "n": weak, "e": "AQAB"},
            {"kty": "RSA", "kid": "encrypts", "use": "enc", "n": n, "e": "AQAB"},
            {"kty": "RSA", "kid": "other", "alg": "RS512", "n": n, "e": "AQAB"},
            {"kty": "RSA", "kid": "signs", "key_ops": ["sign"], "n": n, "e": "AQAB"},
            {"kty": "RSA", "n": n, "e": "AQAB"},
            {"kty": "oct", "kid": "symmetric", "k": x, "alg": "HS256"},
            {"kty": "EC", "kid": "other-curve", "crv": "secp256k1", "x": x, "y": x},
            {"kty": "from-the-future", "kid": "new"},
            17,
        ]));
        assert_eq!(kept, ["bare RS256", "ec ES256", "ed EdDSA", "rsa RS256"]);
    }
}
