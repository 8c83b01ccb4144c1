//! Tauri's own: the configuration and the permissions become code.

/// Everything the windows may ask for; `capabilities/` says which window may ask for what.
const COMMANDS: &[&str] = &[
    "check_updates",
    "devices",
    "finalize_stream",
    "hurry_stream",
    "notices",
    "open_stream",
    "overlay_hide",
    "overlay_through",
    "pause_stream",
    "person",
    "save_text",
    "set_settings",
    "set_words",
    "settings",
    "sign_in",
    "sign_out",
    "stop_stream",
    "update_stream",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The page is inside the program.
    println!("cargo:rerun-if-changed=../web-ui/page");
    println!("cargo:rerun-if-changed=capabilities");
    println!("cargo:rerun-if-env-changed=SUBTIDE_UPDATE_URL");
    println!("cargo:rerun-if-env-changed=SUBTIDE_UPDATE_KEY");
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    Ok(tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest))?)
}
