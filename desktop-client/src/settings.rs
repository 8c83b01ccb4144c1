//! What the person chose about this program: a JSON file in its configuration directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use client::sign_in::Server;
use serde::{Deserialize, Serialize};

use crate::{refusal::Refusal, shortcuts};

const FILE: &str = "settings.json";
/// Where a gateway on this machine listens.
const DEFAULT_SERVER: &str = "http://127.0.0.1:5026";

/// Where captions are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// By a server.
    Server,
    /// In this process.
    Local,
}

/// Keys that work whatever window has the focus; empty: none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Shortcuts {
    /// Start, or stop.
    pub(crate) toggle: String,
    /// Show the overlay, or hide it.
    pub(crate) overlay: String,
    /// Whether clicks pass through the overlay.
    pub(crate) through: String,
}

impl Default for Shortcuts {
    fn default() -> Self {
        let [toggle, overlay, through] = ["Ctrl+Alt+C", "Ctrl+Alt+O", "Ctrl+Alt+T"].map(str::to_owned);
        Self { toggle, overlay, through }
    }
}

/// What the person chose about this program. What they chose about captions is the page's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    /// `https://HOST`, or `http://127.0.0.1:PORT`.
    pub(crate) server: String,
    /// Folder of the models of local mode; empty: those that come with the program.
    pub(crate) model: String,
    pub(crate) shortcuts: Shortcuts,
    /// Whether the program starts when the person logs in.
    pub(crate) autostart: bool,
    /// Whether there is an icon in the tray, into which the window closes.
    pub(crate) tray: bool,
    /// Whether a newer version may be asked for.
    pub(crate) updates: bool,
    /// Whether the overlay is shown.
    pub(crate) overlay: bool,
    /// Whether clicks pass through it.
    pub(crate) through: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: if cfg!(feature = "local") { Mode::Local } else { Mode::Server },
            server: DEFAULT_SERVER.to_owned(),
            model: String::new(),
            shortcuts: Shortcuts::default(),
            autostart: false,
            tray: true,
            updates: false,
            overlay: true,
            // An empty overlay must not take the clicks of the window under it.
            through: true,
        }
    }
}

/// What the command line says in place of what is saved: in force, and never written down. Who chooses something else in the
/// program has chosen, and that is.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// What was given, and what is saved.
    mode: Option<(Mode, Mode)>,
    server: Option<(String, String)>,
}

impl Given {
    /// Puts into `settings` what was given.
    pub(crate) fn put(settings: &mut Settings, mode: Option<Mode>, server: Option<&str>) -> Self {
        let mode = mode.map(|given| (given, std::mem::replace(&mut settings.mode, given)));
        let server = server.map(|given| given.trim_end_matches('/').to_owned());
        let server = server.map(|given| (given.clone(), std::mem::replace(&mut settings.server, given)));
        Self { mode, server }
    }

    /// What is written down while `settings` are in force.
    pub(crate) fn saved(&mut self, settings: &Settings) -> Settings {
        self.mode.take_if(|(given, _)| *given != settings.mode);
        self.server.take_if(|(given, _)| *given != settings.server);
        let mode = self.mode.map_or(settings.mode, |(_, saved)| saved);
        let server = self.server.as_ref().map_or(&settings.server, |(_, saved)| saved).clone();
        Settings { mode, server, ..settings.clone() }
    }
}

/// What was found where the settings should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Settings, or nothing yet.
    Good,
    /// Something else; it is kept there, and the defaults are in force.
    Bad(PathBuf),
}

/// Reads the settings in `dir`. What cannot be read is put aside, with `.bad` at the end of its name.
pub(crate) fn load(dir: &Path) -> (Settings, Found) {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Settings::default(), Found::Good),
        Err(_) => return (Settings::default(), aside(&path)),
    };
    match serde_json::from_str::<Settings>(&text) {
        Ok(settings) => {
            let mended = settings.clone().mended();
            let found = if mended == settings { Found::Good } else { aside(&path) };
            (mended, found)
        }
        Err(_) => (Settings::default(), aside(&path)),
    }
}

fn aside(path: &Path) -> Found {
    let bad = path.with_extension("json.bad");
    if let Err(error) = fs::rename(path, &bad) {
        tracing::warn!(%error, "settings that cannot be used could not be put aside");
    }
    Found::Bad(bad)
}

/// Writes `settings` into `dir`, whole or not at all.
///
/// # Errors
/// When the directory cannot be written to.
pub(crate) fn save(dir: &Path, settings: &Settings) -> io::Result<()> {
    write_whole(&dir.join(FILE), &serde_json::to_vec_pretty(settings)?)
}

/// Puts `bytes` in the place of `path`: a reader finds the old ones or the new ones, and nothing in between.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("json.new");
    fs::write(&new, bytes)?;
    fs::rename(&new, path)
}

impl Settings {
    /// Each value that cannot be used, replaced by its default.
    fn mended(mut self) -> Self {
        let defaults = Self::default();
        if Server::new(&self.server).is_err() {
            self.server = defaults.server;
        }
        for (keys, default) in [
            (&mut self.shortcuts.toggle, defaults.shortcuts.toggle),
            (&mut self.shortcuts.overlay, defaults.shortcuts.overlay),
            (&mut self.shortcuts.through, defaults.shortcuts.through),
        ] {
            if shortcuts::parse(keys).is_err() {
                *keys = default;
            }
        }
        self
    }

    /// Where captions are made: in this process with the models of a folder, or by a server.
    pub(crate) fn place(&self) -> (Mode, &str) {
        (self.mode, if self.mode == Mode::Local { &self.model } else { &self.server })
    }

