//! Gateway and workers on one bus in this process: the same code as the separate programs, only nearer together.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use gateway::{
    Gateway, GatewayConfig,
    config::{AuthMode, DEFAULT_HEALTH_PORT, ENV_BIND, ENV_ENABLE_AUTH, has_way_in},
};
use prometheus::Registry;
use shared::{
    audio::SAMPLE_RATE,
    bus::{Bus, MemoryBus, RedisBus, RedisSettings},
    config::Env,
    consumer::BUS,
    health::{Health, HealthServer},
    model_metrics::{ModelMetrics, Work},
    role_process::{MODEL, health_addr},
    shutdown::CancellationToken,
};
use stt_worker::{SttConfig, SttWorker};
use tokio::task::JoinSet;
use translation_worker::{TranslationConfig, TranslationWorker};

/// An utterance must end this much before the model's window does: room for the padding the model wants.
const WINDOW_RESERVE: Duration = Duration::from_millis(500);

/// What the roles of one process need to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The gateway's part.
    pub gateway: GatewayConfig,
    /// The stt-worker's part.
    pub stt: SttConfig,
    /// The translation-worker's part.
    pub translation: TranslationConfig,
    /// Redis, where there is one; without it the bus is in this process.
    pub redis: Option<RedisSettings>,
    /// Where health and metrics are served; `None`: nowhere.
    pub health: Option<SocketAddr>,
}

impl Settings {
    /// Reads what the separate programs read. One thing is different: on a loopback address, with neither
    /// `ENABLE_AUTH` nor any way in set (`JWT_SECRET`, a provider, a database), nobody is asked to sign in.
    pub fn from_env(env: &mut Env) -> Self {
        let bind = env.parse_or(ENV_BIND, gateway::config::DEFAULT_BIND);
        let untold = env.get(ENV_ENABLE_AUTH).is_none() && !has_way_in(env);
        let gateway = if untold && bind.is_loopback() {
            GatewayConfig { auth: AuthMode::Off, ..GatewayConfig::from_env_without_auth(env) }
        } else {
            GatewayConfig::from_env(env)
        };
        let health = health_addr(env, DEFAULT_HEALTH_PORT);
        Self {
            gateway,
            stt: SttConfig::from_env(env),
            translation: TranslationConfig::from_env(env),
            redis: RedisSettings::from_env(env),
            health: Some(health),
        }
    }
}

/// All roles, running.
#[derive(Debug)]
pub struct Roles {
    /// Where clients connect.
    pub addr: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Roles {
    /// Loads the models, opens the ports and starts every role; they take work when this returns.
    ///
    /// # Errors
    /// When a model, the bus or a port cannot be had.
    pub async fn start(mut settings: Settings) -> anyhow::Result<Self> {
        let (stop, registry) = (CancellationToken::new(), Registry::new());
        let health = Health::new("subtide", &[BUS, MODEL], registry.clone());
        let mut tasks = JoinSet::new();
        if let Some(addr) = settings.health {
            let server = HealthServer::bind(addr, health.clone()).await;
            let server = server.with_context(|| format!("HEALTH_PORT: {addr} cannot be listened on"))?;
            let stop = stop.clone();
            tasks.spawn(async move { Ok(server.run(stop).await?) });
        }
        let bus: Arc<dyn Bus> = match &settings.redis {
            Some(redis) => Arc::new(RedisBus::open(redis).await?),
            None => Arc::new(MemoryBus::new()),
        };
        let speech = ModelMetrics::register(&registry, Work::Speech)?;
        let text = ModelMetrics::register(&registry, Work::Translation)?;
        let (transcriber, translators) = tokio::try_join!(
            async {
                let loaded = stt_worker::engine::load(&settings.stt, &speech).await;
                loaded.context("the speech model cannot be loaded")
            },
            async {
                let loaded = translation_worker::engine::load(&settings.translation, &text).await;
                loaded.context("the translation models cannot be loaded")
            },
        )?;
        let window = Duration::from_secs_f64(transcriber.window_samples() as f64 / f64::from(SAMPLE_RATE));
        settings.gateway.max_utterance = settings.gateway.max_utterance.min(window.saturating_sub(WINDOW_RESERVE));
        health.set(MODEL, true);

        let stt = SttWorker::new(&settings.stt, Arc::clone(&bus), transcriber, health.clone(), &registry)?;
        let translation =
            TranslationWorker::new(&settings.translation, Arc::clone(&bus), translators, health.clone(), &registry)?;
        let gateway = Gateway::bind(settings.gateway, bus, health, &registry).await?;
        let addr = gateway.local_addr()?;
        // The gateway drains first: what it owes must still be heard and translated.
        let drained = CancellationToken::new();
        let (stt_drained, translation_drained) = (drained.clone(), drained.clone());
        let for_gateway = stop.clone();
        tasks.spawn(async move { Ok(stt.run(stt_drained).await?) });
        tasks.spawn(async move { Ok(translation.run(translation_drained).await?) });
        tasks.spawn(async move {
            let served = gateway.run(for_gateway).await;
            drained.cancel();
            Ok(served?)
        });
        Ok(Self { addr, stop, tasks })
    }

    /// Address of the client port's WebSocket.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/v1/stream", self.addr)
    }

    /// Why a role is over that nobody stopped; `None` while all of them run. Told once for each.
    pub fn failure(&mut self) -> Option<anyhow::Error> {
        let ended = self.tasks.try_join_next()?.context("a role broke").flatten();
        Some(ended.err().unwrap_or_else(|| anyhow::anyhow!("a role ended, though nobody had stopped it")))
    }

    /// Runs until `shutdown` or until a role fails, then stops all of them in order.
    ///
    /// # Errors
    /// What made a role fail.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next() => ended.context("a role broke")?,
        };
        self.stop().await?;
        failed
    }

    /// Stops every role in order: no new sessions, what is owed is sent, then the workers.
    ///
    /// # Errors
    /// When a role failed while it stopped.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a role broke")??;
        }
        Ok(())
    }
}
