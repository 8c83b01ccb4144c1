//! What the program holds while it runs, and what follows when it changes.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use client::{ClientError, Credential, sign_in::Server};
use serde::Serialize;
use tauri::{AppHandle, Emitter as _, Manager as _};
use tauri_plugin_autostart::ManagerExt as _;

use crate::{
    keychain::Keychain,
    overlay,
    person::{Desk, SignInState},
    refusal::Refusal,
    settings::{self, Given, Mode, Settings},
    shortcuts,
    streams::{Streams, told::Closed},
    tray::{self, Words},
    windows,
};

/// How long the words owed are waited for when the program ends.
const PATIENCE: Duration = Duration::from_secs(3);
/// For a page to put a few lines into its storage, which takes milliseconds.
const WRITING: Duration = Duration::from_millis(500);

/// The same when captions are made elsewhere from now on.
const OWED: Duration = Duration::from_secs(10);

/// Something the person should know, as a word of the page and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Notice {
    /// `settings_bad`, `settings_unsaved`, `shortcut_taken`, `autostart_failed`, `overlay_failed` or `update_ready`.
    pub(crate) code: &'static str,
    /// A file, keys.
    pub(crate) about: String,
}

/// What the program holds while it runs.
#[derive(Debug)]
pub(crate) struct Program {
    /// Where settings and places lie.
    dir: PathBuf,
    /// Where the page keeps its own; `None`: where the system has it.
    webview_dir: Option<PathBuf>,
    settings: Mutex<Settings>,
    given: Mutex<Given>,
    notices: Mutex<Vec<Notice>>,
    words: Mutex<Words>,
    /// Whom the present server is asked through; made when it is first wanted.
    desk: Mutex<Option<(String, Arc<Desk>)>>,
    pub(crate) streams: Streams,
    ending: AtomicBool,
    ended: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Program {
    pub(crate) fn new(dir: PathBuf, webview_dir: Option<PathBuf>, settings: Settings, given: Given) -> Self {
        Self {
            dir,
            webview_dir,
            settings: Mutex::new(settings),
            given: Mutex::new(given),
            notices: Mutex::default(),
            words: Mutex::default(),
            desk: Mutex::default(),
            streams: Streams::default(),
            ending: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        lock(&self.notices).clone()
    }

    pub(crate) fn words(&self) -> Words {
        lock(&self.words).clone()
    }
}

fn state(app: &AppHandle) -> tauri::State<'_, Program> {
    app.state::<Program>()
}

/// Where the page keeps its own, where the command line said so.
pub(crate) fn webview_dir(app: &AppHandle) -> Option<PathBuf> {
    state(app).webview_dir.clone()
}

/// Tells the person, now and when a window asks.
pub(crate) fn notice(app: &AppHandle, code: &'static str, about: impl Into<String>) {
    let notice = Notice { code, about: about.into() };
    tracing::warn!(code, about = notice.about, "notice");
    let mut notices = lock(&state(app).notices).clone();
    notices.retain(|known| *known != notice);
    notices.push(notice.clone());
    *lock(&state(app).notices) = notices;
    app.emit("notice", notice).ok();
}

/// Takes back what was said about `code`.
fn no_notice(app: &AppHandle, code: &str) {
    lock(&state(app).notices).retain(|notice| notice.code != code);
}

/// Puts everything into the state that the settings ask for, at the start.
pub(crate) fn begin(app: &AppHandle, hidden: bool) -> tauri::Result<()> {
    windows::main(app, hidden)?;
    // Made now though it may not be wanted yet: later it is shown from within events, where no window can be made.
    let overlay = windows::overlay(app);
    let settings = state(app).settings();
    tray::apply(app, settings.tray);
    register(app, &settings);
    match overlay {
        Ok(_) if settings.overlay => show_overlay(app, &settings),
        Ok(_) => {}
        Err(error) => notice(app, "overlay_failed", error.to_string()),
    }
    if !hidden {
        warm(app, &settings);
    }
    Ok(())
}

/// Loads the models of local mode before they are wanted: the first words come sooner. Whether it worked is told when they
/// are wanted. Models that somebody listens with are left alone.
fn warm(app: &AppHandle, settings: &Settings) {
    if settings.mode != Mode::Local || state(app).streams.listening().borrow().open > 0 {
        return;
    }
    let (app, model) = (app.clone(), settings.model.clone());
    tauri::async_runtime::spawn(async move {
        if let Err(error) = local_way_in(&app, &model).await {
            tracing::warn!(error = format!("{error:#}"), "local mode cannot begin");
        }
    });
}

/// Changes the settings from within: a menu, a shortcut, a button of the overlay.
pub(crate) fn change(app: &AppHandle, change: impl FnOnce(&mut Settings)) {
    let mut settings = state(app).settings();
    change(&mut settings);
    set(app, settings);
}

/// The settings as a window shows them. The system knows best: autostart can be turned on and off without us, and what is
/// shown is what a person's change is a change of.
pub(crate) fn told_settings(app: &AppHandle) -> Settings {
    let enabled = app.autolaunch().is_enabled();
    let program = state(app);
    let mut settings = lock(&program.settings);
    settings.autostart = enabled.unwrap_or(settings.autostart);
    settings.clone()
}

/// Puts `settings` in force and writes them down. Returns them as they are then.
pub(crate) fn set(app: &AppHandle, mut settings: Settings) -> Settings {
    let before = state(app).settings();
    if before.autostart != settings.autostart && !begin_with_system(app, settings.autostart) {
        settings.autostart = before.autostart;
    }
    *lock(&state(app).settings) = settings.clone();
    let to_save = lock(&state(app).given).saved(&settings);
    if let Err(error) = settings::save(&state(app).dir, &to_save) {
        notice(app, "settings_unsaved", error.to_string());
    }
    if (before.overlay, before.through) != (settings.overlay, settings.through) {
        show_overlay(app, &settings);
    }
    if before.shortcuts != settings.shortcuts {
        register(app, &settings);
    }
    if before.tray != settings.tray {
        tray::apply(app, settings.tray);
    }
    if (before.mode, &before.server) != (settings.mode, &settings.server) {
        let app = app.clone();
        tauri::async_runtime::spawn(async move { person(&app).await });
    }
    if before.place() != settings.place() {
        move_to(app, settings.clone());
    }
    tray::update(app);
    app.emit("settings", &settings).ok();
    settings
}

/// Has the system start the program with it, or no longer. False where it cannot.
fn begin_with_system(app: &AppHandle, wanted: bool) -> bool {
    let autostart = app.autolaunch();
    if autostart.is_enabled().is_ok_and(|enabled| enabled == wanted) {
        return true;
    }
    let done = if wanted { autostart.enable() } else { autostart.disable() };
    if let Err(error) = &done {
        notice(app, "autostart_failed", error.to_string());
    }
    done.is_ok()
}

/// Captions are made elsewhere from now on: no sound goes any longer to where they were made before. The words owed still
/// come, and then the page is told that the stream is closed.
fn move_to(app: &AppHandle, settings: Settings) {
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let streams = state(&app).streams.clone();
        streams.stop_all(OWED).await;
        if state(&app).settings().place() == settings.place() {
            warm(&app, &settings);
        }
    });
}