    /// These settings as a person typed them in place of `before`, ready for use.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn checked(mut self, before: &Self) -> Result<Self, Refusal> {
        self.server = self.server.trim().trim_end_matches('/').to_owned();
        self.model = self.model.trim().to_owned();
        if self.mode == Mode::Local && cfg!(not(feature = "local")) {
            return Err(Refusal::new("no_local", "this program was built without local mode; choose a server"));
        }
        if self.mode == Mode::Server || !self.server.is_empty() {
            Server::new(&self.server).map_err(|error| Refusal::new("bad_server", format!("{error:#}")))?;
        }
        // A folder that is gone is told of when it is wanted; until then it must not stand in the way of everything else.
        let chosen = self.mode == Mode::Local && self.place() != before.place();
        if chosen && !self.model.is_empty() && !Path::new(&self.model).is_dir() {
            let message = format!("`{}` is no folder; choose the folder that a model was pulled into", self.model);
            return Err(Refusal::new("no_model", message));
        }
        let Shortcuts { toggle, overlay, through } = &self.shortcuts;
        for keys in [toggle, overlay, through] {
            shortcuts::parse(keys)?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), (Settings::default(), Found::Good), "the first start");
        let settings = Settings { server: "https://captions.example".to_owned(), tray: false, ..Settings::default() };
        save(dir.path(), &settings).unwrap();
        assert_eq!(load(dir.path()), (settings, Found::Good));
    }

    #[test]
    fn a_bad_file_is_kept_aside_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bad) = (dir.path().join(FILE), dir.path().join("settings.json.bad"));
        fs::write(&path, "{ \"mode\": ").unwrap();
        assert_eq!(load(dir.path()), (Settings::default(), Found::Bad(bad.clone())));
        assert_eq!(fs::read_to_string(bad).unwrap(), "{ \"mode\": ", "nothing of it is lost");
        assert!(!path.exists());
    }

    #[test]
    fn one_bad_value_does_not_take_the_others_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"server":"http://captions.example","tray":false,"shortcuts":{"toggle":"Ctrl+Nothing"},"new":1}"#;
        fs::write(dir.path().join(FILE), text).unwrap();
        let (settings, found) = load(dir.path());
        assert_eq!(settings, Settings { tray: false, ..Settings::default() });
        assert!(matches!(found, Found::Bad(_)));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let good = Settings { mode: Mode::Server, ..Settings::default() };
        let refused = |settings: Settings| settings.checked(&good).unwrap_err().fault;
        assert!(good.clone().checked(&good).is_ok());
        assert_eq!(refused(Settings { server: "http://captions.example".to_owned(), ..good.clone() }), "bad_server");
        let shortcuts = Shortcuts { toggle: "Hyper+Q+W".to_owned(), ..Shortcuts::default() };
        assert_eq!(refused(Settings { shortcuts, ..good.clone() }), "bad_shortcut");
        let typed = Settings { server: " https://captions.example/ ".to_owned(), ..good.clone() };
        assert_eq!(typed.checked(&good).unwrap().server, "https://captions.example");
    }

    #[test]
    #[cfg(feature = "local")]
    fn a_folder_has_to_be_there_only_when_it_is_chosen() {
        let gone = Settings { mode: Mode::Local, model: "/nonexistent/model".to_owned(), ..Settings::default() };
        let (none, server) = (Settings { model: String::new(), ..gone.clone() }, Mode::Server);
        assert_eq!(gone.clone().checked(&none).unwrap_err().fault, "no_model");
        let by_server = Settings { mode: server, ..gone.clone() };
        assert_eq!(gone.clone().checked(&by_server).unwrap_err().fault, "no_model");
        assert!(Settings { tray: false, ..gone.clone() }.checked(&gone).is_ok(), "it vanished since");
        assert!(by_server.checked(&gone).is_ok(), "the way out of it");
    }

    #[test]
    fn what_the_command_line_says_is_in_force_and_not_written_down() {
        let saved = Settings { mode: Mode::Server, server: "https://saved.example".to_owned(), ..Settings::default() };
        let mut settings = saved.clone();
        let mut given = Given::put(&mut settings, Some(Mode::Local), Some("https://given.example/"));
        assert_eq!((settings.mode, settings.server.as_str()), (Mode::Local, "https://given.example"));
        settings.tray = false;
        assert_eq!(given.saved(&settings), Settings { tray: false, ..saved.clone() });
        // What is chosen in the program is kept, even where it is then what was given.
        settings.mode = Mode::Server;
        assert_eq!(given.saved(&settings), Settings { tray: false, ..saved.clone() });
        settings.mode = Mode::Local;
        assert_eq!(given.saved(&settings), Settings { tray: false, mode: Mode::Local, ..saved });
        settings.server = "https://chosen.example".to_owned();
        assert_eq!(given.saved(&settings), settings);
        assert_eq!(Given::default().saved(&settings), settings);
    }

    #[test]
    fn captions_are_made_elsewhere_only_where_the_mode_in_force_says_so() {
        let server = Settings { mode: Mode::Server, ..Settings::default() };
        let local = Settings { mode: Mode::Local, ..server.clone() };
        assert_ne!(server.place(), local.place());
        let (other_server, other_model) = ("https://other.example".to_owned(), "/models".to_owned());
        assert_ne!(Settings { server: other_server.clone(), ..server.clone() }.place(), server.place());
        assert_ne!(Settings { model: other_model.clone(), ..local.clone() }.place(), local.place());
        assert_eq!(Settings { model: other_model, tray: false, ..server.clone() }.place(), server.place());
        assert_eq!(Settings { server: other_server, ..local.clone() }.place(), local.place());
    }
}
