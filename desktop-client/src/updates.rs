//! Whether there is a newer version. Only a program that was built with an address and a key to ask with asks, and only
//! where the person allowed it.

use std::time::Duration;

use tauri::{AppHandle, Context, Manager as _, Wry};
use tauri_plugin_updater::UpdaterExt as _;

use crate::{
    program::{self, Program},
    refusal::Refusal,
};

/// Where a newer version is asked for, at build time (`SUBTIDE_UPDATE_URL`).
const ENDPOINT: Option<&str> = option_env!("SUBTIDE_UPDATE_URL");
/// Its signature's public key (`SUBTIDE_UPDATE_KEY`).
const KEY: Option<&str> = option_env!("SUBTIDE_UPDATE_KEY");

/// How long after the start it is asked: whoever starts the program wants captions first.
const FIRST: Duration = Duration::from_secs(60);
/// How often it is asked from then on.
const AGAIN: Duration = Duration::from_hours(24);

/// Whether this program can be updated at all.
pub(crate) fn possible() -> bool {
    ENDPOINT.is_some() && KEY.is_some()
}

/// Tells Tauri's updater where to ask, where there is somebody to ask.
pub(crate) fn configure(context: &mut Context<Wry>) {
    if let (Some(endpoint), Some(key)) = (ENDPOINT, KEY) {
        let config = serde_json::json!({"endpoints": [endpoint], "pubkey": key});
        context.config_mut().plugins.0.insert("updater".to_owned(), config);
    }
}

/// The newer version, if there is one.
///
/// # Errors
/// When nobody answers, or not as an update server does.
pub(crate) async fn check(app: &AppHandle) -> Result<Option<String>, Refusal> {
    if !possible() {
        return Ok(None);
    }
    let failed = |error: tauri_plugin_updater::Error| {
        Refusal::new("updates", format!("it could not be found out whether there is a newer version: {error}"))
    };
    let update = app.updater().map_err(failed)?.check().await.map_err(failed)?;
    Ok(update.map(|update| update.version))
}

/// Asks once a day, where the person allowed it, and says when there is one.
pub(crate) async fn watch(app: AppHandle) {
    if !possible() {
        return;
    }
    tokio::time::sleep(FIRST).await;
    loop {
        if app.state::<Program>().settings().updates {
            match check(&app).await {
                Ok(Some(version)) => program::notice(&app, "update_ready", version),
                Ok(None) => {}
                Err(refusal) => tracing::info!(%refusal, "no update was found"),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
