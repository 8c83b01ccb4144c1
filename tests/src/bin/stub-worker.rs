//! `stub-worker speech|translation`: a real worker (its consumer, its leases, its policy, its keys and exit codes) around a
//! stub of its model.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use shared::{
    config::Env,
    role_process::{self, Fault, MODEL, RoleProcess},
};
use stt_worker::{SttConfig, SttWorker};
use tests::stub_engine::Stub;
use translation_worker::{TranslationConfig, TranslationWorker};

#[derive(Debug, Parser)]
struct Arguments {
    /// Which worker
    role: Role,
    /// Time an answer takes, milliseconds
    #[arg(long, default_value_t = 50)]
    delay_ms: u64,
    /// Answers worked on at once
    #[arg(long, default_value_t = 16)]
    at_once: usize,
    /// Hear nothing but marked words
    #[arg(long)]
    only_marks: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Speech,
    Translation,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { role, delay_ms, at_once, only_marks } = Arguments::parse();
    let stub = Stub { delay: Duration::from_millis(delay_ms), at_once, only_marks };
    match role {
        Role::Speech => {
            let port = stt_worker::config::DEFAULT_HEALTH_PORT;
            role_process::work("stt-worker", port, async |process, env| speech(process, env, stub).await).await
        }
        Role::Translation => {
            let port = translation_worker::config::DEFAULT_HEALTH_PORT;
            role_process::work("translation-worker", port, async |process, env| translation(process, env, stub).await)
                .await
        }
    }
}

async fn speech(process: RoleProcess, mut env: Env, stub: Stub) -> Result<(), Fault> {
    let config = SttConfig::from_env(&mut env);
    env.finish()?;
    let Some(started) = process.start("stt-worker", &[MODEL, shared::consumer::BUS]).await? else { return Ok(()) };
    started.health.set(MODEL, true);
    let worker = SttWorker::new(&config, started.bus, stub.transcriber(), started.health, &started.registry)?;
    worker.run(started.shutdown).await
}

async fn translation(process: RoleProcess, mut env: Env, stub: Stub) -> Result<(), Fault> {
    let config = TranslationConfig::from_env(&mut env);
    env.finish()?;
    let Some(started) = process.start("translation-worker", &[MODEL, shared::consumer::BUS]).await? else {
        return Ok(());
    };
    started.health.set(MODEL, true);
    let worker = TranslationWorker::new(&config, started.bus, stub.routes(), started.health, &started.registry)?;
    worker.run(started.shutdown).await
}