fn register(app: &AppHandle, settings: &Settings) {
    no_notice(app, "shortcut_taken");
    for keys in shortcuts::register(app, &settings.shortcuts) {
        notice(app, "shortcut_taken", keys);
    }
}

fn show_overlay(app: &AppHandle, settings: &Settings) {
    if let Err(error) = overlay::apply(app, settings) {
        notice(app, "overlay_failed", error.to_string());
    }
}

/// The page's words for the tray.
pub(crate) fn set_words(app: &AppHandle, words: Words) {
    *lock(&state(app).words) = words;
    tray::update(app);
}

/// Who is signed in, as the page is told.
pub(crate) async fn person(app: &AppHandle) -> SignInState {
    loop {
        let settings = state(app).settings();
        #[cfg(feature = "local")]
        if settings.mode == Mode::Server {
            let app = app.clone();
            tauri::async_runtime::spawn(async move { app.state::<crate::local::Local>().rest().await });
        }
        let known = match desk(app) {
            Ok(Some(desk)) => desk.state().await,
            Ok(None) | Err(_) => SignInState::default(),
        };
        // Who is signed in at a server that was left meanwhile is no answer.
        if is_present(app, settings.mode, &settings.server) {
            app.emit("person", &known).ok();
            return known;
        }
    }
}

/// Whether captions still come from there.
fn is_present(app: &AppHandle, mode: Mode, server: &str) -> bool {
    let program = state(app);
    let settings = lock(&program.settings);
    settings.mode == mode && (mode == Mode::Local || settings.server == server)
}

