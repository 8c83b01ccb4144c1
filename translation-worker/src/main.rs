//! The process: configuration, logs, health port, Redis, models, work, drain, exit code.

use std::process::ExitCode;

use shared::{
    config::Env,
    role_process::{self, Fault, MODEL, RoleProcess},
};
use translation_worker::{TranslationConfig, TranslationWorker, config::DEFAULT_HEALTH_PORT, engine};

#[tokio::main]
async fn main() -> ExitCode {
    let mut env = Env::process();
    let process = RoleProcess::from_env(&mut env, DEFAULT_HEALTH_PORT);
    match std::env::args().nth(1).as_deref() {
        Some("health") => process.ask_health().await,
        Some(other) => {
            eprintln!("unknown argument `{other}`; usage: translation-worker [health]");
            ExitCode::from(64)
        }
        None => role_process::report(run(process, env).await),
    }
}

async fn run(process: RoleProcess, mut env: Env) -> Result<(), Fault> {
    let config = TranslationConfig::from_env(&mut env);
    env.finish()?;
    let started = process.start("translation-worker", &[MODEL, shared::consumer::BUS]).await?;
    let loading = engine::load(&config);
    let Some(routes) = started.shutdown.run_until_cancelled(loading).await else { return Ok(()) };
    let routes = routes.map_err(|error| Fault::Model(error.to_string()))?;
    started.health.set(MODEL, true);
    let worker = TranslationWorker::new(&config, started.bus, routes, started.health, &started.registry)?;
    worker.run(started.shutdown).await;
    Ok(())
}
