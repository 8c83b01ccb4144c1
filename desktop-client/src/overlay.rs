//! The captions over every other window: where they are shown, whether, and whether clicks pass through.

use std::{fs, io, path::PathBuf, sync::Mutex, time::Duration};

use tauri::{AppHandle, Manager as _, PhysicalPosition, PhysicalSize, WebviewWindow};

use crate::{
    places::{Area, Places, Screen, screen_of},
    program::Program,
    settings::{Settings, write_whole},
    windows,
};

const FILE: &str = "places.json";
/// How often it is looked whether the overlay's screen is still there, and whether its place has to be written down. No
/// toolkit tells of the former on every system.
const WATCH: Duration = Duration::from_secs(2);
/// Pauses after which a window manager has taken a new window in.
const SETTLING: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(1000)];

/// Where the overlay was.
#[derive(Debug)]
pub(crate) struct Overlay {
    file: PathBuf,
    places: Mutex<Places>,
}

impl Overlay {
    /// Reads the places in `dir`; a file that cannot be read counts as none.
    pub(crate) fn new(dir: &std::path::Path) -> Self {
        let file = dir.join(FILE);
        let places = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, places: Mutex::new(places) }
    }

    fn place(&self, screens: &[Screen]) -> Option<Area> {
        self.places.lock().ok()?.place(screens)
    }

    fn remember(&self, area: Area, screens: &[Screen]) -> io::Result<()> {
        let Ok(mut places) = self.places.lock() else { return Ok(()) };
        if places.remember(area, screens) {
            write_whole(&self.file, &serde_json::to_vec_pretty(&*places)?)
        } else {
            Ok(())
        }
    }
}

/// Brings the overlay into the state that `settings` ask for.
///
/// # Errors
/// When there is no such window, or it cannot be moved.
pub(crate) fn apply(app: &AppHandle, settings: &Settings) -> tauri::Result<()> {
    // Not made here: this is called from within events, and there some systems wait for a new window for ever.
    let window = app.get_webview_window(windows::OVERLAY).ok_or(tauri::Error::WindowNotFound)?;
    if !settings.overlay {
        keep_place(app, &window);
        return window.hide();
    }
    if !window.is_visible()? {
        put(app, &window)?;
        window.show()?;
        // Some window managers place a window themselves when it is shown.
        put(app, &window)?;
        window.set_always_on_top(true)?;
        tauri::async_runtime::spawn(settle(app.clone()));
    }
    window.set_ignore_cursor_events(settings.through)
}

/// Says once more whether clicks pass through: a window manager that is still at work on a new window misses it (openbox).
async fn settle(app: AppHandle) {
    for wait in SETTLING {
        tokio::time::sleep(wait).await;
        let Some(window) = app.get_webview_window(windows::OVERLAY) else { return };
        if window.is_visible().unwrap_or(false) {
            let through = app.state::<Program>().settings().through;
            if let Err(error) = window.set_ignore_cursor_events(through) {
                tracing::warn!(%error, "clicks may not pass through the overlay");
            }
        }
    }
}

/// Keeps the overlay on a screen that is there, and its place on disk, for as long as the program runs.
pub(crate) async fn watch(app: AppHandle) {
    let mut ticks = tokio::time::interval(WATCH);
    loop {
        ticks.tick().await;
        let Some(window) = app.get_webview_window(windows::OVERLAY) else { continue };
        if !window.is_visible().unwrap_or(false) {
            continue;
        }
        match (area(&window), screens(&window)) {
            (Ok(area), Ok(screens)) if screen_of(area, &screens).is_none() => {
                if let Err(error) = put(&app, &window) {
                    tracing::warn!(%error, "the overlay could not be brought back to a screen");
                }
            }
            _ => keep_place(&app, &window),
        }
    }
}

fn put(app: &AppHandle, window: &WebviewWindow) -> tauri::Result<()> {
    let Some(place) = app.state::<Overlay>().place(&screens(window)?) else { return Ok(()) };
    window.set_size(PhysicalSize::new(place.width, place.height))?;
    window.set_position(PhysicalPosition::new(place.x, place.y))
}

/// Remembers where `window` is.
pub(crate) fn keep_place(app: &AppHandle, window: &WebviewWindow) {
    let (Ok(area), Ok(screens), Ok(true)) = (area(window), screens(window), window.is_visible()) else { return };
    if let Err(error) = app.state::<Overlay>().remember(area, &screens) {
        tracing::warn!(%error, "the overlay's place could not be written down");
    }
}

fn area(window: &WebviewWindow) -> tauri::Result<Area> {
    let (PhysicalPosition { x, y }, PhysicalSize { width, height }) = (window.outer_position()?, window.inner_size()?);
    Ok(Area { x, y, width, height })
}

fn screens(window: &WebviewWindow) -> tauri::Result<Vec<Screen>> {
    let primary = window.primary_monitor()?;
    let area = |position: &PhysicalPosition<i32>, size: &PhysicalSize<u32>| Area {
        x: position.x,
        y: position.y,
        width: size.width,
        height: size.height,
    };
    let screen = |monitor: tauri::Monitor| Screen {
        name: monitor.name().cloned().unwrap_or_default(),
        area: area(monitor.position(), monitor.size()),
        work: area(&monitor.work_area().position, &monitor.work_area().size),
        primary: primary.as_ref().is_some_and(|primary| primary.position() == monitor.position()),
    };
    Ok(window.available_monitors()?.into_iter().map(screen).collect())
}
