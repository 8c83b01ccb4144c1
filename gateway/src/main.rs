//! The gateway as a program of its own: configuration, logs, bus, ports, serve, drain.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use gateway::{Gateway, GatewayConfig, server::HEALTH_BUS};
use shared::{
    bus::RedisBus,
    config::Env,
    health::{Health, HealthServer, probe},
    shutdown,
    telemetry::{self, LogConfig},
};

/// Exit status of a configuration that cannot be used (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;
/// Exit status when something the gateway needs is away (`EX_UNAVAILABLE`).
const EX_UNAVAILABLE: u8 = 69;

#[tokio::main]
async fn main() -> ExitCode {
    let mut env = Env::process();
    let log = LogConfig::from_env(&mut env, "info");
    let health_addr = SocketAddr::new(
        env.parse_or("HEALTH_BIND", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        env.parse_or("HEALTH_PORT", 8080_u16),
    );
    if std::env::args().nth(1).as_deref() == Some("health") {
        return if probe(health_addr).await.unwrap_or(false) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let redis_url = env.get("REDIS_URL").unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let config = GatewayConfig::from_env(&mut env);
    if let Err(error) = env.finish() {
        eprintln!("gateway: {error}");
        return ExitCode::from(EX_USAGE);
    }
    telemetry::init(&log);
    match serve(config, health_addr, &redis_url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

async fn serve(config: GatewayConfig, health_addr: SocketAddr, redis_url: &str) -> anyhow::Result<()> {
    let stop = shutdown::on_signal().context("signal handlers cannot be installed")?;
    let registry = prometheus::Registry::new();
    let health = Health::new("gateway", &[HEALTH_BUS], registry.clone());
    let health_server = HealthServer::bind(health_addr, health.clone()).await;
    let health_server = health_server.with_context(|| format!("HEALTH_PORT: {health_addr} cannot be listened on"))?;
    let bus = Arc::new(RedisBus::connect(redis_url).await?);
    let gateway = Gateway::bind(config, bus, health, &registry).await?;
    tracing::info!(clients = %gateway.local_addr()?, health = %health_server.local_addr()?, "gateway listens");
    let health_running = tokio::spawn(health_server.run(stop.child_token()));
    gateway.run(stop).await?;
    health_running.await.context("the health port failed")??;
    tracing::info!("gateway stopped");
    Ok(())
}
