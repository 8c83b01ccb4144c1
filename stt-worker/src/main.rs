//! The process: configuration, logs, health port, Redis, model, work, drain, exit code.

use std::process::ExitCode;

use shared::{
    config::Env,
    model_metrics::{ModelMetrics, Work},
    role_process::{self, Fault, MODEL, RoleProcess},
};
use stt_worker::{SttConfig, SttWorker, config::DEFAULT_HEALTH_PORT, engine};

#[tokio::main]
async fn main() -> ExitCode {
    role_process::main("stt-worker", DEFAULT_HEALTH_PORT, run).await
}

async fn run(process: RoleProcess, mut env: Env) -> Result<(), Fault> {
    let config = SttConfig::from_env(&mut env);
    env.finish()?;
    let started = process.start("stt-worker", &[MODEL, shared::consumer::BUS]).await?;
    let metrics = ModelMetrics::register(&started.registry, Work::Speech)?;
    let loading = engine::load(&config, &metrics);
    let Some(transcriber) = started.shutdown.run_until_cancelled(loading).await else { return Ok(()) };
    let transcriber = transcriber.map_err(|error| Fault::Model(error.to_string()))?;
    started.health.set(MODEL, true);
    let worker = SttWorker::new(&config, started.bus, transcriber, started.health, &started.registry)?;
    worker.run(started.shutdown).await;
    Ok(())
}
