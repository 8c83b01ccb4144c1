//! Settings of sign-in at a provider.

use shared::config::{Env, SecretString};
use url::Url;

use super::{GOOGLE, GuestList, OidcError, outbound::trustworthy};
use crate::config::ENV_PUBLIC_URL;

/// Who vouches for people: the issuer, exactly as its discovery document writes it.
pub const ENV_ISSUER: &str = "OIDC_ISSUER";
/// Our name at the provider. Without it nobody can sign in here.
pub const ENV_CLIENT_ID: &str = "OIDC_CLIENT_ID";
/// Our secret there (or `OIDC_CLIENT_SECRET_FILE`); absent for a public client, which some providers know.
pub const ENV_CLIENT_SECRET: &str = "OIDC_CLIENT_SECRET";
/// Our name for programs that people install, where it is another: Google lets only its "Desktop app" clients come back to a
/// loopback port of their choice, and only its "Web application" clients to a web address.
pub const ENV_NATIVE_CLIENT_ID: &str = "OIDC_NATIVE_CLIENT_ID";
/// The secret that goes with it (or `OIDC_NATIVE_CLIENT_SECRET_FILE`).
pub const ENV_NATIVE_CLIENT_SECRET: &str = "OIDC_NATIVE_CLIENT_SECRET";
/// Domains whose people may come in, separated by commas.
pub const ENV_DOMAINS: &str = "ALLOWED_EMAIL_DOMAINS";
/// People who may come in, by address, separated by commas.
pub const ENV_EMAILS: &str = "ALLOWED_EMAILS";
/// Whether everybody whom the provider knows may come in.
pub const ENV_ANYONE: &str = "ALLOW_ANYONE";

/// Our name at the provider.
#[derive(Debug, Clone)]
pub struct OidcClient {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; `None` for a public client.
    pub secret: Option<SecretString>,
}

/// All settings of sign-in.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// The issuer, as its discovery document writes it.
    pub issuer: String,
    /// For browsers.
    pub client: OidcClient,
    /// For programs that people install.
    pub native: OidcClient,
    /// Where browsers reach us; without a path.
    pub public_url: Url,
    /// Who may come in.
    pub guests: GuestList,
}

impl OidcConfig {
    /// Reads the settings; `None` without a client id. Faults are recorded in `env`; the value returned is only good when
    /// [`Env::finish`] is.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let id = env.get(ENV_CLIENT_ID)?;
        let issuer = env.get(ENV_ISSUER).unwrap_or_else(|| GOOGLE.to_owned());
        if let Err(error) = trustworthy(&issuer) {
            env.fault(format!("{ENV_ISSUER}: {error}"));
        }
        let client = OidcClient { id, secret: env.secret(ENV_CLIENT_SECRET) };
        let native = match env.get(ENV_NATIVE_CLIENT_ID) {
            Some(id) => OidcClient { id, secret: env.secret(ENV_NATIVE_CLIENT_SECRET) },
            None => client.clone(),
        };
        if issuer == GOOGLE && (client.secret.is_none() || native.secret.is_none()) {
            env.fault(format!(
                "Google wants a client secret: set {ENV_CLIENT_SECRET} (and {ENV_NATIVE_CLIENT_SECRET} with \
                 {ENV_NATIVE_CLIENT_ID})"
            ));
        }
        let public_url = public_url(env)?;
        let guests = guests(env, &issuer);
        Some(Self { issuer, client, native, public_url, guests })
    }

    /// Where the provider sends browsers back to. The provider has to know it, character for character.
    #[must_use]
    pub fn callback(&self) -> String {
        format!("{}/auth/callback", self.origin())
    }

    /// Our own origin, as browsers write it.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }
}

fn public_url(env: &mut Env) -> Option<Url> {
    let Some(text) = env.get(ENV_PUBLIC_URL) else {
        env.fault(format!(
            "{ENV_PUBLIC_URL} must be set with {ENV_CLIENT_ID}: the address that people type, such as \
             https://captions.example.com"
        ));
        return None;
    };
    let bare = |url: &Url| url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let url = match trustworthy(&text) {
        Ok(url) if bare(&url) && url.username().is_empty() && url.password().is_none() => return Some(url),
        Ok(_) => OidcError::Url { url: text, reason: "only scheme, host and port, please".to_owned() },
        Err(error) => error,
    };
    env.fault(format!("{ENV_PUBLIC_URL}: {url}"));
    None
}

