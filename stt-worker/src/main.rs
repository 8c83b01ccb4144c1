//! The process: configuration, logs, health port, Redis, model, work, drain, exit code.

use std::process::ExitCode;

use shared::{
    config::Env,
    model_metrics::{ModelMetrics, Work},
    models::until_mounted,
    role_process::{self, Fault, MODEL, RoleProcess, load_model},
};
use stt_worker::{SttConfig, SttWorker, config::DEFAULT_HEALTH_PORT, engine, engine::may_pass};

#[tokio::main]
async fn main() -> ExitCode {
    role_process::main("stt-worker", DEFAULT_HEALTH_PORT, run).await
}

async fn run(process: RoleProcess, mut env: Env) -> Result<(), Fault> {
    env.check()?;
    let opened = process.open("stt-worker", &[MODEL, shared::consumer::BUS]).await?;
    if opened.shutdown.run_until_cancelled(until_mounted(&env)).await.is_none() {
        return Ok(());
    }
    let config = SttConfig::from_env(&mut env);
    env.finish()?;
    let Some(started) = opened.connect().await? else { return Ok(()) };
    let metrics = ModelMetrics::register(&started.registry, Work::Speech)?;
    let load = async || engine::load(&config, &metrics).await;
    let Some(transcriber) = load_model(&started.shutdown, load, may_pass).await? else { return Ok(()) };
    started.health.set(MODEL, true);
    let worker = SttWorker::new(&config, started.bus, transcriber, started.health, &started.registry)?;
    worker.run(started.shutdown).await
}
