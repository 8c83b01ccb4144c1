//! What the windows may ask for. `build.rs` lists it, and `capabilities/` says which window may ask for what.

#![expect(
    clippy::let_underscore_must_use,
    reason = "Tauri's macro writes it for commands that borrow the program's state"
)]

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc};

use capture::{Capture, Kind};
use client::Session;
use serde::{Deserialize, Serialize};
use shared::{
    audio::SAMPLE_RATE,
    language::{Language, Source},
    wire::{AudioFormat, ClientMessage, Encoding, GlossaryTerm, MAX_GLOSSARY_TERM_BYTES, MAX_GLOSSARY_TERMS, Start},
};
use tauri::{AppHandle, Manager as _, State, ipc::Channel};
use tauri_plugin_dialog::DialogExt as _;
use tokio::sync::oneshot;

use crate::{
    person::SignInState,
    program::{self, Notice, Program},
    refusal::Refusal,
    settings::Settings,
    streams::{
        Ears, Opener,
        told::{Told, of_capture},
    },
    tray::Words,
    updates,
};

/// As `Channel` of the page: who is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Voice {
    Me,
    Them,
}

impl From<Voice> for Kind {
    fn from(voice: Voice) -> Self {
        match voice {
            Voice::Me => Self::Microphone,
            Voice::Them => Self::System,
        }
    }
}

/// As `Device` of the page.
#[derive(Debug, Serialize)]
pub(crate) struct Device {
    id: String,
    label: String,
    channel: Voice,
}

/// As `Term` of the page.
#[derive(Debug, Deserialize)]
pub(crate) struct Term {
    term: String,
    /// By target.
    #[serde(default)]
    translations: HashMap<String, String>,
}

/// As `StreamRequest` of the page.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamRequest {
    channel: Voice,
    /// Id of a [`Device`]; empty: the system's default.
    #[serde(default)]
    device: String,
    #[serde(flatten)]
    languages: Languages,
}

#[derive(Debug, Deserialize)]
struct Languages {
    source: String,
    targets: Vec<String>,
    #[serde(default)]
    glossary: Vec<Term>,
}

/// The same in the words of the protocol.
#[derive(Debug)]
struct Understood {
    source: Source,
    targets: Vec<Language>,
    glossary: Vec<GlossaryTerm>,
}

impl Languages {
    fn understood(self) -> Result<Understood, Refusal> {
        let bad = |error: &dyn std::fmt::Display| Refusal::new("bad_message", error.to_string());
        let source = self.source.parse().map_err(|error| bad(&error))?;
        let targets: Vec<Language> =
            self.targets.iter().map(|tag| tag.parse()).collect::<Result<_, _>>().map_err(|error| bad(&error))?;
        let glossary = self.glossary.into_iter().filter_map(|term| term.for_targets(&targets));
        let glossary = glossary.take(MAX_GLOSSARY_TERMS).collect();
        Ok(Understood { source, targets, glossary })
    }
}

impl Term {
    /// The protocol has one translation for all targets: where they differ, the term is a hint for recognition alone.
    fn for_targets(self, targets: &[Language]) -> Option<GlossaryTerm> {
        let source = self.term.trim().to_owned();
        let given = |target: &Language| {
            let word = self.translations.get(target.as_str()).or_else(|| self.translations.get(target.primary()));
            word.map(|word| word.trim()).filter(|word| fits(word))
        };
        let mut words = targets.iter().map(given);
        let first = words.next().flatten();
        let target = first.filter(|first| words.all(|word| word == Some(*first))).map(str::to_owned);
        fits(&source).then_some(GlossaryTerm { source, target })
    }
}

/// Whether the gateway takes this as a side of a term.
fn fits(word: &str) -> bool {
    (1..=MAX_GLOSSARY_TERM_BYTES).contains(&word.len())
}

/// What there is to listen to.
#[tauri::command]
pub(crate) async fn devices() -> Result<Vec<Device>, Refusal> {
    let found = tokio::task::spawn_blocking(capture::devices).await.map_err(Refusal::failed)?;
    let device = |device: capture::Device| {
        let channel = if device.kind == Kind::Microphone { Voice::Me } else { Voice::Them };
        Device { id: device.id, label: device.name, channel }
    };
    Ok(found.map_err(|error| of_capture(&error))?.into_iter().map(device).collect())
}

#[tauri::command]
pub(crate) async fn open_stream(app: AppHandle, request: StreamRequest, told: Channel<Told>) -> Result<u32, Refusal> {
    let (kind, id) = (Kind::from(request.channel), Some(request.device).filter(|id| !id.is_empty()));
    let Understood { source, targets, glossary } = request.languages.understood()?;
    let audio = AudioFormat { encoding: Encoding::PcmS16le, sample_rate: SAMPLE_RATE, channels: 1 };
    let start =
        Start { audio, source, targets, partials: true, words: false, glossary, resume: None, trace_parent: None };
    let opener: Opener = Arc::new(move || {
        let (capture, heard) = Capture::open(kind, id.as_deref())?;
        Ok(Ears { heard, device: Box::new(capture) })
    });
    let asker = app.clone();
    let opening = Box::pin(async move {
        let (url, credential) = program::way_in(&asker).await?;
        Ok(Session { url, credential, start })
    });
    let page = Box::new(move |what| match told.send(what) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "a page that is gone could not be told");
            false
        }
    });
    let streams = app.state::<Program>().streams.clone();
    streams.open(opener, opening, page).await
}

#[tauri::command]
pub(crate) async fn update_stream(
    program: State<'_, Program>,
    id: u32,
    source: String,
    targets: Vec<String>,
    glossary: Vec<Term>,
) -> Result<(), Refusal> {
    let Understood { source, targets, glossary } = Languages { source, targets, glossary }.understood()?;
    let (source, targets, glossary) = (Some(source), Some(targets), Some(glossary));
    program.streams.say(id, ClientMessage::Update { source, targets, glossary }).await;
    Ok(())
}

