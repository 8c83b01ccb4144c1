//! Local mode: gateway and workers in this process, on a loopback port. No other machine can reach it, and the gateway turns
//! away the pages of browsers; another program of this machine could open a session of its own there, and would hear nothing
//! of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use client::{ClientError, Credential, TokenSource};
use secrecy::SecretString;
use serde::Deserialize;
use shared::config::Env;
use subtide::roles::{Roles, Settings};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

/// The models that come with the program.
const SHIPPED_SPEECH: &str = "demo-stt-en";
const SHIPPED_TRANSLATION: &str = "demo-mt-en-es";
/// How long a session may be paused.
const IDLE: Duration = Duration::from_hours(24);
/// Models that nobody listens with any more have nothing to say; they may take so long to end.
const END: Duration = Duration::from_secs(10);
/// How deep below the chosen folder models are looked for: `organisation/name`.
const DEPTH: usize = 2;

/// The roles in this process, once they are wanted.
#[derive(Debug)]
pub(crate) struct Local {
    /// Where the models lie that come with the program.
    shipped: PathBuf,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    model: String,
    roles: Roles,
    /// Each [`Guest`] has a receiver of it.
    guests: watch::Sender<()>,
}

/// What a session shows at the door. Nobody is asked there, so it says nothing; but it lives as long as the session does, and the
/// models stay as long.
#[derive(Debug)]
struct Guest {
    _stays: watch::Receiver<()>,
}

#[async_trait]
impl TokenSource for Guest {
    async fn token(&self, _fresh: bool) -> Result<SecretString, ClientError> {
        Ok("guest".into())
    }
}

/// The models of a folder, by what they do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Models {
    /// Whisper.
    speech: Option<PathBuf>,
    /// Marian; the name of each ends in its pair of languages.
    pairs: Vec<(String, PathBuf)>,
    /// One for all pairs.
    any: Option<PathBuf>,
}

#[derive(Deserialize)]
struct ModelConfig {
    model_type: String,
}

impl Local {
    pub(crate) fn new(shipped: PathBuf) -> Self {
        Self { shipped, running: Mutex::new(None) }
    }

    /// Address of the stream, with the models in the folder `model` (empty: those that come with the program), and what to show
    /// there. They are loaded where they are not yet; others are let go, once no session with them is left.
    ///
    /// # Errors
    /// When there is no such model, or it cannot be loaded.
    pub(crate) async fn way_in(&self, model: &str) -> anyhow::Result<(String, Credential)> {
        let mut running = self.running.lock().await;
        if let Some(error) = running.as_mut().and_then(|running| running.roles.failure()) {
            tracing::warn!(error = format!("{error:#}"), "local mode broke; it begins anew");
            *running = None;
        }
        if let Some(running) = running.as_ref().filter(|running| running.model == model) {
            return Ok(running.way_in());
        }
        let wanted = settings(&self.shipped, model)?;
        if let Some(before) = running.take() {
            before.let_go().await;
        }
        let (model, guests) = (model.to_owned(), watch::Sender::new(()));
        Ok(running.insert(Running { model, roles: Roles::start(wanted).await?, guests }).way_in())
    }

    /// Lets the models go because captions are made elsewhere, once no session with them is left.
    pub(crate) async fn rest(&self) {
        let before = self.running.lock().await.take();
        if let Some(before) = before {
            before.let_go().await;
        }
    }

    /// Lets the models go; what a gateway still owes it may send for so long.
    pub(crate) async fn stop(&self, patience: Duration) {
        // Models may just be being loaded; that, too, is waited for no longer.
        let stopped = timeout(patience, async {
            let running = self.running.lock().await.take();
            if let Some(running) = running { running.roles.stop().await } else { Ok(()) }
        });
        if let Ok(Err(error)) = stopped.await {
            tracing::warn!(error = format!("{error:#}"), "a role did not stop in order");
        }
    }
}

impl Running {
    fn way_in(&self) -> (String, Credential) {
        let guest = Guest { _stays: self.guests.subscribe() };
        (self.roles.url(), Credential::Source(Arc::new(guest)))
    }

    /// Ends at once where nobody is a guest, so that there is room for other models; else when the last one has left.
    async fn let_go(self) {
        if self.guests.is_closed() {
            self.end().await;
        } else {
            tokio::spawn(async move {
                self.guests.closed().await;
                self.end().await;
            });
        }
    }

    async fn end(self) {
        if let Ok(Err(error)) = timeout(END, self.roles.stop()).await {
            tracing::warn!(error = format!("{error:#}"), "a role did not stop in order");
        }
    }
}

