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
    until_mounted(&env).await;
    let config = SttConfig::from_env(&mut env);
    env.finish()?;
    let started = process.start("stt-worker", &[MODEL, shared::consumer::BUS]).await?;
    let metrics = ModelMetrics::register(&started.registry, Work::Speech)?;
    let load = async || engine::load(&config, &metrics).await;
    let Some(transcriber) = load_model(&started.shutdown, load, may_pass).await? else { return Ok(()) };
    started.health.set(MODEL, true);
    let worker = SttWorker::new(&config, started.bus, transcriber, started.health, &started.registry)?;
    worker.run(started.shutdown).await
}
