//! What lies below `MODELS_DIR`.

use std::{fmt, fs, io, path::Path};

use indicatif::HumanBytes;
use serde::Deserialize;
use shared::models::ENV_STT_MODEL;
use translation_worker::config::{ENV_MODEL as ENV_TRANSLATION_MODEL, ENV_MODELS as ENV_TRANSLATION_MODELS};

/// A model on this machine, shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalModel {
    /// Below `MODELS_DIR`.
    name: String,
    /// `model_type` of its `config.json`.
    kind: String,
    /// Of its files, in bytes.
    size: u64,
    /// A transfer that is not finished.
    partial: bool,
}

impl fmt::Display for LocalModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, size, partial } = self;
        let note = if *partial { "  (broken off: pull it again)" } else { "" };
        write!(f, "{name:<40} {kind:<10} {:>12}{note}", HumanBytes(*size).to_string())
    }
}

#[derive(Deserialize)]
struct ModelConfig {
    model_type: String,
}

/// The models directly below `dir` and one level deeper (`organisation/name`), by name; none when `dir` is not there.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn models(dir: &Path) -> io::Result<Vec<LocalModel>> {
    let mut models = Vec::new();
    for (name, path) in directories(dir)? {
        if let Some(model) = model(&name, &path)? {
            models.push(model);
            continue;
        }
        for (below, path) in directories(&path)? {
            models.extend(model(&format!("{name}/{below}"), &path)?);
        }
    }
    Ok(models)
}

/// What to put into the environment to choose the model `name` in `directory`.
pub(super) fn setting_for(directory: &Path, name: &str) -> Option<String> {
    match kind(directory)?.as_str() {
        "whisper" => Some(format!("{ENV_STT_MODEL}={name}")),
        "marian" => Some(format!("{ENV_TRANSLATION_MODEL}={name}")),
        // One for all languages.
        "m2m_100" | "t5" | "mt5" => Some(format!("{ENV_TRANSLATION_MODELS}=*={name}")),
        _ => None,
    }
}

fn kind(directory: &Path) -> Option<String> {
    let config = fs::read(directory.join("config.json")).ok()?;
    Some(serde_json::from_slice::<ModelConfig>(&config).ok()?.model_type)
}

fn model(name: &str, path: &Path) -> io::Result<Option<LocalModel>> {
    let Some(kind) = kind(path) else { return Ok(None) };
    let (mut size, mut partial) = (0, false);
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        size += entry.metadata()?.len();
        partial |= entry.path().extension().is_some_and(|extension| extension == "part");
    }
    Ok(Some(LocalModel { name: name.to_owned(), kind, size, partial }))
}

fn directories(dir: &Path) -> io::Result<Vec<(String, std::path::PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_dir(), path.file_name()) {
            found.push((name.to_string_lossy().into_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}
