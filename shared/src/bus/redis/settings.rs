//! Which Redis, and whom to trust there: `REDIS_URL` and the keys of TLS.

use std::fmt;

use redis::{ClientTlsConfig, TlsCertificates};
use secrecy::SecretString;

use crate::config::Env;

/// `REDIS_URL` (or `REDIS_URL_FILE`): where the bus is.
pub const ENV_REDIS_URL: &str = "REDIS_URL";
/// `REDIS_TLS_CA`: file (PEM) with the authorities whose certificates are trusted, instead of those of the system.
pub const ENV_REDIS_TLS_CA: &str = "REDIS_TLS_CA";
/// `REDIS_TLS_CERT`: file (PEM) with the certificate that we show, where Redis asks for one.
pub const ENV_REDIS_TLS_CERT: &str = "REDIS_TLS_CERT";
/// `REDIS_TLS_KEY`: file (PEM) with the private key of that certificate.
pub const ENV_REDIS_TLS_KEY: &str = "REDIS_TLS_KEY";

/// Where Redis is, and how to know that it is the right one.
#[derive(Clone)]
pub struct RedisSettings {
    pub(super) url: SecretString,
    pub(super) certificates: Option<TlsCertificates>,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("tls", &self.certificates.is_some()).finish_non_exhaustive()
    }
}

impl RedisSettings {
    /// The Redis at `url`, trusted as the system trusts.
    #[must_use]
    pub fn of(url: impl Into<SecretString>) -> Self {
        Self { url: url.into(), certificates: None }
    }

    /// Reads `REDIS_URL`, `REDIS_TLS_CA`, `REDIS_TLS_CERT` and `REDIS_TLS_KEY`; `None` where there is no URL. The files are
    /// read now, so that one that is missing is a fault like any other.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let certificates = certificates(env);
        let url = env.secret(ENV_REDIS_URL);
        if url.is_none() && certificates.is_some() {
            env.fault(format!("the REDIS_TLS_ keys are for the Redis of {ENV_REDIS_URL}, which is not set"));
        }
        url.map(|url| Self { url, certificates })
    }

    /// The same, with the Redis at `default` where there is no URL.
    pub fn from_env_or(env: &mut Env, default: &str) -> Self {
        Self::from_env(env).unwrap_or_else(|| Self::of(default))
    }
}

fn certificates(env: &mut Env) -> Option<TlsCertificates> {
    let root_cert = pem(env, ENV_REDIS_TLS_CA);
    let client_tls = match (pem(env, ENV_REDIS_TLS_CERT), pem(env, ENV_REDIS_TLS_KEY)) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
        (None, None) => None,
        _ => {
            env.fault(format!(
                "{ENV_REDIS_TLS_CERT} and {ENV_REDIS_TLS_KEY} go together: set both to files, or neither"
            ));
            None
        }
    };
    (root_cert.is_some() || client_tls.is_some()).then_some(TlsCertificates { client_tls, root_cert })
}

/// What is in the file that `key` names.
fn pem(env: &mut Env, key: &str) -> Option<Vec<u8>> {
    let path = env.get(key)?;
    match std::fs::read(&path) {
        Ok(text) if text.windows(11).any(|part| part == b"-----BEGIN ") => Some(text),
        Ok(_) => {
            env.fault(format!("{key}={path}: holds nothing in the form PEM (`-----BEGIN …`)"));
            None
        }
        Err(error) => {
            env.fault(format!("{key}={path}: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults<const N: usize>(pairs: [(&str, &str); N]) -> Vec<String> {
        let mut env = Env::of(pairs);
        RedisSettings::from_env(&mut env);
        env.finish().err().map(|error| error.faults).unwrap_or_default()
    }

    #[test]
    fn files_that_are_missing_or_alone_are_faults() {
        assert_eq!(faults([("REDIS_URL", "rediss://host")]), [""; 0]);
        assert!(faults([("REDIS_TLS_CA", "/nonexistent/ca.pem")])[0].starts_with("REDIS_TLS_CA=/nonexistent/ca.pem: "));
        let file = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
        assert!(faults([("REDIS_TLS_CA", &file)])[0].contains("-----BEGIN"));
        let alone = faults([("REDIS_TLS_KEY", "/nonexistent/key.pem")]);
        assert!(alone[0].starts_with("REDIS_TLS_KEY="), "{alone:?}");
        // What makes a file PEM stands in this one too.
        let file = format!("{}/src/bus/redis/settings.rs", env!("CARGO_MANIFEST_DIR"));
        let ca = ("REDIS_TLS_CA", &*file);
        assert!(faults([ca])[0].contains("REDIS_URL"), "of which Redis?");
        assert_eq!(faults([("REDIS_URL", "rediss://host"), ca]), [""; 0]);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let settings = RedisSettings::of("redis://:hush@host");
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
