//! The gateway as a program of its own: configuration, logs, bus, ports, serve, drain.

use std::process::ExitCode;

use gateway::{Gateway, GatewayConfig, config::DEFAULT_HEALTH_PORT};
use shared::{
    config::Env,
    consumer::BUS,
    role_process::{self, Fault, RoleProcess},
};

#[tokio::main]
async fn main() -> ExitCode {
    role_process::main("gateway", DEFAULT_HEALTH_PORT, run).await
}

async fn run(process: RoleProcess, mut env: Env) -> Result<(), Fault> {
    let config = GatewayConfig::from_env(&mut env);
    env.finish()?;
    let Some(started) = process.start("gateway", &[BUS]).await? else { return Ok(()) };
    let gateway = Gateway::bind(config, started.bus, started.health, &started.registry).await;
    let gateway = gateway.map_err(Fault::role)?;
    if let Some(admin) = gateway.admin_addr() {
        tracing::info!(%admin, "admin listener");
    }
    tracing::info!(clients = %gateway.local_addr().map_err(Fault::role)?, "gateway listens");
    gateway.run(started.shutdown).await.map_err(Fault::role)?;
    tracing::info!("gateway stopped");
    Ok(())
}