/// What the roles have to know: nothing of it comes from the environment, and nobody is asked to sign in.
fn settings(shipped: &Path, model: &str) -> anyhow::Result<Settings> {
    let chosen = if model.is_empty() { Models::default() } else { Models::in_folder(Path::new(model))? };
    let speech = chosen.speech.clone().unwrap_or_else(|| shipped.join(SHIPPED_SPEECH));
    let folder = shipped.to_str().context("the folder of the models has a name that is no text")?;
    let speech = speech.to_str().context("the folder of the model has a name that is no text")?;
    let mut env = Env::of([("GATEWAY_PORT", "0"), ("MODELS_DIR", folder), ("STT_MODEL", speech)]);
    let mut settings = Settings::from_env(&mut env);
    env.finish().context("local mode cannot begin: a model is not there; install the program again")?;
    settings.gateway.ask_nobody();
    settings.gateway.web_ui = None;
    // Whoever pauses for an hour goes on after it: the place is nobody else's.
    settings.gateway.idle_timeout = IDLE;
    settings.health = None;
    let shipped_pair = (SHIPPED_TRANSLATION.to_owned(), shipped.join(SHIPPED_TRANSLATION));
    settings.translation.models.clear();
    for (name, directory) in std::iter::once(shipped_pair).chain(chosen.pairs) {
        let Ok(pair) = pair_of(&name).parse() else {
            let folder = directory.display();
            tracing::warn!(%folder, "left aside: the name of a translation model ends in its pair of languages, as in -en-es");
            continue;
        };
        settings.translation.models.insert(pair, directory);
    }
    settings.translation.any = chosen.any;
    Ok(settings)
}

/// The end of a model's name: `en-es` of `opus-mt-en-es`.
fn pair_of(name: &str) -> String {
    let mut ends = name.rsplitn(3, '-');
    let (target, source) = (ends.next().unwrap_or_default(), ends.next().unwrap_or_default());
    format!("{source}-{target}")
}

impl Models {
    /// The models in `folder`, which may be one itself.
    fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let mut models = Self::default();
        models.look(folder, 0)?;
        if models == Self::default() {
            bail!(
                "there is no model in {} that Subtide knows; get one with `subtide models pull NAME`",
                folder.display()
            );
        }
        models.pairs.sort();
        Ok(models)
    }

    fn look(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        if let Some(kind) = kind(folder) {
            if is_partial(folder) {
                let folder = folder.display();
                tracing::warn!(%folder, "left aside: the model's download broke off; pull it again");
            } else {
                self.take(&kind, folder);
            }
            return Ok(());
        }
        if depth == DEPTH {
            return Ok(());
        }
        let below = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        let mut below: Vec<_> =
            below.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
        below.sort();
        for path in &below {
            // One folder that cannot be read takes nothing from the others.
            if let Err(error) = self.look(path, depth + 1) {
                tracing::warn!(error = format!("{error:#}"), "left aside");
            }
        }
        Ok(())
    }

    fn take(&mut self, kind: &str, folder: &Path) {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match kind {
            "whisper" => {
                self.speech.get_or_insert_with(|| folder.to_owned());
            }
            "marian" => self.pairs.push((name, folder.to_owned())),
            "m2m_100" | "t5" | "mt5" => {
                self.any.get_or_insert_with(|| folder.to_owned());
            }
            _ => {}
        }
    }
}

/// `model_type` of the model in `folder`; `None` where there is none.
fn kind(folder: &Path) -> Option<String> {
    let config = fs::read(folder.join("config.json")).ok()?;
    Some(serde_json::from_slice::<ModelConfig>(&config).ok()?.model_type)
}

/// Whether a download into `folder` broke off, or still goes on: `subtide models pull` calls a file so until it is whole.
fn is_partial(folder: &Path) -> bool {
    let Ok(mut files) = fs::read_dir(folder) else { return false };
    files.any(|file| file.is_ok_and(|file| file.path().extension().is_some_and(|extension| extension == "part")))
}

