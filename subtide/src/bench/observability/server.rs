//! `subtide serve` as a process of its own, on free ports, with nothing from the environment but where models are.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use shared::{config::Env, health::probe};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::bench::stream::resources::cpu_seconds;

/// Keys that say which models do the work and where: the same for both servers.
const KEPT: [&str; 13] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "MODELS_DIR",
    "STT_MODEL",
    "MODEL_SIZE",
    "STT_MAX_BATCH",
    "STT_POLICY",
    "STT_BEAM_SIZE",
    "TRANSLATION_MODELS",
    "TRANSLATION_MODEL",
    "DEVICE",
    "COMPUTE_TYPE",
    "CPU_THREADS",
];
/// Loading models takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server; killed when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Where clients connect.
    pub(super) url: String,
    /// Its health port.
    pub(super) health: SocketAddr,
}

impl Server {
    /// One that logs everything of level info as JSON to `log`, and sends its traces to `collector`.
    pub(super) async fn watched(env: &Env, log: &Path, collector: &str) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
        let settings = [("LOG_LEVEL", "info"), ("LOG_FORMAT", "json"), ("OTEL_EXPORTER_OTLP_ENDPOINT", collector)];
        Self::start(env, &settings, Stdio::from(file)).await
    }

    /// One that says nothing.
    pub(super) async fn alone(env: &Env) -> anyhow::Result<Self> {
        Self::start(env, &[("LOG_LEVEL", "off")], Stdio::null()).await
    }

    async fn start(env: &Env, settings: &[(&str, &str)], log: Stdio) -> anyhow::Result<Self> {
        let (door, health) = (free_port()?, free_port()?);
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command.arg("serve").env_clear().envs(KEPT.iter().filter_map(|key| Some((*key, env.get(key)?))));
        command.env("GATEWAY_PORT", door.port().to_string()).env("HEALTH_PORT", health.port().to_string());
        // An overload is what is measured.
        command.env("ENABLE_AUTH", "false").env("MAX_QUEUE_AGE_SECONDS", "600").env("MAX_QUEUE_DEPTH", "1000000");
        command.envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = command.spawn().context("`subtide serve` does not start")?;
        let mut server = Self { child, url: format!("ws://{door}/v1/stream"), health };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !probe(self.health).await.unwrap_or(false) {
            if let Some(status) = self.child.try_wait()? {
                bail!("`subtide serve` ended before it was ready: {status}; run it by itself to see why");
            }
            anyhow::ensure!(Instant::now() < deadline, "`subtide serve` is not ready after {} s", PATIENCE.as_secs());
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Processor time it has had; `None` where the system does not tell.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        cpu_seconds(&self.child.id()?.to_string())
    }
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}
