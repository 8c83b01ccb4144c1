//! `subtide models`: gets models from a hub, and says which are here.
//!
//! # Layout
//! - `hub`: asks a hub what a model is made of
//! - `selection`: which of its files inference needs
//! - `download`: one file, resumed where it broke off, checked before it takes its place
//! - `local`: what lies below `MODELS_DIR`
//!
//! Absent on purpose: anything that runs without being asked to. Only this command opens a connection to a hub; a
//! server that lacks a model says which command gets it.

mod download;
mod hub;
mod local;
mod selection;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use indicatif::HumanBytes;
use shared::{
    config::{Env, SecretString},
    models::{DEFAULT_STT_MODEL, DEFAULT_TRANSLATION_MODEL, models_dir, speech_model_name},
};

pub use self::{download::DownloadError, hub::HubError, selection::SelectionError};
use self::{
    download::{Download, Outcome},
    hub::Hub,
    selection::select,
};
use crate::output;

/// `HF_ENDPOINT`: the hub to pull from, any server that speaks the Hugging Face Hub's API.
pub const ENV_HF_ENDPOINT: &str = "HF_ENDPOINT";
/// Default of [`ENV_HF_ENDPOINT`].
pub const DEFAULT_HF_ENDPOINT: &str = "https://huggingface.co";
/// `HF_TOKEN` (or `HF_TOKEN_FILE`): access token for models that are private or want their licence accepted.
pub const ENV_HF_TOKEN: &str = "HF_TOKEN";

/// Names that `MODEL_SIZE` knows, and so `pull` does too.
const WHISPER_SIZES: [&str; 13] = [
    "tiny",
    "tiny.en",
    "base",
    "base.en",
    "small",
    "small.en",
    "medium",
    "medium.en",
    "large",
    "large-v2",
    "large-v3",
    "large-v3-turbo",
    "turbo",
];

/// What to pull.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct PullArgs {
    /// A model's name on the hub (openai/whisper-small), or a size of Whisper (small, large-v3, turbo)
    pub name: String,
    /// Branch, tag or commit; refs/pr/N for a pull request
    #[arg(long, default_value = "main")]
    pub revision: String,
    /// Download files again that are already here and intact
    #[arg(long)]
    pub force: bool,
    /// A GGUF file to take instead of the other weights (T5 and MADLAD-400), say model-q4k.gguf
    #[arg(long)]
    pub gguf: Option<String>,
}

/// Where models come from and go to.
#[derive(Debug, Clone)]
pub struct Store {
    /// Root of the hub's addresses.
    pub endpoint: String,
    /// Bearer token, sent to `endpoint` alone.
    pub token: Option<SecretString>,
    /// Directory that gets one subdirectory a model.
    pub models_dir: PathBuf,
}

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Directory of the model.
    pub directory: PathBuf,
    /// Files that were downloaded, in order.
    pub downloaded: Vec<String>,
    /// Files that were here already, intact.
    pub kept: Vec<String>,
}

impl Store {
    /// Reads `HF_ENDPOINT`, `HF_TOKEN` and `MODELS_DIR`.
    pub fn from_env(env: &mut Env) -> Self {
        Self {
            endpoint: env.get(ENV_HF_ENDPOINT).unwrap_or_else(|| DEFAULT_HF_ENDPOINT.to_owned()),
            token: env.secret(ENV_HF_TOKEN),
            models_dir: models_dir(env),
        }
    }

