//! Every key the gateway reads, with its default and the reason for it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use identity::{IdentityConfig, OidcConfig};
use shared::config::{ConfigError, Env};
use url::Url;

use crate::{door::DoorSettings, http::tls::TlsFiles, segment::DetectorKind, session::KEPT_FOR};

/// Address clients connect to.
pub const ENV_BIND: &str = "GATEWAY_BIND";
/// Loopback: nobody else gets in by accident.
pub const DEFAULT_BIND: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Port clients connect to.
pub const ENV_PORT: &str = "GATEWAY_PORT";
/// The port operators of Subtide know.
pub const DEFAULT_PORT: u16 = 5026;
/// Port of `/livez`, `/readyz`, `/health` and `/metrics`, where `HEALTH_PORT` is absent.
pub const DEFAULT_HEALTH_PORT: u16 = 8080;
/// Whether people are asked who they are.
pub const ENV_ENABLE_AUTH: &str = "ENABLE_AUTH";
/// Keys that say how somebody can be known. With none of them, nobody could be.
pub const WAYS_IN: [&str; 5] = ["JWT_SECRET", "OIDC_CLIENT_ID", "TRUSTED_ISSUERS", "DATABASE_URL", "AUTH_SECRET"];
/// Where browsers reach us.
pub const ENV_PUBLIC_URL: &str = "PUBLIC_URL";
/// Port of the admin listener; absent: there is none.
pub const ENV_ADMIN_PORT: &str = "ADMIN_PORT";
/// Address of the admin listener.
pub const ENV_ADMIN_BIND: &str = "ADMIN_BIND";
/// Silence that ends an utterance.
pub const ENV_SILENCE: &str = "SILENCE_THRESHOLD_SECONDS";
/// Long enough for a breath, short enough for a final within a second of the last word.
pub const DEFAULT_SILENCE: Duration = Duration::from_millis(600);
/// Longest utterance; a longer one is split behind its committed text, between sentences where that can be, or at last
/// cut at its quietest point.
pub const ENV_MAX_UTTERANCE: &str = "MAX_UTTERANCE_SECONDS";
/// Below the 10 s window of the demo model; raise it to 28 for Whisper's 30 s.
pub const DEFAULT_MAX_UTTERANCE: Duration = Duration::from_millis(9_000);
/// Most sessions of all gateways, and of this one; more are refused with 503.
pub const ENV_MAX_SESSIONS: &str = "MAX_SESSIONS";
/// A session costs about 100 KB and little CPU; the models are the limit long before.
pub const DEFAULT_MAX_SESSIONS: usize = 1000;
/// Voice activity detector: `earshot` or `webrtc`.
pub const ENV_VAD: &str = "VAD";
/// Directory of the web page.
pub const ENV_WEB_UI: &str = "WEB_UI_DIR";
/// Further origins whose pages may open a WebSocket, separated by commas.
pub const ENV_ORIGINS: &str = "ALLOWED_ORIGINS";

/// How the gateway knows its people.
#[derive(Debug, Clone)]
pub enum AuthMode {
    /// Nobody is asked; possible on a loopback address only.
    Off,
    /// Everybody shows a credential.
    On(Box<IdentityConfig>),
}

/// All settings of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Address of the client port; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Who gets in.
    pub auth: AuthMode,
    /// The provider where people sign in; `None`: they cannot, and show what they got elsewhere.
    pub oidc: Option<Box<OidcConfig>>,
    /// Silence that ends an utterance.
    pub silence_threshold: Duration,
    /// Longest utterance.
    pub max_utterance: Duration,
    /// Most sessions at once, of all gateways and of this one.
    pub max_sessions: usize,
    /// The other limits.
    pub door: DoorSettings,
    /// A certificate of our own; `None`: plain HTTP, behind a tunnel or on a loopback address.
    pub tls: Option<TlsFiles>,
    /// Where browsers reach us.
    pub public_url: Option<Url>,
    /// Address of the admin listener.
    pub admin: Option<SocketAddr>,
    /// Voice activity detector.
    pub vad: DetectorKind,
    /// Where the web page lies; `None` serves no page.
    pub web_ui: Option<PathBuf>,
    /// Origins allowed besides the gateway's own.
    pub allowed_origins: Vec<String>,
    /// A session is closed after so long without audio.
    pub idle_timeout: Duration,
    /// An utterance whose final does not come for so long gets a gap.
    pub final_timeout: Duration,
}

