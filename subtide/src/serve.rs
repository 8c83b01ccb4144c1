//! `subtide serve`: the all-in-one server.

use shared::{config::Env, shutdown, telemetry, telemetry::LogConfig};

use crate::roles::{Roles, Settings};

/// Serves until the first SIGTERM or Ctrl-C.
///
/// # Errors
/// When the configuration, a model, the bus or a port cannot be used.
pub async fn run() -> anyhow::Result<()> {
    let mut env = Env::process();
    let log = LogConfig::from_env(&mut env, "info");
    let settings = Settings::from_env(&mut env);
    env.finish()?;
    telemetry::init(&log);
    let stop = shutdown::on_signal()?;
    let roles = Roles::start(settings).await?;
    tracing::info!(page = %format!("http://{}/", roles.addr), stream = %roles.url(), "subtide serves");
    roles.run(stop).await?;
    tracing::info!("subtide stopped");
    Ok(())
}
