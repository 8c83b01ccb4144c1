//! The icon in the tray, and its menu. Its words are the page's: the page has the catalogues, and the person's language.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tauri::{
    AppHandle, Emitter as _, Manager as _, Wry,
    menu::{CheckMenuItem, CheckMenuItemBuilder, Menu, MenuBuilder, MenuItem, MenuItemBuilder},
    tray::{MouseButton, MouseButtonState, TrayIconBuilder, TrayIconEvent},
};

use crate::{
    program::{self, Program},
    windows,
};

const ID: &str = "tray";
/// Keys of the page's words, and what stands there until the page has told its own, less than a second after the start.
const WORDS: [(&str, &str); 9] = [
    ("tray.start", "Start captions"),
    ("tray.stop", "Stop captions"),
    ("tray.pause", "Pause"),
    ("tray.resume", "Continue"),
    ("tray.overlay", "Captions over other windows"),
    ("tray.through", "Clicks pass through"),
    ("tray.settings", "Settings"),
    ("tray.history", "History"),
    ("tray.quit", "Quit Subtide"),
];

/// The page's words for the menu.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words(HashMap<String, String>);

impl Words {
    pub(crate) fn new(mut words: HashMap<String, String>) -> Self {
        words.retain(|key, word| WORDS.iter().any(|(known, _)| known == key) && !word.trim().is_empty());
        Self(words)
    }

    fn get(&self, key: &str) -> &str {
        let default = WORDS.iter().find(|(known, _)| *known == key).map_or("", |(_, word)| word);
        self.0.get(key).map_or(default, String::as_str)
    }
}

/// Obeys the menu, for as long as the program runs. An icon's own ear would outlive it, and hear for the next one too.
pub(crate) fn listen(app: &AppHandle) {
    app.on_menu_event(|app, event| chosen(app, event.id().as_ref()));
}

/// Makes the icon, or takes it away.
pub(crate) fn apply(app: &AppHandle, wanted: bool) {
    if !wanted {
        app.remove_tray_by_id(ID);
        // Who hid the window into the tray would not find it again.
        if app.webview_windows().contains_key(windows::MAIN) {
            windows::show_main(app);
        }
        return;
    }
    if app.tray_by_id(ID).is_some() {
        return;
    }
    // On Linux, where the library that draws the icon is not installed, that is not an error but a panic.
    match catch_unwind(AssertUnwindSafe(|| build(app))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "there is no tray"),
        Err(_) => tracing::warn!("there is no tray: is libayatana-appindicator3 installed?"),
    }
}

/// Whether a window that is closed can be found again there: not every desktop shows the icons of programs.
pub(crate) fn can_be_seen(app: &AppHandle) -> bool {
    app.tray_by_id(ID).is_some() && has_host()
}

#[cfg(target_os = "linux")]
fn has_host() -> bool {
    let bus = "org.freedesktop.DBus";
    let asked = zbus::blocking::Connection::session().and_then(|session| {
        session.call_method(
            Some(bus),
            "/org/freedesktop/DBus",
            Some(bus),
            "NameHasOwner",
            &"org.kde.StatusNotifierWatcher",
        )
    });
    asked.and_then(|answer| answer.body().deserialize()).unwrap_or(false)
}

#[cfg(not(target_os = "linux"))]
fn has_host() -> bool {
    true
}

/// Brings the menu up to date. Its items stay the same: a menu put in the place of another makes some trays flicker.
pub(crate) fn update(app: &AppHandle) {
    let items = app.try_state::<Items>().map(|items| items.inner().clone());
    let Some(items) = items.filter(|_| app.tray_by_id(ID).is_some()) else { return };
    if let Err(error) = items.say(app) {
        tracing::warn!(%error, "the tray's menu could not be changed");
    }
}

/// What stands in the menu.
#[derive(Clone)]
struct Items {
    menu: Menu<Wry>,
    toggle: MenuItem<Wry>,
    pause: MenuItem<Wry>,
    overlay: CheckMenuItem<Wry>,
    through: CheckMenuItem<Wry>,
    settings: MenuItem<Wry>,
    history: MenuItem<Wry>,
    quit: MenuItem<Wry>,
}