impl GatewayConfig {
    /// A gateway on a free loopback port, without sign-in: for a laptop, a demo or a test.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            addr: SocketAddr::new(DEFAULT_BIND, 0),
            auth: AuthMode::Off,
            oidc: None,
            silence_threshold: DEFAULT_SILENCE,
            max_utterance: DEFAULT_MAX_UTTERANCE,
            max_sessions: DEFAULT_MAX_SESSIONS,
            door: DoorSettings::default(),
            tls: None,
            public_url: None,
            admin: None,
            vad: DetectorKind::Earshot,
            web_ui: None,
            allowed_origins: Vec::new(),
            idle_timeout: Duration::from_secs(600),
            final_timeout: Duration::from_secs(60),
        }
    }

    /// Nobody waits for a job that is older: its session was told that there is no answer, or is too far gone to be resumed.
    /// (One that was resumed at the last moment waits anew, and has its gap a little sooner than it would have.)
    #[must_use]
    pub fn jobs_wanted_for(&self) -> Duration {
        KEPT_FOR + self.final_timeout
    }

    /// Nobody is asked to sign in, and there is neither TLS nor an admin listener, whatever the environment says: for commands
    /// that are their own only client.
    pub fn ask_nobody(&mut self) {
        (self.auth, self.oidc, self.tls, self.admin) = (AuthMode::Off, None, None, None);
    }

    /// Reads every key of the gateway, and refuses combinations that would let strangers in. Faults are recorded in
    /// `env`; the value returned is only good when [`Env::finish`] is.
    pub fn from_env(env: &mut Env) -> Self {
        let config = Self::from_env_without_auth(env);
        let auth = auth_from_env(env, config.addr.ip());
        let admin = admin_from_env(env, &auth);
        let asks = matches!(auth, AuthMode::On(_));
        let oidc = asks.then(|| OidcConfig::from_env(env)).flatten().map(Box::new);
        Self { auth, oidc, admin, ..config }
    }

    /// As [`GatewayConfig::from_env`], leaving the keys of sign-in alone: nobody is asked. Only for loopback addresses.
    pub fn from_env_without_auth(env: &mut Env) -> Self {
        let mut config = Self::loopback();
        let ip = env.parse_or(ENV_BIND, DEFAULT_BIND);
        config.addr = SocketAddr::new(ip, env.parse_or(ENV_PORT, DEFAULT_PORT));
        config.silence_threshold = env.seconds_or(ENV_SILENCE, DEFAULT_SILENCE, 0.2..=5.0);
        config.max_utterance = env.seconds_or(ENV_MAX_UTTERANCE, DEFAULT_MAX_UTTERANCE, 4.0..=29.0);
        config.max_sessions = env.parse_or(ENV_MAX_SESSIONS, DEFAULT_MAX_SESSIONS);
        config.door = DoorSettings::from_env(env);
        config.tls = TlsFiles::from_env(env);
        config.public_url = env.parse(ENV_PUBLIC_URL);
        config.vad = env.parse_or(ENV_VAD, DetectorKind::Earshot);
        config.web_ui = env.get(ENV_WEB_UI).map(PathBuf::from).or_else(default_web_ui);
        config.allowed_origins = env
            .get(ENV_ORIGINS)
            .map(|list| list.split(',').map(|o| o.trim().trim_end_matches('/').to_owned()).collect())
            .unwrap_or_default();
        config
    }

    /// [`GatewayConfig::from_env`] and [`Env::finish`] in one.
    ///
    /// # Errors
    /// All faults of the environment.
    pub fn read(mut env: Env) -> Result<Self, ConfigError> {
        let config = Self::from_env(&mut env);
        env.finish().map(|()| config)
    }
}

/// `web-ui/page` beside the working directory, when the program runs from a checkout.
fn default_web_ui() -> Option<PathBuf> {
    let beside = PathBuf::from("web-ui/page");
    beside.join("index.html").is_file().then_some(beside)
}

/// Whether `env` says how somebody can be known.
#[must_use]
pub fn has_way_in(env: &Env) -> bool {
    WAYS_IN.iter().any(|key| env.get(key).is_some() || env.get(&format!("{key}_FILE")).is_some())
}

