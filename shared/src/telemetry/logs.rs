//! Logs: where they go and how they look. No secret, token or spoken text is ever logged.

use std::{fmt, str::FromStr};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{format::JsonFields, layer as lines},
    registry::LookupSpan,
};

use super::json::Json;
use crate::config::Env;

/// `LOG_LEVEL`: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,gateway=debug`.
pub const ENV_LOG_LEVEL: &str = "LOG_LEVEL";
/// `LOG_FORMAT`: `text` or `json`.
pub const ENV_LOG_FORMAT: &str = "LOG_FORMAT";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json".to_owned()),
        }
    }
}

/// What to log and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    filter: String,
    format: LogFormat,
}

impl LogConfig {
    /// Reads `LOG_LEVEL` (default `default_level`) and `LOG_FORMAT`.
    pub fn from_env(env: &mut Env, default_level: &str) -> Self {
        let filter = env.get(ENV_LOG_LEVEL).unwrap_or_else(|| default_level.to_owned());
        if let Err(error) = EnvFilter::try_new(&filter) {
            env.fault(format!("{ENV_LOG_LEVEL}={filter}: {error}"));
        }
        Self { filter, format: env.parse_or(ENV_LOG_FORMAT, LogFormat::default()) }
    }
}

impl fmt::Display for LogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.filter, self.format)
    }
}

/// Writes lines to standard error. `LOG_LEVEL` filters them and nothing else.
pub(super) fn layer<S>(config: &LogConfig) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    match config.format {
        LogFormat::Text => lines().with_writer(std::io::stderr).with_filter(filter).boxed(),
        LogFormat::Json => {
            let lines = lines().fmt_fields(JsonFields::new()).event_format(Json);
            lines.with_writer(std::io::stderr).with_filter(filter).boxed()
        }
    }
}
