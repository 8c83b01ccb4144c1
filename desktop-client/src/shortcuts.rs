//! Keys that work whatever window has the focus.

use tauri::{AppHandle, Emitter as _};
use tauri_plugin_global_shortcut::{GlobalShortcutExt as _, Shortcut, ShortcutState};

use crate::{program, refusal::Refusal, settings::Shortcuts, windows};

/// What a shortcut does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    Toggle,
    Overlay,
    Through,
}

/// The keys that `text` names; `None` where it names none.
///
/// # Errors
/// `bad_shortcut`.
pub(crate) fn parse(text: &str) -> Result<Option<Shortcut>, Refusal> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let bad = |why: String| {
        Refusal::new("bad_shortcut", format!("`{text}` are no keys ({why}); write them as in Ctrl+Alt+C"))
    };
    text.trim().parse::<Shortcut>().map(Some).map_err(|error| bad(error.to_string()))
}

/// Asks the system for these keys in place of those it gave before. A set that another program has, or that is there twice,
/// is returned, and does not stop the rest.
pub(crate) fn register(app: &AppHandle, wanted: &Shortcuts) -> Vec<String> {
    let all = app.global_shortcut();
    if let Err(error) = all.unregister_all() {
        tracing::warn!(%error, "shortcuts could not be given back");
    }
    let mut taken = Vec::new();
    for (keys, meant) in
        [(&wanted.toggle, Meant::Toggle), (&wanted.overlay, Meant::Overlay), (&wanted.through, Meant::Through)]
    {
        let Ok(Some(shortcut)) = parse(keys) else { continue };
        let registered = all.on_shortcut(shortcut, move |app, _, event| {
            if event.state == ShortcutState::Pressed {
                pressed(app, meant);
            }
        });
        if let Err(error) = registered {
            tracing::info!(%error, keys, "a shortcut cannot be had");
            taken.push(keys.clone());
        }
    }
    taken
}

fn pressed(app: &AppHandle, meant: Meant) {
    match meant {
        Meant::Toggle => {
            app.emit_to(windows::MAIN, "command", "toggle").ok();
        }
        Meant::Overlay => program::change(app, |settings| settings.overlay = !settings.overlay),
        Meant::Through => program::change(app, |settings| settings.through = !settings.through),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_people_write_them() {
        for good in ["Ctrl+Alt+C", "CmdOrCtrl+Shift+Space", "F9", " Ctrl+Alt+T "] {
            assert!(matches!(parse(good), Ok(Some(_))), "{good}");
        }
        assert!(matches!(parse("  "), Ok(None)));
        for bad in ["Ctrl+", "Hyper+Q+W", "C+Ctrl+D+E"] {
            assert!(parse(bad).is_err_and(|refusal| refusal.message.contains(bad)), "{bad}");
        }
    }
}