fn auth_from_env(env: &mut Env, ip: IpAddr) -> AuthMode {
    if !env.flag_or(ENV_ENABLE_AUTH, true) {
        if !ip.is_loopback() {
            env.fault(format!(
                "{ENV_ENABLE_AUTH}=false with {ENV_BIND}={ip}: without sign-in the gateway listens on a loopback \
                 address only; set {ENV_BIND}=127.0.0.1, or {ENV_ENABLE_AUTH}=true"
            ));
        }
        return AuthMode::Off;
    }
    if !has_way_in(env) {
        env.fault(format!(
            "nobody could sign in: set one of {} (a JWT_SECRET is made with `openssl rand -hex 32`; DATABASE_URL is enough \
             for API keys), or {ENV_ENABLE_AUTH}=false to run without sign-in on a loopback address",
            WAYS_IN.join(", ")
        ));
        return AuthMode::Off;
    }
    AuthMode::On(Box::new(IdentityConfig::from_env(env)))
}

fn admin_from_env(env: &mut Env, auth: &AuthMode) -> Option<SocketAddr> {
    let ip = env.parse_or(ENV_ADMIN_BIND, DEFAULT_BIND);
    let port = env.parse(ENV_ADMIN_PORT)?;
    if matches!(auth, AuthMode::Off) {
        env.fault(format!("{ENV_ADMIN_PORT}={port} without sign-in: nobody could prove to be an operator"));
        return None;
    }
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn without_sign_in_only_loopback_is_allowed() {
        let open = Env::of([("ENABLE_AUTH", "false"), ("GATEWAY_BIND", "0.0.0.0")]);
        assert!(GatewayConfig::read(open).is_err_and(|e| e.to_string().contains("GATEWAY_BIND=0.0.0.0")));
        for loopback in ["127.0.0.1", "::1"] {
            let env = Env::of([("ENABLE_AUTH", "false"), ("GATEWAY_BIND", loopback)]);
            assert!(matches!(GatewayConfig::read(env).unwrap().auth, AuthMode::Off));
        }
    }

    #[test]
    fn sign_in_is_the_default_and_needs_a_way_in() {
        assert!(GatewayConfig::read(Env::of([])).is_err_and(|e| e.to_string().contains("JWT_SECRET")));
        assert!(GatewayConfig::read(Env::of([("JWT_SECRET", "short")])).is_err());
        let config = GatewayConfig::read(Env::of([("JWT_SECRET", SECRET), ("GATEWAY_BIND", "0.0.0.0")])).unwrap();
        assert!(matches!(config.auth, AuthMode::On(_)));
        assert!(!format!("{config:?}").contains(SECRET));
        let keys = GatewayConfig::read(Env::of([("DATABASE_URL", "sqlite:people.db")])).unwrap();
        assert!(matches!(keys.auth, AuthMode::On(_)), "API keys are a way in");
    }

    #[test]
    fn what_goes_together_is_asked_for_together() {
        let half = Env::of([("ENABLE_AUTH", "false"), ("TLS_CERT", "cert.pem")]);
        assert!(GatewayConfig::read(half).is_err_and(|e| e.to_string().contains("TLS_KEY")));
        let open = Env::of([("ENABLE_AUTH", "false"), ("ADMIN_PORT", "5027")]);
        assert!(GatewayConfig::read(open).is_err_and(|e| e.to_string().contains("ADMIN_PORT=5027")));
        let config = GatewayConfig::read(Env::of([("JWT_SECRET", SECRET), ("ADMIN_PORT", "5027")])).unwrap();
        assert_eq!(config.admin, Some("127.0.0.1:5027".parse().unwrap()));
        let bad = Env::of([("JWT_SECRET", SECRET), ("PUBLIC_URL", "captions")]);
        assert!(GatewayConfig::read(bad).is_err_and(|e| e.to_string().contains("PUBLIC_URL=captions")));
    }

    #[test]
    fn silence_must_be_sensible() {
        let env = Env::of([("ENABLE_AUTH", "false"), ("SILENCE_THRESHOLD_SECONDS", "60")]);
        assert!(GatewayConfig::read(env).is_err_and(|e| e.to_string().contains("SILENCE_THRESHOLD_SECONDS=60")));
    }
}
