//! The process: configuration, logs, health port, Redis, models, work, drain, exit code.

use std::process::ExitCode;

use shared::{
    config::Env,
    model_metrics::{ModelMetrics, Work},
    role_process::{self, Fault, MODEL, RoleProcess},
};
use translation_worker::{TranslationConfig, TranslationWorker, config::DEFAULT_HEALTH_PORT, engine};

#[tokio::main]
async fn main() -> ExitCode {
    role_process::main("translation-worker", DEFAULT_HEALTH_PORT, run).await
}

async fn run(process: RoleProcess, mut env: Env) -> Result<(), Fault> {
    let config = TranslationConfig::from_env(&mut env);
    env.finish()?;
    let started = process.start("translation-worker", &[MODEL, shared::consumer::BUS]).await?;
    let metrics = ModelMetrics::register(&started.registry, Work::Translation)?;
    let loading = engine::load(&config, &metrics);
    let Some(routes) = started.shutdown.run_until_cancelled(loading).await else { return Ok(()) };
    let routes = routes.map_err(|error| Fault::Model(error.to_string()))?;
    started.health.set(MODEL, true);
    let worker = TranslationWorker::new(&config, started.bus, routes, started.health, &started.registry)?;
    worker.run(started.shutdown).await;
    Ok(())
}
