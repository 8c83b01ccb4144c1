//! `subtide serve`: the all-in-one server.

use shared::{
    config::Env,
    shutdown,
    telemetry::{self, TelemetryConfig},
};

use crate::roles::{Roles, Settings};

/// Serves until the first SIGTERM or Ctrl-C.
///
/// # Errors
/// When the configuration, a model, the bus or a port cannot be used.
pub async fn run() -> anyhow::Result<()> {
    let mut env = Env::process();
    let telemetry = TelemetryConfig::from_env(&mut env, "info");
    let settings = Settings::from_env(&mut env);
    env.finish()?;
    telemetry::start(&telemetry, "subtide");
    let stop = shutdown::on_signal()?;
    let secure = if settings.gateway.tls.is_some() { "s" } else { "" };
    let roles = Roles::start(settings).await?;
    let page = format!("http{secure}://{}/", roles.addr);
    let stream = format!("ws{secure}://{}/v1/stream", roles.addr);
    tracing::info!(%page, %stream, "subtide serves");
    roles.run(stop).await?;
    tracing::info!("subtide stopped");
    Ok(())
}
