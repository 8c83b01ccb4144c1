//! The two windows: the caption page, and the overlay.

use client::sign_in::open_browser;
use tauri::{
    AppHandle, Manager as _, Url, WebviewUrl, WebviewWindow, WebviewWindowBuilder, WindowEvent,
    utils::config::BackgroundThrottlingPolicy,
    webview::{NewWindowResponse, PageLoadEvent},
};

use crate::{overlay, program};

/// Label of the caption page's window.
pub(crate) const MAIN: &str = "main";
/// Label of the overlay.
pub(crate) const OVERLAY: &str = "overlay";
/// Label of a page that is only read.
const READING: &str = "reading";
const READING_SIZE: (f64, f64) = (720.0, 720.0);
const MAIN_SIZE: (f64, f64) = (980.0, 760.0);
/// The page is made for this and more.
const MAIN_MIN_SIZE: (f64, f64) = (340.0, 420.0);

/// Opens the caption page.
///
/// # Errors
/// When there can be no window.
pub(crate) fn main(app: &AppHandle, hidden: bool) -> tauri::Result<WebviewWindow> {
    let handle = app.clone();
    let builder = built(app, MAIN, "index.html")
        .title("Subtide")
        .inner_size(MAIN_SIZE.0, MAIN_SIZE.1)
        .min_inner_size(MAIN_MIN_SIZE.0, MAIN_MIN_SIZE.1)
        .visible(!hidden)
        .on_page_load(move |_, load| {
            // A page that was reloaded knows nothing of the streams it had.
            if load.event() == PageLoadEvent::Started {
                program::abandon_streams(&handle);
            }
        });
    let window = builder.build()?;
    let handle = app.clone();
    window.on_window_event(move |event| {
        if let WindowEvent::CloseRequested { api, .. } = event
            && program::closes_to_tray(&handle)
        {
            api.prevent_close();
            hide_main(&handle);
        }
    });
    Ok(window)
}

/// Opens the overlay, not yet shown.
///
/// # Errors
/// When there can be no window.
pub(crate) fn overlay(app: &AppHandle) -> tauri::Result<WebviewWindow> {
    let window = built(app, OVERLAY, "overlay/index.html")
        .title("Subtide")
        .transparent(true)
        .decorations(false)
        .shadow(false)
        .always_on_top(true)
        .skip_taskbar(true)
        .visible_on_all_workspaces(true)
        // Who reads captions goes on typing elsewhere.
        .focused(false)
        .focusable(false)
        .visible(false)
        .build()?;
    let handle = app.clone();
    window.on_window_event(move |event| {
        if let WindowEvent::CloseRequested { api, .. } = event {
            api.prevent_close();
            program::change(&handle, |settings| settings.overlay = false);
        }
    });
    Ok(window)
}

/// What both have in common: their own pages and nothing else; a link opens in the system's browser.
fn built<'a>(app: &'a AppHandle, label: &str, page: &str) -> WebviewWindowBuilder<'a, tauri::Wry, AppHandle> {
    let handle = app.clone();
    let mut builder = WebviewWindowBuilder::new(app, label, WebviewUrl::App(page.into()))
        .background_throttling(BackgroundThrottlingPolicy::Disabled)
        .disable_drag_drop_handler()
        .on_navigation(|url| {
            let own = is_own(url);
            if !own {
                open_elsewhere(url);
            }
            own
        })
        .on_new_window(move |url, _| {
            if is_own(&url) {
                read(&handle, &url);
            } else {
                open_elsewhere(&url);
            }
            NewWindowResponse::Deny
        });
    if let Some(dir) = program::webview_dir(app) {
        builder = builder.data_directory(dir);
    }
    builder
}

/// Opens a page of ours that is only read, such as the one on privacy, in a window of its own: it has no capabilities.
fn read(app: &AppHandle, url: &Url) {
    if let Some(window) = app.get_webview_window(READING) {
        drop(window.set_focus());
        return;
    }
    let (handle, page) = (app.clone(), url.path().trim_start_matches('/').to_owned());
    // Not from within a webview's own event: some systems wait there for the new window, which waits for the event to end.
    tauri::async_runtime::spawn(async move {
        let builder = built(&handle, READING, &page).title("Subtide").inner_size(READING_SIZE.0, READING_SIZE.1);
        if let Err(error) = builder.build() {
            tracing::warn!(%error, "a window to read in could not be opened");
        }
    });
}

/// Whether `url` is a page inside this program; their scheme is Tauri's, or a name of Tauri's on Windows.
fn is_own(url: &Url) -> bool {
    match url.scheme() {
        "tauri" => url.host_str() == Some("localhost"),
        "http" | "https" => url.host_str() == Some("tauri.localhost"),
        _ => false,
    }
}

fn open_elsewhere(url: &Url) {
    if matches!(url.scheme(), "https" | "http") {
        open_browser(url.as_str());
    }
}

/// Shows the caption page before all other windows.
pub(crate) fn show_main(app: &AppHandle) {
    let Some(window) = app.get_webview_window(MAIN) else { return };
    let shown = window.unminimize().and_then(|()| window.show()).and_then(|()| window.set_focus());
    if let Err(error) = shown {
        tracing::warn!(%error, "the window could not be shown");
    }
}

fn hide_main(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(MAIN)
        && let Err(error) = window.hide()
    {
        tracing::warn!(%error, "the window could not be hidden");
    }
}

/// Remembers the overlay's place before the program ends.
pub(crate) fn keep_places(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(OVERLAY) {
        overlay::keep_place(app, &window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_open_in_our_windows() {
        let own = |url: &str| is_own(&Url::parse(url).unwrap());
        assert!(own("tauri://localhost/index.html") && own("http://tauri.localhost/overlay/index.html"));
        for foreign in
            ["https://example.com/", "http://tauri.localhost.example/", "file:///etc/passwd", "data:text/html,x"]
        {
            assert!(!own(foreign), "{foreign}");
        }
    }
}
