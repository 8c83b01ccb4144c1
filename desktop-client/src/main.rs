//! The desktop client: sign-in, microphone and system audio, captions in a window over every other.
//!
//! # Layout
//! - `program`: what is held while the program runs, and what follows when it changes; `settings`
//! - `windows`, `overlay`, `places`, `tray`, `shortcuts`: what a person sees and presses
//! - `commands`: what the windows may ask for; `refusal`: why they did not get it
//! - `streams`: a device and a session each; `local`: the whole of Subtide in this process
//! - `person`, `keychain`: who is signed in, and where that is kept
//! - `updates`: whether there is a newer version
//!
//! Absent on purpose: what captions look like. That is web-ui/page, which is inside this program as it is on the web.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod commands;
mod keychain;
#[cfg(feature = "local")]
mod local;
mod overlay;
mod person;
mod places;
mod program;
mod refusal;
mod settings;
mod shortcuts;
mod streams;
mod tray;
mod updates;
mod windows;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Parser;
use client::sign_in::Server;
use tauri::{App, AppHandle, Manager as _, RunEvent, Wry};
use tracing_subscriber::filter::LevelFilter;

use self::{
    program::Program,
    settings::{Found, Given, Mode},
};

/// Live captions and translation of what you say and of what this computer plays, over any window.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Keep settings, window places and the page's own data in this directory.
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Use this server: https://HOST, or http://127.0.0.1:PORT.
    #[arg(long, value_name = "URL", conflicts_with = "local")]
    server: Option<String>,
    /// Use no server: captions are made in this program.
    #[arg(long)]
    local: bool,
    /// Begin in the tray, without the window.
    #[arg(long)]
    hidden: bool,
    /// What is written on standard error: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: LevelFilter,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(arguments.log).with_writer(std::io::stderr).init();
    if let Some(server) = &arguments.server {
        Server::new(server).context("--server")?;
    }
    anyhow::ensure!(!arguments.local || cfg!(feature = "local"), "--local: this program was built without local mode");
    let mut context = tauri::generate_context!();
    updates::configure(&mut context);
    if let Some(dir) = &arguments.config_dir {
        // Another directory is another program, to the system and to itself.
        let identifier = format!("{}.d{:016x}", context.config().identifier, hash_of(dir));
        context.config_mut().identifier = identifier;
    }
    let mut builder = tauri::Builder::default()
        .plugin(tauri_plugin_single_instance::init(|app, _, _| windows::show_main(app)))
        .plugin(tauri_plugin_autostart::Builder::new().arg("--hidden").app_name("Subtide").build())
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_global_shortcut::Builder::new().build());
    if updates::possible() {
        builder = builder.plugin(tauri_plugin_updater::Builder::new().build());
    }
    let app = builder
        .invoke_handler(tauri::generate_handler![
            commands::check_updates,
            commands::devices,
            commands::finalize_stream,
            commands::hurry_stream,
            commands::notices,
            commands::open_stream,
            commands::overlay_hide,
            commands::overlay_through,
            commands::pause_stream,
            commands::person,
            commands::save_text,
            commands::set_settings,
            commands::set_words,
            commands::settings,
            commands::sign_in,
            commands::sign_out,
            commands::stop_stream,
            commands::update_stream,
        ])
        .setup(move |app| Ok(set_up(app, &arguments)?))
        .build(context)
        .context("the window cannot be opened; on Linux, is there a display, and is WebKitGTK 4.1 installed?")?;
    app.run(|app, event| match event {
        RunEvent::ExitRequested { api, .. } if !program::has_ended(app) => {
            api.prevent_exit();
            program::end(app);
        }
        #[cfg(target_os = "macos")]
        RunEvent::Reopen { .. } => windows::show_main(app),
        _ => {}
    });
    Ok(())
}

fn set_up(app: &mut App<Wry>, arguments: &Arguments) -> anyhow::Result<()> {
    let handle = app.handle().clone();
    let dir = match &arguments.config_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => app.path().app_config_dir().context("there is no place for settings")?,
    };
    let webview_dir = arguments.config_dir.is_some().then(|| dir.join("webview"));
    let (mut settings, found) = settings::load(&dir);
    let server = arguments.server.as_deref();
    let mode = if arguments.local { Some(Mode::Local) } else { server.map(|_| Mode::Server) };
    let given = Given::put(&mut settings, mode, server);
    app.manage(overlay::Overlay::new(&dir));
    app.manage(Program::new(dir, webview_dir, settings, given));
    #[cfg(feature = "local")]
    {
        let installed = app.path().resource_dir().ok().map(|dir| dir.join("models"));
        let program = std::env::current_exe().ok();
        app.manage(local::Local::new(local::shipped_models(installed, program.as_deref())));
    }
    if let Found::Bad(path) = found {
        program::notice(&handle, "settings_bad", path.display().to_string());
    }
    tray::listen(&handle);
    program::begin(&handle, arguments.hidden)?;
    tauri::async_runtime::spawn(overlay::watch(handle.clone()));
    tauri::async_runtime::spawn(follow_streams(handle.clone()));
    tauri::async_runtime::spawn(updates::watch(handle.clone()));
    tauri::async_runtime::spawn(end_when_told(handle));
    Ok(())
}

/// The tray says Stop while something is listened to, and Start when nothing is.
async fn follow_streams(app: AppHandle) {
    let mut listening = app.state::<Program>().streams.listening();
    while listening.changed().await.is_ok() {
        tray::update(&app);
    }
}

/// Ends in order when the system or a terminal says so.
async fn end_when_told(app: AppHandle) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    program::end(&app);
}

fn hash_of(dir: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).hash(&mut hasher);
    hasher.finish()
}
