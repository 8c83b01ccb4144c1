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
    /// The window with this title, if it is shown.
    ///
    /// # Panics
    /// When it cannot be asked for.
    pub async fn window(&self, title: &str) -> Option<Window> {
        let found = self.command("xdotool").args(["search", "--onlyvisible", "--name", &format!("^{title}$")]).output();
        let found = found.await.unwrap_or_else(|error| panic!("xdotool: {error}"));
        let id = String::from_utf8_lossy(&found.stdout).lines().last()?.trim().to_owned();
        let told = self.run("xwininfo", &["-id", &id]).await;
        let number = |label: &str| -> i32 {
            let line = told.lines().find_map(|line| line.trim().strip_prefix(label));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("xwininfo tells no {label}"))
        };
        let size = |label: &str| u32::try_from(number(label)).unwrap_or_default();
        let place =
            (number("Absolute upper-left X:"), number("Absolute upper-left Y:"), size("Width:"), size("Height:"));
        let states = self.run("xprop", &["-id", &id, "_NET_WM_STATE"]).await;
        let states =
            states.split_once('=').map(|(_, list)| list.split(',').map(|state| state.trim().to_owned()).collect());
        Some(Window { id, place, depth: size("Depth:"), states: states.unwrap_or_default() })
    }
}
