//! Tauri's own: the configuration and the permissions become code.
fn main() {
    tauri_build::build();
}