/// Where people sign in at present; `None` in local mode, where nobody has to.
///
/// # Errors
/// `bad_server`.
pub(crate) fn desk(app: &AppHandle) -> Result<Option<Arc<Desk>>, Refusal> {
    let Settings { mode, server, .. } = state(app).settings();
    if mode == Mode::Local {
        return Ok(None);
    }
    let program = state(app);
    let mut held = lock(&program.desk);
    if let Some((_, desk)) = held.as_ref().filter(|(of, _)| *of == server) {
        return Ok(Some(Arc::clone(desk)));
    }
    let asked = Server::new(&server).map_err(|error| Refusal::new("bad_server", format!("{error:#}")))?;
    let (teller, keychain, of) = (app.clone(), Keychain::of(&server), server.clone());
    let changed = Arc::new(move |state: &SignInState| {
        if is_present(&teller, Mode::Server, &of) {
            teller.emit("person", state).ok();
        }
    });
    let desk = Arc::new(Desk::new(asked, keychain, changed));
    *held = Some((server, Arc::clone(&desk)));
    Ok(Some(desk))
}

/// Where the stream is, and who asks.
///
/// # Errors
/// Why there is no way in, in the page's words.
pub(crate) async fn way_in(app: &AppHandle) -> Result<(String, Credential), Closed> {
    use crate::streams::told::Cause;
    let refused = |why: String| Closed { reason: why, ..Closed::of(Cause::Refused) };
    let settings = state(app).settings();
    match desk(app).map_err(|refusal| refused(refusal.message))? {
        Some(desk) => {
            let credential = desk.credential().await.map_err(|error: ClientError| Closed::of_error(&error))?;
            let url = stream_of(&settings.server).ok_or_else(|| refused(settings.server.clone()))?;
            Ok((url, credential))
        }
        None => {
            let local = |error: anyhow::Error| Closed { reason: format!("{error:#}"), ..Closed::of(Cause::NoLocal) };
            local_way_in(app, &settings.model).await.map_err(local)
        }
    }
}

#[cfg(feature = "local")]
async fn local_way_in(app: &AppHandle, model: &str) -> anyhow::Result<(String, Credential)> {
    app.state::<crate::local::Local>().way_in(model).await
}

#[cfg(not(feature = "local"))]
async fn local_way_in(_: &AppHandle, _: &str) -> anyhow::Result<(String, Credential)> {
    std::future::ready(Err(anyhow::anyhow!("this program was built without local mode; choose a server"))).await
}

/// `wss://HOST/v1/stream` of `https://HOST`.
fn stream_of(server: &str) -> Option<String> {
    let rest = server.strip_prefix("http")?;
    Some(format!("ws{}/v1/stream", rest.trim_end_matches('/')))
}

/// Lets go of what a page that is no more had opened.
pub(crate) fn abandon_streams(app: &AppHandle) {
    let streams = state(app).streams.clone();
    // Now, and not when the task runs: the next page may have opened its own by then.
    let abandoned = streams.abandon();
    tauri::async_runtime::spawn(async move {
        for id in abandoned {
            streams.stop(id).await;
        }
    });
}

/// Whether closing the window leaves the program running.
pub(crate) fn closes_to_tray(app: &AppHandle) -> bool {
    if tray::can_be_seen(app) && !state(app).ending.load(Ordering::Relaxed) {
        return true;
    }
    end(app);
    // Until it has ended.
    !state(app).ended.load(Ordering::Relaxed)
}

/// Whether everything owed was waited for.
pub(crate) fn has_ended(app: &AppHandle) -> bool {
    state(app).ended.load(Ordering::Relaxed)
}

/// Ends the program: devices are let go at once, and the words owed waited for, for a while.
pub(crate) fn end(app: &AppHandle) {
    if state(app).ending.swap(true, Ordering::Relaxed) {
        return;
    }
    windows::keep_places(app);
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let streams = state(&app).streams.clone();
        if streams.listening().borrow().open > 0 {
            streams.stop_all(PATIENCE).await;
            // For the page to write its last lines, where history is kept.
            tokio::time::sleep(WRITING).await;
        }
        #[cfg(feature = "local")]
        app.state::<crate::local::Local>().stop(PATIENCE).await;
        let desk = lock(&state(&app).desk).take();
        if let Some((_, desk)) = desk {
            desk.settle(PATIENCE).await;
        }
        state(&app).ended.store(true, Ordering::Relaxed);
        app.exit(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_stream_is_where_the_protocol_has_it() {
        assert_eq!(stream_of("https://captions.example").unwrap(), "wss://captions.example/v1/stream");
        assert_eq!(stream_of("http://127.0.0.1:5026/").unwrap(), "ws://127.0.0.1:5026/v1/stream");
        assert_eq!(stream_of("ftp://captions.example"), None);
    }
}