#[tauri::command]
pub(crate) async fn finalize_stream(program: State<'_, Program>, id: u32) -> Result<(), Refusal> {
    program.streams.say(id, ClientMessage::Finalize {}).await;
    Ok(())
}

#[tauri::command]
pub(crate) async fn pause_stream(program: State<'_, Program>, id: u32, paused: bool) -> Result<(), Refusal> {
    program.streams.pause(id, paused).await
}

#[tauri::command]
pub(crate) async fn stop_stream(program: State<'_, Program>, id: u32) -> Result<(), Refusal> {
    program.streams.stop(id).await;
    Ok(())
}

/// A session tries to connect again by itself, at least every five seconds.
#[tauri::command]
pub(crate) fn hurry_stream(id: u32) {
    let _ = id;
}

#[tauri::command]
pub(crate) async fn person(app: AppHandle) -> Result<SignInState, Refusal> {
    Ok(program::person(&app).await)
}

#[tauri::command]
pub(crate) async fn sign_in(app: AppHandle) -> Result<SignInState, Refusal> {
    match program::desk(&app)? {
        Some(desk) => desk.enter().await,
        None => Ok(SignInState::default()),
    }
}

#[tauri::command]
pub(crate) async fn sign_out(app: AppHandle) -> Result<(), Refusal> {
    if let Some(desk) = program::desk(&app)? {
        desk.leave().await;
    }
    Ok(())
}

#[tauri::command(async)]
pub(crate) fn settings(app: AppHandle) -> Result<Settings, Refusal> {
    Ok(program::told_settings(&app))
}

#[tauri::command(async)]
pub(crate) fn set_settings(app: AppHandle, settings: Settings) -> Result<Settings, Refusal> {
    let before = app.state::<Program>().settings();
    Ok(program::set(&app, settings.checked(&before)?))
}

#[tauri::command]
pub(crate) fn notices(program: State<'_, Program>) -> Vec<Notice> {
    program.notices()
}

#[tauri::command(async)]
pub(crate) fn set_words(app: AppHandle, words: HashMap<String, String>) -> Result<(), Refusal> {
    program::set_words(&app, Words::new(words));
    Ok(())
}

#[tauri::command(async)]
pub(crate) fn overlay_through(app: AppHandle, on: bool) -> Result<(), Refusal> {
    program::change(&app, |settings| settings.through = on);
    Ok(())
}

#[tauri::command(async)]
pub(crate) fn overlay_hide(app: AppHandle) -> Result<(), Refusal> {
    program::change(&app, |settings| settings.overlay = false);
    Ok(())
}

/// Answer of `check_updates`.
#[derive(Debug, Serialize)]
pub(crate) struct Newer {
    version: Option<String>,
}

#[tauri::command]
pub(crate) async fn check_updates(app: AppHandle) -> Result<Newer, Refusal> {
    let allowed = app.state::<Program>().settings().updates;
    Ok(Newer { version: if allowed { updates::check(&app).await? } else { None } })
}

/// Asks where to, and writes `text` there. False when the person thought better of it.
#[tauri::command]
pub(crate) async fn save_text(app: AppHandle, name: String, text: String) -> Result<bool, Refusal> {
    let (told, answer) = oneshot::channel();
    app.dialog().file().set_file_name(file_name(&name)).save_file(move |path| {
        told.send(path).ok();
    });
    let Ok(Some(path)) = answer.await else { return Ok(false) };
    let path = path.into_path().map_err(Refusal::failed)?;
    let shown = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || fs::write(path, text)).await.map_err(Refusal::failed)?;
    written.map_err(|error| Refusal::new("not_saved", format!("{shown} cannot be written: {error}")))?;
    Ok(true)
}

/// `name` as a name alone, whatever way led to it.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: PathBuf = last.chars().filter(|c| !c.is_control()).collect::<String>().into();
    name.file_name().map_or_else(|| "captions.txt".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_of_the_page_is_understood() {
        let request = json!({"channel": "them", "device": "", "source": "auto", "targets": ["es", "pt-BR"], "glossary": [
            {"term": "Subtide"}, {"term": "board", "translations": {"es": "junta", "pt": "junta"}},
            {"term": "lead", "translations": {"es": "plomo", "pt": "chumbo"}}, {"term": " "}]});
        let request: StreamRequest = serde_json::from_value(request).unwrap();
        assert_eq!((request.channel, request.device.as_str()), (Voice::Them, ""));
        let understood = request.languages.understood().unwrap();
        assert_eq!((understood.source, understood.targets.len()), (Source::Auto, 2));
        let terms: Vec<_> = understood.glossary.iter().map(|t| (t.source.as_str(), t.target.as_deref())).collect();
        assert_eq!(terms, [("Subtide", None), ("board", Some("junta")), ("lead", None)]);
    }

    #[test]
    fn a_tag_that_is_none_is_refused() {
        let languages = Languages { source: "en".to_owned(), targets: vec!["not a tag".to_owned()], glossary: vec![] };
        assert_eq!(languages.understood().unwrap_err().fault, "bad_message");
    }

    #[test]
    fn a_file_is_named_but_not_placed_by_the_page() {
        assert_eq!(file_name("captions 2026-11-21.srt"), "captions 2026-11-21.srt");
        assert_eq!(file_name("../../.ssh/config"), "config");
        assert_eq!(file_name("C:\\Windows\\x.txt"), "x.txt");
        assert_eq!(file_name(".."), "captions.txt");
    }
}