    /// Gets what inference needs of a model. Every file is checked against the hub's checksum before it takes its
    /// place; one that broke off goes on where it stopped, now or in a later call.
    ///
    /// # Errors
    /// When the name is none, the hub is out of reach or refuses, the model has no weights that can be loaded, or a
    /// file arrives damaged. The message says what to do.
    pub async fn pull(&self, args: &PullArgs) -> anyhow::Result<Pulled> {
        let name = hub_name(&args.name)?;
        let hub = Hub::new(&self.endpoint, self.token.clone())?;
        let listing = hub.listing(&name, &args.revision).await.with_context(|| by_hand(&name, &self.models_dir))?;
        let files = select(&name, &listing.files, args.gguf.as_deref())?;
        let directory = self.models_dir.join(&name);
        tokio::fs::create_dir_all(&directory).await.with_context(|| format!("cannot make {}", directory.display()))?;

        let bytes: u64 = files.iter().map(|file| file.size).sum();
        say(&format!("{name} ({}): {} files, {}", listing.commit, files.len(), HumanBytes(bytes)));
        let mut pulled = Pulled { directory, downloaded: Vec::new(), kept: Vec::new() };
        for file in files {
            let url = hub.file_url(&name, &listing.commit, &file.name);
            let download = Download { hub: &hub, url, directory: &pulled.directory, file };
            match download.run(args.force).await? {
                Outcome::Downloaded => pulled.downloaded.push(file.name.clone()),
                Outcome::AlreadyThere => pulled.kept.push(file.name.clone()),
            }
        }
        Ok(pulled)
    }
}

/// `subtide models pull`: configured by the environment, progress on stderr.
///
/// # Errors
/// As [`Store::pull`], or when the environment is unusable.
pub async fn pull(args: PullArgs) -> anyhow::Result<()> {
    let mut env = Env::process();
    let store = Store::from_env(&mut env);
    env.finish()?;
    let pulled = store.pull(&args).await?;
    let here = pulled.kept.len();
    say(&format!(
        "{}: {} files downloaded, {here} were here and intact",
        pulled.directory.display(),
        pulled.downloaded.len()
    ));
    if let Some(setting) = local::setting_for(&pulled.directory, &hub_name(&args.name)?) {
        say(&format!("use it with {setting}"));
    }
    Ok(())
}

/// `subtide models list`: one line for each model below `MODELS_DIR`, on stdout.
///
/// # Errors
/// When `MODELS_DIR` or stdout fails.
pub fn list() -> anyhow::Result<()> {
    let dir = models_dir(&Env::process());
    let models = local::models(&dir).with_context(|| format!("cannot read {} (MODELS_DIR)", dir.display()))?;
    if models.is_empty() {
        output::print_line(&format!("no models in {}; get one with `subtide models pull small`", dir.display()))?;
    }
    for model in models {
        output::print_line(&model.to_string())?;
    }
    Ok(())
}

/// The name on the hub of what was asked for.
fn hub_name(asked: &str) -> anyhow::Result<String> {
    if [DEFAULT_STT_MODEL, DEFAULT_TRANSLATION_MODEL].contains(&asked) {
        anyhow::bail!("`{asked}` ships with Subtide in models/ and is on no hub; does MODELS_DIR point there?");
    }
    if WHISPER_SIZES.contains(&asked) {
        return Ok(speech_model_name(None, Some(asked)));
    }
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !part.contains("..")
    };
    match asked.split_once('/') {
        Some((org, name)) if part(org) && part(name) => Ok(asked.to_owned()),
        _ => anyhow::bail!(
            "`{asked}` is neither a model on a hub (organisation/name) nor a size of Whisper ({})",
            WHISPER_SIZES.join(", ")
        ),
    }
}

fn by_hand(name: &str, models_dir: &Path) -> String {
    format!(
        "`{name}` was not pulled (without a connection: copy the model's directory from a machine that has it to {})",
        models_dir.join(name).display()
    )
}

/// For the person at the terminal; stdout stays free for what programs read.
fn say(text: &str) {
    // Nobody is left to tell when stderr is closed.
    writeln!(std::io::stderr(), "{text}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whisper_on_the_hub() {
        assert_eq!(hub_name("large-v3").unwrap(), "openai/whisper-large-v3");
        assert_eq!(hub_name("turbo").unwrap(), "openai/whisper-large-v3-turbo");
        assert_eq!(hub_name("Helsinki-NLP/opus-mt-en-es").unwrap(), "Helsinki-NLP/opus-mt-en-es");
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_models_directory() {
        for name in ["../etc", "a/../b", "/etc/passwd", "a/b/c", "..", "a/..", ".hidden/x", "a\\b/c", "org/", "/", ""] {
            assert!(hub_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_model_that_ships_is_not_looked_for_on_the_hub() {
        assert!(hub_name(DEFAULT_STT_MODEL).unwrap_err().to_string().contains("ships with Subtide"));
    }
}