/// The `models` folder that came with the program: `installed`, or that of the checkout which the program was built in.
pub(crate) fn shipped_models(installed: Option<PathBuf>, program: Option<&Path>) -> PathBuf {
    let beside = program.into_iter().flat_map(Path::ancestors).map(|dir| dir.join("models"));
    let all = installed.iter().cloned().chain(beside);
    let found = all.into_iter().find(|dir| dir.join(SHIPPED_SPEECH).is_dir());
    found.or(installed).unwrap_or_else(|| PathBuf::from("models"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");

    fn model(dir: &Path, name: &str, kind: &str) {
        fs::create_dir_all(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("config.json"), format!("{{\"model_type\":\"{kind}\"}}")).unwrap();
    }

    #[test]
    fn a_folder_is_a_model_or_has_some_in_it() {
        let dir = tempfile::tempdir().unwrap();
        for (name, kind) in [
            ("openai/whisper-tiny", "whisper"),
            ("Helsinki-NLP/opus-mt-en-fr", "marian"),
            ("facebook/m2m100", "m2m_100"),
        ] {
            model(dir.path(), name, kind);
        }
        let found = Models::in_folder(dir.path()).unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(found.speech, Some(at("openai/whisper-tiny")));
        assert_eq!(found.pairs, [("opus-mt-en-fr".to_owned(), at("Helsinki-NLP/opus-mt-en-fr"))]);
        assert_eq!(found.any, Some(at("facebook/m2m100")));
        let one = Models::in_folder(&at("openai/whisper-tiny")).unwrap();
        assert_eq!(one, Models { speech: Some(at("openai/whisper-tiny")), ..Models::default() });
    }

    #[test]
    fn a_folder_without_models_says_how_to_get_some() {
        let dir = tempfile::tempdir().unwrap();
        let error = Models::in_folder(dir.path()).unwrap_err().to_string();
        assert!(error.contains("subtide models pull"), "{error}");
        assert!(Models::in_folder(&dir.path().join("nothing")).is_err());
    }

    #[test]
    fn an_odd_folder_takes_nothing_from_the_others() {
        let dir = tempfile::tempdir().unwrap();
        model(dir.path(), "opus-mt-en-fr", "marian");
        model(dir.path(), "opus-mt-en-de (copy)", "marian");
        model(dir.path(), "whisper-small", "whisper");
        fs::write(dir.path().join("whisper-small/model.safetensors.part"), "half").unwrap();
        let settings = settings(Path::new(MODELS), dir.path().to_str().unwrap()).unwrap();
        let pairs: Vec<_> = settings.translation.models.keys().map(ToString::to_string).collect();
        assert_eq!(pairs, ["en-es", "en-fr"]);
        assert_eq!(Models::in_folder(dir.path()).unwrap().speech, None, "half a model is none");
    }

    #[test]
    fn the_models_of_the_program_are_found_installed_or_in_the_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("target/debug/subtide-desktop");
        model(&dir.path().join("models"), SHIPPED_SPEECH, "whisper");
        assert_eq!(shipped_models(None, Some(&program)), dir.path().join("models"));
        let installed = dir.path().join("usr/lib");
        model(&installed, SHIPPED_SPEECH, "whisper");
        assert_eq!(shipped_models(Some(installed.clone()), Some(&program)), installed);
    }

    #[test]
    fn local_mode_is_heard_by_this_machine_alone() {
        let settings = settings(Path::new(MODELS), "").unwrap();
        assert!(settings.gateway.addr.ip().is_loopback() && settings.gateway.addr.port() == 0);
        assert!(settings.redis.is_none() && settings.health.is_none() && settings.gateway.web_ui.is_none());
        assert_eq!(pair_of("opus-mt-en-es"), "en-es");
    }

    fn local() -> Local {
        Local::new(Path::new(MODELS).to_owned())
    }

    async fn answers(url: &str) -> bool {
        let address = url.trim_start_matches("ws://").split('/').next().unwrap();
        tokio::net::TcpStream::connect(address).await.is_ok()
    }

    async fn falls_silent(url: &str) {
        timeout(Duration::from_secs(60), async {
            while answers(url).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn models_stay_as_long_as_somebody_listens_with_them() {
        let local = local();
        let (first, guest) = local.way_in("").await.unwrap();
        assert_eq!(local.way_in("").await.unwrap().0, first, "they are loaded once");
        assert!(local.way_in("/there/is/no/such/folder").await.is_err() && answers(&first).await);
        let (second, other) = local.way_in(MODELS).await.unwrap();
        assert!(second != first && answers(&first).await, "another folder does not stop whoever listens");
        drop(guest);
        falls_silent(&first).await;

        local.rest().await;
        assert!(answers(&second).await, "nor does a server");
        drop(other);
        falls_silent(&second).await;
        let (third, nobody) = local.way_in("").await.unwrap();
        drop(nobody);
        local.rest().await;
        assert!(!answers(&third).await, "where nobody listens they are gone at once");
    }

    #[tokio::test]
    async fn the_end_of_the_program_does_not_wait_for_models_that_are_being_loaded() {
        let local = local();
        let _loading = local.running.lock().await;
        local.stop(Duration::ZERO).await;
    }
}
