//! Every key the gateway reads, with its default and the reason for it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use shared::config::{ConfigError, Env, ExposeSecret, SecretString};

use crate::segment::DetectorKind;

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
/// Whether a bearer token is needed.
pub const ENV_ENABLE_AUTH: &str = "ENABLE_AUTH";
/// Secret of HS256 tokens (or `JWT_SECRET_FILE`).
pub const ENV_JWT_SECRET: &str = "JWT_SECRET";
/// RFC 7518 §3.2: a key of at least the size of the hash output, 256 bits.
pub const MIN_JWT_SECRET_BYTES: usize = 32;
/// Silence that ends an utterance.
pub const ENV_SILENCE: &str = "SILENCE_THRESHOLD_SECONDS";
/// Long enough for a breath, short enough for a final within a second of the last word.
pub const DEFAULT_SILENCE: Duration = Duration::from_millis(600);
/// Longest utterance; a longer one is split behind its committed text, between sentences where that can be, or at last
/// cut at its quietest point.
pub const ENV_MAX_UTTERANCE: &str = "MAX_UTTERANCE_SECONDS";
/// Below the 10 s window of the demo model; raise it to 28 for Whisper's 30 s.
pub const DEFAULT_MAX_UTTERANCE: Duration = Duration::from_millis(9_000);
/// Most sessions of this gateway; more are refused with 503.
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
    /// `Authorization: Bearer` with an HS256 token signed with this secret.
    Hs256(SecretString),
}

/// All settings of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Address of the client port; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Who gets in.
    pub auth: AuthMode,
    /// Silence that ends an utterance.
    pub silence_threshold: Duration,
    /// Longest utterance.
    pub max_utterance: Duration,
    /// Most sessions at once.
    pub max_sessions: usize,
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
            silence_threshold: DEFAULT_SILENCE,
            max_utterance: DEFAULT_MAX_UTTERANCE,
            max_sessions: DEFAULT_MAX_SESSIONS,
            vad: DetectorKind::Earshot,
            web_ui: None,
            allowed_origins: Vec::new(),
            idle_timeout: Duration::from_secs(600),
            final_timeout: Duration::from_secs(60),
        }
    }

    /// Reads every key of the gateway, and refuses combinations that would let strangers in. Faults are recorded in
    /// `env`; the value returned is only good when [`Env::finish`] is.
    pub fn from_env(env: &mut Env) -> Self {
        let config = Self::from_env_without_auth(env);
        Self { auth: auth_from_env(env, config.addr.ip()), ..config }
    }

    /// As [`GatewayConfig::from_env`], leaving the keys of sign-in alone: nobody is asked. Only for loopback addresses.
    pub fn from_env_without_auth(env: &mut Env) -> Self {
        let mut config = Self::loopback();
        let ip = env.parse_or(ENV_BIND, DEFAULT_BIND);
        config.addr = SocketAddr::new(ip, env.parse_or(ENV_PORT, DEFAULT_PORT));
        config.silence_threshold = env.seconds_or(ENV_SILENCE, DEFAULT_SILENCE, 0.2..=5.0);
        config.max_utterance = env.seconds_or(ENV_MAX_UTTERANCE, DEFAULT_MAX_UTTERANCE, 4.0..=29.0);
        config.max_sessions = env.parse_or(ENV_MAX_SESSIONS, DEFAULT_MAX_SESSIONS);
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

/// `web-ui` beside the working directory, when the program runs from a checkout.
fn default_web_ui() -> Option<PathBuf> {
    let beside = PathBuf::from("web-ui");
    beside.join("index.html").is_file().then_some(beside)
}

fn auth_from_env(env: &mut Env, ip: IpAddr) -> AuthMode {
    let secret = env.secret(ENV_JWT_SECRET);
    if !env.flag_or(ENV_ENABLE_AUTH, true) {
        if !ip.is_loopback() {
            env.fault(format!(
                "{ENV_ENABLE_AUTH}=false with {ENV_BIND}={ip}: without sign-in the gateway listens on a loopback \
                 address only; set {ENV_BIND}=127.0.0.1, or {ENV_ENABLE_AUTH}=true with {ENV_JWT_SECRET}"
            ));
        }
        return AuthMode::Off;
    }
    match secret {
        Some(secret) if secret.expose_secret().len() >= MIN_JWT_SECRET_BYTES => AuthMode::Hs256(secret),
        Some(_) => {
            env.fault(format!(
                "{ENV_JWT_SECRET}: shorter than {MIN_JWT_SECRET_BYTES} bytes; make one with `openssl rand -hex 32`"
            ));
            AuthMode::Off
        }
        None => {
            env.fault(format!(
                "{ENV_JWT_SECRET} (or {ENV_JWT_SECRET}_FILE) is not set; make one with `openssl rand -hex 32`, or set \
                 {ENV_ENABLE_AUTH}=false to run without sign-in on a loopback address"
            ));
            AuthMode::Off
        }
    }
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
    fn sign_in_is_the_default_and_needs_a_good_secret() {
        assert!(GatewayConfig::read(Env::of([])).is_err_and(|e| e.to_string().contains("JWT_SECRET")));
        assert!(GatewayConfig::read(Env::of([("JWT_SECRET", "short")])).is_err());
        let config = GatewayConfig::read(Env::of([("JWT_SECRET", SECRET), ("GATEWAY_BIND", "0.0.0.0")])).unwrap();
        assert!(matches!(config.auth, AuthMode::Hs256(_)));
        assert!(!format!("{config:?}").contains(SECRET));
    }

    #[test]
    fn silence_must_be_sensible() {
        let env = Env::of([("ENABLE_AUTH", "false"), ("SILENCE_THRESHOLD_SECONDS", "60")]);
        assert!(GatewayConfig::read(env).is_err_and(|e| e.to_string().contains("SILENCE_THRESHOLD_SECONDS=60")));
    }
}