fn guests(env: &mut Env, issuer: &str) -> GuestList {
    let (domains, emails) = (env.get(ENV_DOMAINS).unwrap_or_default(), env.get(ENV_EMAILS).unwrap_or_default());
    let items = |text: &str| -> Vec<String> {
        let parts = text.split(',').map(|part| part.trim().trim_start_matches('@').to_owned());
        parts.filter(|part| !part.is_empty()).collect()
    };
    let (domains, emails) = (items(&domains), items(&emails));
    for domain in domains.iter().filter(|domain| domain.contains('@') || !domain.contains('.')) {
        env.fault(format!("{ENV_DOMAINS}: `{domain}` is no domain"));
    }
    for email in emails.iter().filter(|email| !email.contains('@')) {
        env.fault(format!("{ENV_EMAILS}: `{email}` is no e-mail address"));
    }
    let guests = GuestList::new(&domains, &emails);
    let anyone = env.flag_or(ENV_ANYONE, false);
    if guests.is_empty() && !anyone && issuer == GOOGLE {
        env.fault(format!(
            "with Google, everybody in the world could sign in: name who may come in with {ENV_DOMAINS} or {ENV_EMAILS}, or \
             set {ENV_ANYONE}=true"
        ));
    }
    if anyone && !guests.is_empty() {
        env.fault(format!("{ENV_ANYONE}=true does not go with {ENV_DOMAINS} or {ENV_EMAILS}"));
    }
    guests
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: [(&str, &str); 3] = [
        ("OIDC_CLIENT_ID", "subtide"),
        ("OIDC_ISSUER", "http://127.0.0.1:9000"),
        ("PUBLIC_URL", "http://localhost:5026/"),
    ];

    fn faults<const N: usize>(pairs: [(&str, &str); N]) -> String {
        let mut env = Env::of(pairs);
        OidcConfig::from_env(&mut env);
        env.finish().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn without_a_client_id_there_is_no_sign_in() {
        let mut env = Env::of([("OIDC_ISSUER", "nonsense")]);
        assert!(OidcConfig::from_env(&mut env).is_none());
        assert!(env.finish().is_ok());
    }

    #[test]
    fn one_s_own_provider_needs_little() {
        let mut env = Env::of(LOCAL);
        let config = OidcConfig::from_env(&mut env).unwrap();
        assert!(env.finish().is_ok());
        assert_eq!(config.callback(), "http://localhost:5026/auth/callback");
        assert_eq!(config.native.id, "subtide");
        assert!(config.guests.is_empty());
    }

    #[test]
    fn google_lets_nobody_in_unless_somebody_is_named() {
        let google = |key, value| {
            faults([
                ("OIDC_CLIENT_ID", "x"),
                ("OIDC_CLIENT_SECRET", "y"),
                ("PUBLIC_URL", "https://captions.example.com"),
                (key, value),
            ])
        };
        assert!(google("LOG_LEVEL", "info").contains("ALLOWED_EMAIL_DOMAINS"));
        assert_eq!(google("ALLOWED_EMAIL_DOMAINS", "example.com, @example.org"), "");
        assert_eq!(google("ALLOWED_EMAILS", "ann@example.com"), "");
        assert_eq!(google("ALLOW_ANYONE", "true"), "");
        assert!(google("ALLOWED_EMAILS", "ann").contains("no e-mail address"));
    }

    #[test]
    fn what_is_not_secure_or_not_whole_is_a_fault_that_names_its_key() {
        let [id, issuer, url] = LOCAL;
        assert!(faults([id, url, ("OIDC_ISSUER", "http://issuer.example")]).contains("OIDC_ISSUER"));
        assert!(faults([id, issuer]).contains("PUBLIC_URL must be set"));
        for bad in ["http://captions.example.com", "https://captions.example.com/app", "captions", "https://u:p@x.org"]
        {
            assert!(faults([id, issuer, ("PUBLIC_URL", bad)]).contains("PUBLIC_URL"), "{bad}");
        }
        let missing = faults([id, url, ("ALLOW_ANYONE", "true"), ("OIDC_ISSUER", GOOGLE)]);
        assert!(missing.contains("Google wants a client secret"), "{missing}");
    }
}
