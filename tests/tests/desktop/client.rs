//! A desktop client under test: how it is started, and what is chosen in it.

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::desk::{Desk, driver::Driven, window::Window};
use tokio::time::{Duration, Instant, sleep};

/// For what the window manager has to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Title of both windows.
const TITLE: &str = "Subtide";

/// Where the client of a test keeps its settings.
pub(crate) fn config(desk: &Desk) -> PathBuf {
    desk.home.path().join("settings")
}

/// Starts it with `arguments`, its settings in a directory of the test's.
pub(crate) async fn start(desk: &Desk, arguments: &[&str]) -> Driven {
    let config = config(desk).display().to_string();
    let mut all = vec!["--config-dir", config.as_str()];
    all.extend(arguments);
    let driven = Driven::start(desk, &all).await;
    driven.until("the page", "return document.querySelector('#state')?.dataset.state").await;
    driven
}

/// What a person would choose in the settings, and a page that starts with it.
pub(crate) async fn choose(driven: &Driven, chosen: Value) {
    let script = "const before = JSON.parse(localStorage.getItem('subtide.settings') ?? '{}');
        localStorage.setItem('subtide.settings', JSON.stringify({ ...before, ...arguments[0] }));
        window.beforeReload = true;
        location.reload();";
    driven.script(script, &[chosen]).await;
    let again = "return !window.beforeReload && document.readyState === 'complete' && document.querySelector('#state')?.dataset.state";
    driven.until("the page again", again).await;
}

/// What is heard on the machine, from English into Spanish.
pub(crate) fn what_is_played() -> Value {
    json!({"channels": ["them"], "source": "en", "targets": ["es"], "language": "en", "theme": "light"})
}

/// Waits until the page's phase is one of `phases`.
pub(crate) async fn phase(driven: &Driven, phases: &[&str]) {
    let script = format!("return {}.includes(document.querySelector('#state').dataset.state)", json!(phases));
    driven.until(&format!("one of {phases:?}"), &script).await;
}

/// The overlay's window: the one above all others.
pub(crate) async fn overlay(desk: &Desk) -> Window {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let windows = desk.windows(TITLE).await;
        if let Some(window) = windows.iter().find(|window| window.is_above()) {
            return window.clone();
        }
        assert!(Instant::now() < deadline, "no window above all others: {windows:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// The caption page's window.
pub(crate) async fn main_window(desk: &Desk) -> Window {
    let windows = desk.windows(TITLE).await;
    windows.iter().find(|window| !window.is_above()).cloned().unwrap_or_else(|| panic!("no main window: {windows:?}"))
}
