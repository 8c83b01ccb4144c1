//! The only code that reads the environment.
//!
//! A role reads every key it knows through one [`Env`], then asks [`Env::finish`], which reports all faults together.
//! No port is opened before that (a worker that waits for its models to be mounted has its health port open, and tells the
//! faults of its own keys after that). A secret `KEY` may also come from a file named by `KEY_FILE`.

use std::{collections::HashMap, fmt, path::PathBuf, str::FromStr, time::Duration};

pub use secrecy::{ExposeSecret, SecretString};

type Lookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Reads keys and collects what is wrong with them.
pub struct Env {
    lookup: Lookup,
    faults: Vec<String>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:\n  - {}", faults.join("\n  - "))]
pub struct ConfigError {
    /// One sentence a fault; each names its key.
    pub faults: Vec<String>,
}

impl Env {
    /// The environment of this process. An empty value counts as absent.
    #[must_use]
    pub fn process() -> Self {
        Self { lookup: Box::new(|key| std::env::var(key).ok().filter(|v| !v.is_empty())), faults: Vec::new() }
    }

    /// An environment made of these pairs alone.
    #[must_use]
    pub fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        let map: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { lookup: Box::new(move |key| map.get(key).cloned()), faults: Vec::new() }
    }

    /// The raw value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        (self.lookup)(key)
    }

    /// Records a fault found by the caller, such as two keys that do not go together.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// The value of `key`, or `default` when it is absent or unusable (the latter is a fault).
    pub fn parse_or<T>(&mut self, key: &str, default: T) -> T
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.parse(key).unwrap_or(default)
    }

    /// The value of `key` when it is there and usable.
    pub fn parse<T>(&mut self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.get(key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(format!("{key}={text}: {error}"));
                None
            }
        }
    }

    /// A number of seconds (`0.6`, `15`) within `range`, as a duration.
    pub fn seconds_or(&mut self, key: &str, default: Duration, range: std::ops::RangeInclusive<f64>) -> Duration {
        let Some(seconds) = self.parse::<f64>(key) else { return default };
        if range.contains(&seconds) {
            return Duration::from_secs_f64(seconds);
        }
        self.fault(format!("{key}={seconds}: must be between {} and {} seconds", range.start(), range.end()));
        default
    }

    /// `true` or `false` (also `1` and `0`).
    pub fn flag_or(&mut self, key: &str, default: bool) -> bool {
        match self.get(key).as_deref() {
            None => default,
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(other) => {
                self.fault(format!("{key}={other}: must be true or false"));
                default
            }
        }
    }

    /// A secret from `key`, or from the file that `key_FILE` names.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        if let Some(value) = self.get(key) {
            return Some(value.into());
        }
        let file_key = format!("{key}_FILE");
        let path = PathBuf::from(self.get(&file_key)?);
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim_end().to_owned().into()),
            Err(error) => {
                self.fault(format!("{file_key}={}: {error}", path.display()));
                None
            }
        }
    }

    /// As [`Env::finish`], for who has more keys to read.
    ///
    /// # Errors
    /// All the faults found so far.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.faults.is_empty() { Ok(()) } else { Err(ConfigError { faults: self.faults.clone() }) }
    }

    /// # Errors
    /// All the faults found since this `Env` was made.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.faults.is_empty() { Ok(()) } else { Err(ConfigError { faults: self.faults }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_reported_together_and_name_their_keys() {
        let mut env = Env::of([("PORT", "many"), ("SILENCE", "-1"), ("ON", "maybe")]);
        assert_eq!(env.parse_or("PORT", 5026_u16), 5026);
        env.seconds_or("SILENCE", Duration::from_millis(600), 0.1..=5.0);
        env.flag_or("ON", false);
        let error = env.finish().unwrap_err().to_string();
        for key in ["PORT=many", "SILENCE=-1", "ON=maybe"] {
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_secret_may_come_from_a_file_and_is_never_printed() {
        let path = std::env::temp_dir().join(format!("subtide-secret-{}", std::process::id()));
        std::fs::write(&path, "hush\n").unwrap();
        let mut env = Env::of([("JWT_SECRET_FILE", path.to_str().unwrap())]);
        let secret = env.secret("JWT_SECRET").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secret.expose_secret(), "hush");
        assert!(!format!("{secret:?}").contains("hush"));
    }

    #[test]
    fn a_missing_secret_file_is_a_fault() {
        let mut env = Env::of([("JWT_SECRET_FILE", "/nonexistent/secret")]);
        assert!(env.secret("JWT_SECRET").is_none());
        assert!(env.finish().is_err_and(|e| e.to_string().contains("JWT_SECRET_FILE=/nonexistent/secret")));
    }
}