impl Items {
    fn new(app: &AppHandle) -> tauri::Result<Self> {
        let item = |id: &str| MenuItemBuilder::with_id(id, id).build(app);
        let check = |id: &str| CheckMenuItemBuilder::with_id(id, id).build(app);
        let (toggle, pause) = (item("toggle")?, item("pause")?);
        let (overlay, through) = (check("overlay")?, check("through")?);
        let (settings, history, quit) = (item("settings")?, item("history")?, item("quit")?);
        let menu = MenuBuilder::new(app)
            .items(&[&toggle, &pause])
            .separator()
            .items(&[&overlay, &through])
            .separator()
            .items(&[&settings, &history])
            .separator()
            .item(&quit)
            .build()?;
        let items = Self { menu, toggle, pause, overlay, through, settings, history, quit };
        items.say(app).map(|()| items)
    }

    /// Puts the present words and marks in place.
    fn say(&self, app: &AppHandle) -> tauri::Result<()> {
        let program = app.state::<Program>();
        let (words, chosen) = (program.words(), program.settings());
        let listening = *program.streams.listening().borrow();
        let on = listening.open > 0;
        self.toggle.set_text(words.get(if on { "tray.stop" } else { "tray.start" }))?;
        self.pause.set_text(words.get(if listening.paused { "tray.resume" } else { "tray.pause" }))?;
        self.pause.set_enabled(on)?;
        self.overlay.set_text(words.get("tray.overlay"))?;
        self.overlay.set_checked(chosen.overlay)?;
        self.through.set_text(words.get("tray.through"))?;
        self.through.set_checked(chosen.through)?;
        self.settings.set_text(words.get("tray.settings"))?;
        self.history.set_text(words.get("tray.history"))?;
        self.quit.set_text(words.get("tray.quit"))
    }
}

fn build(app: &AppHandle) -> tauri::Result<()> {
    let items = match app.try_state::<Items>() {
        Some(items) => items.inner().clone(),
        None => Items::new(app)?,
    };
    let mut builder = TrayIconBuilder::with_id(ID)
        .tooltip("Subtide")
        .menu(&items.menu)
        // Where a click has a meaning of its own, it shows the window, as everywhere on that system.
        .show_menu_on_left_click(cfg!(target_os = "macos"))
        .on_tray_icon_event(|tray, event| {
            if let TrayIconEvent::Click { button: MouseButton::Left, button_state: MouseButtonState::Up, .. } = event
                && cfg!(not(target_os = "macos"))
            {
                windows::show_main(tray.app_handle());
            }
        });
    if let Some(icon) = app.default_window_icon() {
        builder = builder.icon(icon.clone());
    }
    builder.build(app)?;
    app.manage(items);
    Ok(())
}

fn chosen(app: &AppHandle, id: &str) {
    match id {
        "overlay" => program::change(app, |settings| settings.overlay = !settings.overlay),
        "through" => program::change(app, |settings| settings.through = !settings.through),
        "quit" => program::end(app),
        "toggle" | "pause" => {
            app.emit_to(windows::MAIN, "command", id).ok();
        }
        "settings" | "history" => {
            windows::show_main(app);
            app.emit_to(windows::MAIN, "command", id).ok();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_s_words_are_used_and_nothing_is_ever_empty() {
        let told = [("tray.start", "Iniciar"), ("tray.quit", "  "), ("tray.unknown", "x")];
        let words = Words::new(told.map(|(key, word)| (key.to_owned(), word.to_owned())).into());
        assert_eq!(words.get("tray.start"), "Iniciar");
        assert_eq!(words.get("tray.quit"), "Quit Subtide");
        assert_eq!(words.0.len(), 1);
        assert!(WORDS.iter().all(|(key, _)| !words.get(key).is_empty()));
    }
}
