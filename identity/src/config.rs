//! Every key that identity reads, with its default and the reason for it. The keys of sign-in itself are in [`crate::oidc`].

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use shared::config::Env;
use url::Url;

use crate::{
    access::{SharedSecret, TrustedIssuer, default_external_scopes},
    database::sqlite_file,
    secrets::{self, MIN_AUTH_SECRET_BYTES},
};

/// Where people are kept (or `DATABASE_URL_FILE`): `sqlite:FILE` or `postgres://…`.
pub const ENV_DATABASE_URL: &str = "DATABASE_URL";
/// Name of the file, in `STATE_DIRECTORY` or else in the working directory, where [`ENV_DATABASE_URL`] is absent.
pub const DEFAULT_DATABASE_FILE: &str = "subtide.db";
/// Set by systemd for a unit that has `StateDirectory=`.
pub const ENV_STATE_DIRECTORY: &str = "STATE_DIRECTORY";
/// Secret that seals signing keys and derives refresh tokens (or `AUTH_SECRET_FILE`).
pub const ENV_AUTH_SECRET: &str = "AUTH_SECRET";
/// Made beside a SQLite file where [`ENV_AUTH_SECRET`] is absent.
pub const AUTH_SECRET_FILE: &str = "auth-secret";
/// Secret of HS256 tokens that a backend of one's own mints (or `JWT_SECRET_FILE`).
pub const ENV_JWT_SECRET: &str = "JWT_SECRET";
/// RFC 7518 §3.2: a key of at least the size of the hash output, 256 bits.
pub const MIN_JWT_SECRET_BYTES: usize = 32;
/// What `aud` of HS256 tokens must be or hold; absent: they need none.
pub const ENV_JWT_AUDIENCE: &str = "JWT_AUDIENCE";
/// Others whose access tokens are welcome.
pub const ENV_TRUSTED_ISSUERS: &str = "TRUSTED_ISSUERS";
/// Where browsers reach us; `iss` of our tokens.
pub const ENV_PUBLIC_URL: &str = "PUBLIC_URL";
/// `iss` of our tokens where [`ENV_PUBLIC_URL`] is absent.
pub const DEFAULT_ISSUER: &str = "subtide";
/// The audit is kept for so many days.
pub const ENV_AUDIT_RETENTION: &str = "AUDIT_RETENTION_DAYS";
/// Long enough to look into something that was noticed late.
pub const DEFAULT_AUDIT_RETENTION_DAYS: u32 = 90;
/// Final texts are kept for so long (`30d`, `12h`).
pub const ENV_TRANSCRIPT_RETENTION: &str = "TRANSCRIPT_RETENTION";

/// All settings of identity.
#[derive(Debug, Clone)]
pub struct IdentityConfig {
    /// `sqlite:FILE` or `postgres://…`; may hold a password.
    pub database_url: SecretString,
    /// `None`: from a file beside the SQLite database, which is made when it is not there.
    pub auth_secret: Option<SecretString>,
    /// HS256 tokens, if they are taken.
    pub shared_secret: Option<SharedSecret>,
    /// Others whose access tokens are welcome.
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// `iss` of our own tokens.
    pub issuer: String,
    /// The audit is kept for so long.
    pub audit_retention: Duration,
    /// Final texts are kept for so long; `None`: not at all.
    pub transcript_retention: Option<Duration>,
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[error("the file {} cannot be used as AUTH_SECRET: {reason}", path.display())]
pub struct AuthSecretError {
    path: PathBuf,
    reason: String,
}

impl IdentityConfig {
    /// Settings for a database at `url`, everything else at its default: for tests and tools.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            database_url: url.to_owned().into(),
            auth_secret: None,
            shared_secret: None,
            trusted_issuers: Vec::new(),
            issuer: DEFAULT_ISSUER.to_owned(),
            audit_retention: days(DEFAULT_AUDIT_RETENTION_DAYS),
            transcript_retention: None,
        }
    }

    /// Reads every key of identity. Faults are recorded in `env`; the value is only good when [`Env::finish`] is.
    pub fn from_env(env: &mut Env) -> Self {
        let url = env.secret(ENV_DATABASE_URL).unwrap_or_else(|| default_database_url(env).into());
        let file = sqlite_file(url.expose_secret()).map(Path::to_owned);
        if file.as_deref().is_some_and(|file| file.as_os_str().is_empty() || file == Path::new(":memory:")) {
            env.fault(format!("{ENV_DATABASE_URL}: a database in memory forgets everybody; name a file"));
        }
        let auth_secret = env.secret(ENV_AUTH_SECRET);
        match &auth_secret {
            Some(secret) if secret.expose_secret().len() < MIN_AUTH_SECRET_BYTES => env.fault(format!(
                "{ENV_AUTH_SECRET}: shorter than {MIN_AUTH_SECRET_BYTES} bytes; make one with `openssl rand -hex 32`"
            )),
            None if file.is_none() => env.fault(format!(
                "{ENV_AUTH_SECRET} (or {ENV_AUTH_SECRET}_FILE) is not set, and every gateway on one PostgreSQL needs the \
                 same; make one with `openssl rand -hex 32`"
            )),
            _ => (),
        }
        Self {
            database_url: url,
            auth_secret,
            shared_secret: shared_secret(env),
            trusted_issuers: trusted_issuers(env),
            issuer: issuer(env),
            audit_retention: days(env.parse_or(ENV_AUDIT_RETENTION, DEFAULT_AUDIT_RETENTION_DAYS)),
            transcript_retention: transcript_retention(env),
        }
    }

    /// The secret itself; where it is not set, that of the file beside the SQLite database.
    pub(crate) fn auth_secret(&self) -> Result<SecretString, AuthSecretError> {
        if let Some(secret) = &self.auth_secret {
            return Ok(secret.clone());
        }
        let database = sqlite_file(self.database_url.expose_secret()).unwrap_or(Path::new(""));
        let path = database.with_file_name(AUTH_SECRET_FILE);
        let secret = read_or_make(&path).map_err(|error| error.to_string()).and_then(|secret| {
            let secret = secret.trim_end().to_owned();
            if secret.len() >= MIN_AUTH_SECRET_BYTES { Ok(secret) } else { Err("it is too short".to_owned()) }
        });
        secret.map(Into::into).map_err(|reason| AuthSecretError { path, reason })
    }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3600)
}

