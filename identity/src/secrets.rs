//! Everything made of `AUTH_SECRET`, and everything made of chance.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf, hmac, rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::Refused;

/// Shortest `AUTH_SECRET`: as long as the keys that are made of it, 256 bits.
pub(crate) const MIN_AUTH_SECRET_BYTES: usize = 32;
/// Of random tokens: 256 bits, beyond guessing.
const TOKEN_BYTES: usize = 32;
/// Of keyed hashes of addresses: enough to tell them apart.
const ADDRESS_HASH_BYTES: usize = 12;

/// Keys derived from `AUTH_SECRET` by HKDF-SHA256 (RFC 5869), one for each purpose.
pub(crate) struct Secrets {
    seal: RandomizedNonceKey,
    successor: hmac::Key,
    address: hmac::Key,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// # Errors
    /// When the library refuses, which it does not.
    pub(crate) fn derive(auth_secret: &[u8]) -> Result<Self, Refused> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"subtide").extract(auth_secret);
        let key = |purpose: &str| {
            let mut key = [0; TOKEN_BYTES];
            let info = [purpose.as_bytes()];
            let filled = prk.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
            filled.map(|()| key).map_err(|_| Refused::Unavailable)
        };
        let hmac_key = |purpose: &str| key(purpose).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Ok(Self {
            seal: RandomizedNonceKey::new(&AES_256_GCM, &key("signing keys at rest")?)
                .map_err(|_| Refused::Unavailable)?,
            successor: hmac_key("successors of refresh tokens")?,
            address: hmac_key("addresses in the audit")?,
        })
    }

    /// Seals the private half of the signing key `kid` (AES-256-GCM, bound to `kid`): nonce, ciphertext and tag, base64url.
    pub(crate) fn seal(&self, kid: &str, secret: &[u8]) -> Result<String, Refused> {
        let mut sealed = secret.to_vec();
        let nonce =
            self.seal.seal_in_place_append_tag(Aad::from(kid), &mut sealed).map_err(|_| Refused::Unavailable)?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What was sealed for `kid`; `None` when another secret sealed it, or it was tampered with.
    pub(crate) fn open(&self, kid: &str, sealed: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        self.seal.open_in_place(nonce, Aad::from(kid), &mut sealed).ok().map(|opened| opened.to_vec())
    }

    /// The one token that follows `token`, whoever asks and how often.
    pub(crate) fn successor(&self, token: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.successor, token.as_bytes()))
    }

    /// A name for an address that tells it from others, and that nobody without our secret can turn back: there are few
    /// enough IPv4 addresses to try them all against a plain hash.
    pub(crate) fn address(&self, address: &str) -> String {
        let tag = hmac::sign(&self.address, address.as_bytes());
        URL_SAFE_NO_PAD.encode(&tag.as_ref()[..ADDRESS_HASH_BYTES])
    }
}

/// `bytes` of chance from the operating system's generator.
pub(crate) fn chance<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Refused::Unavailable)?;
    Ok(bytes)
}

/// A token of 256 random bits, base64url.
pub(crate) fn token() -> Result<String, Refused> {
    chance::<TOKEN_BYTES>().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256, hexadecimal: how tokens of 256 random bits are kept. There is nothing to guess, so nothing slows guessing.
pub(crate) fn fingerprint(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Lowercase hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_its_secret_and_its_name_alone() {
        let secrets = Secrets::derive(&[7; 32]).unwrap();
        let sealed = secrets.seal("a", b"private").unwrap();
        assert_eq!(secrets.open("a", &sealed).as_deref(), Some(&b"private"[..]));
        assert_eq!(secrets.open("b", &sealed), None);
        assert_eq!(Secrets::derive(&[8; 32]).unwrap().open("a", &sealed), None);
        assert_eq!(secrets.open("a", "AAAA"), None);
        assert_ne!(secrets.seal("a", b"private").unwrap(), sealed, "a nonce was used twice");
    }

    #[test]
    fn a_token_has_one_successor_and_each_secret_its_own() {
        let (one, other) = (Secrets::derive(&[7; 32]).unwrap(), Secrets::derive(&[8; 32]).unwrap());
        assert_eq!(one.successor("srt_a"), one.successor("srt_a"));
        assert_ne!(one.successor("srt_a"), one.successor("srt_b"));
        assert_ne!(one.successor("srt_a"), other.successor("srt_a"));
        assert_eq!(one.successor("srt_a").len(), 43);
    }

    #[test]
    fn an_address_is_told_from_another_and_not_shown() {
        let secrets = Secrets::derive(&[7; 32]).unwrap();
        assert_eq!(secrets.address("192.0.2.1"), secrets.address("192.0.2.1"));
        assert_ne!(secrets.address("192.0.2.1"), secrets.address("192.0.2.2"));
        assert!(!secrets.address("192.0.2.1").contains("192"));
    }

    #[test]
    fn a_fingerprint_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint("abc"), abc);
    }
}
