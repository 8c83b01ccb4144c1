//! Where models lie on disk: from the names people give them to directories.
//!
//! A model is a directory, or the name it was pulled under (`openai/whisper-tiny`), which is a path below
//! `MODELS_DIR`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::config::Env;

/// `MODELS_DIR`: where `subtide models pull` puts models.
pub const ENV_MODELS_DIR: &str = "MODELS_DIR";
/// Default of [`ENV_MODELS_DIR`], relative to the working directory.
pub const DEFAULT_MODELS_DIR: &str = "models";
/// `STT_MODEL`: the speech model, a directory or a name.
pub const ENV_STT_MODEL: &str = "STT_MODEL";
/// `MODEL_SIZE`: the speech model as a size of OpenAI's Whisper (`tiny` ... `large-v3`), when `STT_MODEL` is absent.
pub const ENV_MODEL_SIZE: &str = "MODEL_SIZE";
/// The speech model when neither is given; it ships with Subtide.
pub const DEFAULT_STT_MODEL: &str = "demo-stt-en";
/// The translation model when none is given, English to Spanish; it ships with Subtide.
pub const DEFAULT_TRANSLATION_MODEL: &str = "demo-mt-en-es";

/// As long as a worker tries to load a model.
const MOUNTED_WITHIN: Duration = Duration::from_secs(7);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// No directory goes by that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "model `{name}` is not there: neither `{name}` nor `{}` is a directory; get it with `subtide models pull {name}`",
    below.display()
)]
pub struct ModelNotFound {
    /// What was asked for.
    pub name: String,
    /// Where it would lie.
    pub below: PathBuf,
}

/// The directory of the model `name`: itself when that is a directory, else `models_dir/name`.
///
/// # Errors
/// When neither exists.
pub fn resolve(models_dir: &Path, name: &str) -> Result<PathBuf, ModelNotFound> {
    let below = models_dir.join(name);
    [PathBuf::from(name), below.clone()]
        .into_iter()
        .find(|path| path.is_dir())
        .ok_or_else(|| ModelNotFound { name: name.to_owned(), below })
}

/// The name of the speech model: `stt_model`, else the Whisper of `model_size`, else the one that ships.
#[must_use]
pub fn speech_model_name(stt_model: Option<&str>, model_size: Option<&str>) -> String {
    match (stt_model, model_size) {
        (Some(name), _) => name.to_owned(),
        (None, Some("turbo")) => "openai/whisper-large-v3-turbo".to_owned(),
        (None, Some(size)) => format!("openai/whisper-{size}"),
        (None, None) => DEFAULT_STT_MODEL.to_owned(),
    }
}

/// Reads `MODELS_DIR`.
#[must_use]
pub fn models_dir(env: &Env) -> PathBuf {
    env.get(ENV_MODELS_DIR).unwrap_or_else(|| DEFAULT_MODELS_DIR.to_owned()).into()
}

/// The directory of the speech model that `STT_MODEL`, `MODEL_SIZE` and `MODELS_DIR` name. One that is not there is a
/// fault of the configuration.
pub fn speech_model_dir(env: &mut Env) -> PathBuf {
    let name = speech_model_name(env.get(ENV_STT_MODEL).as_deref(), env.get(ENV_MODEL_SIZE).as_deref());
    dir_or_fault(env, &name)
}

/// Waits, 7 s at most, while `MODELS_DIR` names a directory that is not there or empty: the place of a volume that is mounted
/// late, where a name would be refused that is right.
pub async fn until_mounted(env: &Env) {
    if env.get(ENV_MODELS_DIR).is_none() {
        return;
    }
    let dir = models_dir(env);
    let is_empty = || std::fs::read_dir(&dir).map_or(true, |mut entries| entries.next().is_none());
    let deadline = Instant::now() + MOUNTED_WITHIN;
    while is_empty() && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
}

/// The directory of the model `name` below `MODELS_DIR`. One that is not there is a fault of the configuration.
pub fn dir_or_fault(env: &mut Env, name: &str) -> PathBuf {
    let dir = models_dir(env);
    resolve(&dir, name).unwrap_or_else(|missing| {
        env.fault(missing.to_string());
        missing.below
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whisper_and_a_model_given_by_name_comes_first() {
        assert_eq!(speech_model_name(None, Some("large-v3")), "openai/whisper-large-v3");
        assert_eq!(speech_model_name(None, Some("turbo")), "openai/whisper-large-v3-turbo");
        assert_eq!(speech_model_name(Some("mine"), Some("tiny")), "mine");
        assert_eq!(speech_model_name(None, None), DEFAULT_STT_MODEL);
    }

    #[test]
    fn a_missing_model_is_named_with_the_command_that_gets_it() {
        let mut env = Env::of([("MODEL_SIZE", "tiny"), ("MODELS_DIR", "/nonexistent/models")]);
        speech_model_dir(&mut env);
        let error = env.finish().unwrap_err().to_string();
        for part in ["/nonexistent/models/openai/whisper-tiny", "subtide models pull openai/whisper-tiny"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_name_is_looked_for_below_the_models_directory() {
        let dir = std::env::temp_dir().join(format!("subtide-models-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("openai/whisper-tiny")).unwrap();
        assert_eq!(resolve(&dir, "openai/whisper-tiny").unwrap(), dir.join("openai/whisper-tiny"));
        assert_eq!(resolve(&dir, dir.to_str().unwrap()).unwrap(), dir);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
