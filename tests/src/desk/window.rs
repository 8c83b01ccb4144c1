//! Windows as the window manager knows them.

use super::Desk;

/// A window on the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// As X11 numbers it.
    pub id: String,
    /// Left edge, top edge, width and height, in pixels.
    pub place: (i32, i32, u32, u32),
    /// Bits a pixel; 32 are colour and transparency.
    pub depth: u32,
    /// `_NET_WM_STATE`, such as `_NET_WM_STATE_ABOVE`.
    pub states: Vec<String>,
}

impl Desk {
    /// The windows with this title that are shown, the lowest first.
    ///
    /// # Panics
    /// When the window manager cannot be asked.
    pub async fn windows(&self, title: &str) -> Vec<Window> {
        let found = self.command("xdotool").args(["search", "--onlyvisible", "--name", &format!("^{title}$")]).output();
        let found = found.await.unwrap_or_else(|error| panic!("xdotool: {error}"));
        let mut windows = Vec::new();
        for id in String::from_utf8_lossy(&found.stdout).lines() {
            windows.push(self.look_at(id.trim()).await);
        }
        windows
    }

    async fn look_at(&self, id: &str) -> Window {
        let told = self.run("xwininfo", &["-id", id]).await;
        let number = |label: &str| -> i32 {
            let line = told.lines().find_map(|line| line.trim().strip_prefix(label));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("xwininfo tells no {label}"))
        };
        let size = |label: &str| u32::try_from(number(label)).unwrap_or_default();
        let corner = (number("Absolute upper-left X:"), number("Absolute upper-left Y:"));
        let states = self.run("xprop", &["-id", id, "_NET_WM_STATE"]).await;
        let states =
            states.split_once('=').map(|(_, list)| list.split(',').map(|state| state.trim().to_owned()).collect());
        Window {
            id: id.to_owned(),
            place: (corner.0, corner.1, size("Width:"), size("Height:")),
            depth: size("Depth:"),
            states: states.unwrap_or_default(),
        }
    }
}

impl Window {
    /// Whether the window manager keeps it above all others.
    #[must_use]
    pub fn is_above(&self) -> bool {
        self.states.iter().any(|state| state == "_NET_WM_STATE_ABOVE")
    }
}