fn default_database_url(env: &Env) -> String {
    // systemd may name several, separated by colons.
    let directory = env.get(ENV_STATE_DIRECTORY).and_then(|list| list.split(':').next().map(PathBuf::from));
    format!("sqlite:{}", directory.unwrap_or_default().join(DEFAULT_DATABASE_FILE).display())
}

fn shared_secret(env: &mut Env) -> Option<SharedSecret> {
    let secret = env.secret(ENV_JWT_SECRET)?;
    if secret.expose_secret().len() < MIN_JWT_SECRET_BYTES {
        env.fault(format!(
            "{ENV_JWT_SECRET}: shorter than {MIN_JWT_SECRET_BYTES} bytes; make one with `openssl rand -hex 32`"
        ));
    }
    Some(SharedSecret { secret, audience: env.get(ENV_JWT_AUDIENCE) })
}

fn issuer(env: &mut Env) -> String {
    let Some(url) = env.parse::<Url>(ENV_PUBLIC_URL) else { return DEFAULT_ISSUER.to_owned() };
    url.as_str().trim_end_matches('/').to_owned()
}

fn trusted_issuers(env: &mut Env) -> Vec<TrustedIssuer> {
    let Some(text) = env.get(ENV_TRUSTED_ISSUERS) else { return Vec::new() };
    parse_issuers(&text).unwrap_or_else(|reason| {
        env.fault(format!("{ENV_TRUSTED_ISSUERS}: {reason}"));
        Vec::new()
    })
}

/// A JSON list of [`TrustedIssuer`], or `issuer|audience` and maybe `|scopes`, separated by commas.
fn parse_issuers(text: &str) -> Result<Vec<TrustedIssuer>, String> {
    let issuers = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        text.split(',').map(|pair| parse_pair(pair.trim())).collect::<Result<Vec<_>, _>>()?
    };
    for found in &issuers {
        let https = Url::parse(&found.issuer).is_ok_and(|url| url.scheme() == "https" || is_loopback(&url));
        if !https || found.audience.is_empty() {
            return Err(format!("`{}`: an issuer is an https:// address, and its audience is not empty", found.issuer));
        }
    }
    Ok(issuers)
}

fn parse_pair(pair: &str) -> Result<TrustedIssuer, String> {
    let parts: Vec<_> = pair.split('|').collect();
    let (issuer, audience, scopes) = match parts[..] {
        [issuer, audience] => (issuer, audience, default_external_scopes()),
        [issuer, audience, scopes] => (issuer, audience, scopes.parse()?),
        _ => return Err(format!("`{pair}` is not of the form ISSUER|AUDIENCE or ISSUER|AUDIENCE|SCOPES")),
    };
    Ok(TrustedIssuer { issuer: issuer.to_owned(), audience: audience.to_owned(), scopes, jwks_uri: None })
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

fn transcript_retention(env: &mut Env) -> Option<Duration> {
    let text = env.get(ENV_TRANSCRIPT_RETENTION)?;
    let parsed = parse_duration(&text);
    if parsed.is_none() {
        env.fault(format!("{ENV_TRANSCRIPT_RETENTION}={text}: write a number and one of d, h, m, s, such as 30d"));
    }
    parsed.filter(|kept| !kept.is_zero())
}

/// `30d`, `12h`, `10m` or `45s`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let seconds = match text.chars().last()? {
        'd' => 24 * 3600,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    count.checked_mul(seconds).map(Duration::from_secs)
}

/// What `path` holds. One that is not there is made with 256 random bits, whole or not at all, for its owner alone: of two
/// who start at once, both read what the faster made.
fn read_or_make(path: &Path) -> std::io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
        found => return found,
    }
    let no_chance = |_| std::io::Error::other("no random numbers");
    let draft = path.with_extension(secrets::hex(&secrets::chance::<8>().map_err(no_chance)?));
    let mut options = std::fs::OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    let written = writeln!(file, "{}", secrets::token().map_err(no_chance)?).and_then(|()| file.sync_all());
    // Fails where somebody was faster; theirs is read.
    let linked = written.and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read_to_string(path),
    }
}

#[cfg(test)]
mod tests;
