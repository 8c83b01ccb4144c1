//! What stands around a role that is a process of its own: its common keys, its health port, its bus and its exit codes.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use prometheus::Registry;
use tokio::time::{Instant, sleep};

use crate::{
    backoff::Backoff,
    bus::{Bus, BusError, RedisBus, RedisSettings},
    config::{ConfigError, Env},
    consumer::Stalled,
    health::{Health, HealthServer, probe},
    shutdown::{self, CancellationToken},
    telemetry::{self, TelemetryConfig},
};

/// Default of `REDIS_URL`: a Redis on this machine.
pub const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";
/// `HEALTH_BIND`: address of the health port.
pub const ENV_HEALTH_BIND: &str = "HEALTH_BIND";
/// Default of [`ENV_HEALTH_BIND`]: this machine only. Set `0.0.0.0` where Prometheus scrapes from another host.
pub const DEFAULT_HEALTH_BIND: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// `HEALTH_PORT`: number of the health port; each role has its own default.
pub const ENV_HEALTH_PORT: &str = "HEALTH_PORT";

/// How long a starting role waits for Redis: longer than a Redis started at the same moment needs.
const REDIS_PATIENCE: Duration = Duration::from_secs(8);
/// Waits between attempts to load a model: a volume that is mounted late, a device that another process is about to free. A
/// supervisor tries on.
const LOAD_AGAIN_AFTER: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Component of [`Health`] that says whether the models are loaded.
pub const MODEL: &str = "model";

/// Why such a process ends before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The configuration cannot be used. Exit code 64 (`EX_USAGE`).
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A model cannot be loaded. Exit code 66 (`EX_NOINPUT`).
    #[error("cannot load a model: {0}")]
    Model(String),
    /// The bus cannot be reached. Exit code 69 (`EX_UNAVAILABLE`).
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A metric was registered twice: a fault of our own. Exit code 70 (`EX_SOFTWARE`).
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A model that had worked, or the device it runs on, broke: the process must be started anew. Exit code 74
    /// (`EX_IOERR`).
    #[error("the model or its device broke, a new start is needed: {0}")]
    Device(String),
    /// The role itself failed. Exit code 71 (`EX_OSERR`).
    #[error("{0}")]
    Role(String),
    /// The health port or the signal handlers cannot be had. Exit code 71 (`EX_OSERR`).
    #[error("cannot {doing}: {error}")]
    System {
        /// What was tried.
        doing: String,
        /// What the operating system says.
        error: std::io::Error,
    },
}

impl Fault {
    /// A fault of the role itself, in its own words.
    pub fn role(error: impl std::fmt::Display) -> Self {
        Self::Role(error.to_string())
    }

    /// The exit code of sysexits.h that fits.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 64,
            Self::Model(_) => 66,
            Self::Bus(_) => 69,
            Self::Metrics(_) => 70,
            Self::System { .. } | Self::Role(_) => 71,
            Self::Device(_) => 74,
        }
    }
}

/// The keys that every such process has.
#[derive(Debug, Clone)]
pub struct RoleProcess {
    redis: RedisSettings,
    health_addr: SocketAddr,
    telemetry: TelemetryConfig,
}

/// A role that can be reached and that reaches its bus.
#[derive(Debug)]
pub struct Started {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// What the health port tells.
    pub health: Health,
    /// What `/metrics` tells.
    pub registry: Registry,
    /// Cancelled by SIGTERM and SIGINT.
    pub shutdown: CancellationToken,
}

/// A role that can be watched and told to stop, and does not reach its bus yet.
#[derive(Debug)]
pub struct Opened {
    role: &'static str,
    redis: RedisSettings,
    health: Health,
    registry: Registry,
    /// Cancelled by SIGTERM and SIGINT.
    pub shutdown: CancellationToken,
}

impl Opened {
    /// Connects to Redis, for up to 8 seconds. `None`: told to stop meanwhile.
    ///
    /// # Errors
    /// When Redis cannot be reached, or refuses us.
    pub async fn connect(self) -> Result<Option<Started>, Fault> {
        let Self { role, redis, health, registry, shutdown } = self;
        let Some(bus) = shutdown.run_until_cancelled(connect(&redis)).await else { return Ok(None) };
        let bus = bus?;
        tracing::info!(role, "connected to Redis");
        Ok(Some(Started { bus, health, registry, shutdown }))
    }
}

async fn connect(redis: &RedisSettings) -> Result<Arc<dyn Bus>, BusError> {
    let deadline = Instant::now() + REDIS_PATIENCE;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    loop {
        match RedisBus::open(redis).await {
            Ok(bus) => return Ok(Arc::new(bus)),
            Err(error) => {
                let wait = backoff.next_delay();
                if !error.retryable() || Instant::now() + wait >= deadline {
                    return Err(error);
                }
                tracing::warn!(%error, wait_ms = wait.as_millis(), "trying again");
                sleep(wait).await;
            }
        }
    }
}

impl RoleProcess {
    /// Reads `REDIS_URL` and the keys of its TLS, `HEALTH_BIND`, `HEALTH_PORT`, and what is told of the process.
    fn from_env(env: &mut Env, default_health_port: u16) -> Self {
        Self {
            redis: RedisSettings::from_env_or(env, DEFAULT_REDIS_URL),
            health_addr: health_addr(env, default_health_port),
            telemetry: TelemetryConfig::from_env(env, "info"),
        }
    }

    /// [`RoleProcess::open`], then [`Opened::connect`].
    ///
    /// # Errors
    /// When one of these cannot be done.
    pub async fn start(&self, role: &'static str, components: &[&'static str]) -> Result<Option<Started>, Fault> {
        self.open(role, components).await?.connect().await
    }

    /// Starts to log and to export, listens for signals and opens the health port.
    ///
    /// # Errors
    /// When one of these cannot be done.
    pub async fn open(&self, role: &'static str, components: &[&'static str]) -> Result<Opened, Fault> {
        telemetry::start(&self.telemetry, role);
        let system = |doing: String| move |error| Fault::System { doing, error };
        let shutdown = shutdown::on_signal().map_err(system("listen for signals".to_owned()))?;
        let registry = Registry::new();
        let health = Health::new(role, components, registry.clone());
        let port = format!("open the health port {}", self.health_addr);
        let server = HealthServer::bind(self.health_addr, health.clone()).await.map_err(system(port))?;
        tracing::info!(role, health = %self.health_addr, "health port open");
        // Serves until the process ends, for the drain is worth watching too.
        tokio::spawn(server.run(CancellationToken::new()));
        Ok(Opened { role, redis: self.redis.clone(), health, registry, shutdown })
    }

    /// What the argument `health` does: exit code 0 when the role of these keys is ready, else 1.
    async fn ask_health(&self) -> ExitCode {
        match probe(loopback_of(self.health_addr)).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("nothing answers on the health port {}: {error}", self.health_addr);
                ExitCode::FAILURE
            }
        }
    }
}

/// Does the `work` of a worker until `shutdown`, or until it stalls, or its model is `broken`, which tells why: from then on
/// it is not ready, and stops as after a shutdown, without anything that needs the model.
///
/// # Errors
/// [`Fault::Device`] when the model broke.
pub async fn until_broken<W: Future<Output = Result<(), Stalled>>>(
    health: &Health,
    shutdown: &CancellationToken,
    work: impl FnOnce(CancellationToken) -> W,
    broken: impl Future<Output = String>,
) -> Result<(), Fault> {
    let stop = shutdown.child_token();
    let mut work = pin!(work(stop.clone()));
    let (ended, reason) = tokio::select! {
        outcome = &mut work => match outcome {
            Ok(()) => return Ok(()),
            Err(stalled) => (true, stalled.to_string()),
        },
        reason = broken => (false, reason),
    };
    health.set(MODEL, false);
    tracing::error!(reason, "the model or its device broke; jobs in hand are left to other workers");
    stop.cancel();
    if !ended {
        work.await.ok(); // It is over anyway.
    }
    Err(Fault::Device(reason))
}

/// Loads a model with `load`; what `may_pass` is tried again, three times, after 1, 2 and 4 s. `None`: told to stop
/// meanwhile.
///
/// # Errors
/// The last error of `load`, as a [`Fault::Model`].
pub async fn load_model<T, E: std::fmt::Display>(
    shutdown: &CancellationToken,
    mut load: impl AsyncFnMut() -> Result<T, E>,
    may_pass: impl Fn(&E) -> bool,
) -> Result<Option<T>, Fault> {
    let attempts = async {
        for wait in LOAD_AGAIN_AFTER {
            match load().await {
                Err(error) if may_pass(&error) => {
                    tracing::warn!(%error, wait_ms = wait.as_millis(), "cannot load a model; trying again");
                    sleep(wait).await;
                }
                outcome => return outcome,
            }
        }
        load().await
    };
    match shutdown.run_until_cancelled(attempts).await {
        Some(loaded) => loaded.map(Some).map_err(|error| Fault::Model(error.to_string())),
        None => Ok(None),
    }
}

/// The whole of a role's `main`: without arguments `run`, which gets the keys common to all roles and the environment for
/// its own; with the argument `health`, the question to the role's own health port. How `run` ended is said in the log (on
/// standard error where there is none yet) and in the exit code.
pub async fn main(
    name: &str,
    default_health_port: u16,
    run: impl AsyncFnOnce(RoleProcess, Env) -> Result<(), Fault>,
) -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("health") => RoleProcess::from_env(&mut Env::process(), default_health_port).ask_health().await,
        Some(other) => {
            let faults = vec![format!("argument `{other}`; usage: {name} [health]")];
            ended(name, Err(ConfigError { faults }.into())).await
        }
        None => work(name, default_health_port, run).await,
    }
}

/// [`main`] of a program whose arguments are its own matter.
pub async fn work(
    name: &str,
    default_health_port: u16,
    run: impl AsyncFnOnce(RoleProcess, Env) -> Result<(), Fault>,
) -> ExitCode {
    let mut env = Env::process();
    let process = RoleProcess::from_env(&mut env, default_health_port);
    ended(name, run(process, env).await).await
}

async fn ended(name: &str, outcome: Result<(), Fault>) -> ExitCode {
    if let Err(fault) = &outcome {
        tell(name, fault);
    }
    telemetry::shutdown().await;
    outcome.map_or_else(|fault| ExitCode::from(fault.exit_code()), |()| ExitCode::SUCCESS)
}

/// Where errors are logged, in the log, and so to the tracker of errors; else on standard error.
fn tell(role: &str, fault: &Fault) {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(role, code = fault.exit_code(), %fault, "this role cannot go on");
    } else {
        eprintln!("{role}: {fault}");
    }
}

/// Reads `HEALTH_BIND` and `HEALTH_PORT`.
pub fn health_addr(env: &mut Env, default_port: u16) -> SocketAddr {
    SocketAddr::new(env.parse_or(ENV_HEALTH_BIND, DEFAULT_HEALTH_BIND), env.parse_or(ENV_HEALTH_PORT, default_port))
}

/// Where to reach a socket that was bound to `addr` from the same machine.
fn loopback_of(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_model_is_loaded_again_while_that_may_help_and_nobody_asks_to_stop() {
        let stop = CancellationToken::new();
        let tries = Cell::new(0);
        let fails = async |times: u32| {
            tries.set(tries.get() + 1);
            if tries.get() <= times { Err("busy") } else { Ok(tries.get()) }
        };
        let begun = Instant::now();
        let loaded = load_model(&stop, async || fails(3).await, |_| true).await;
        assert_eq!((loaded.unwrap(), begun.elapsed().as_secs()), (Some(4), 7));
        tries.set(0);
        let fault = load_model(&stop, async || fails(4).await, |_| true).await.unwrap_err();
        assert_eq!((tries.get(), fault.exit_code()), (4, 66), "{fault}");
        tries.set(0);
        let fault = load_model(&stop, async || fails(1).await, |_| false).await.unwrap_err();
        assert_eq!((tries.get(), fault.exit_code()), (1, 66), "what cannot pass is not tried again: {fault}");
        tries.set(0);
        let stopped = async {
            sleep(Duration::from_millis(1500)).await;
            stop.cancel();
        };
        let begun = Instant::now();
        let (loaded, ()) = tokio::join!(load_model(&stop, async || fails(9).await, |_| true), stopped);
        assert_eq!((loaded.unwrap(), begun.elapsed().as_millis()), (None, 1500), "a stop ends the wait at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_whose_model_breaks_is_not_ready_and_stops_with_a_code_of_its_own() {
        let health = Health::new("test", &[MODEL], Registry::new());
        health.set(MODEL, true);
        let shutdown = CancellationToken::new();
        let work = |stop: CancellationToken| {
            let health = health.clone();
            async move {
                stop.cancelled().await;
                assert!(!health.ready(), "before it stops");
                Ok(())
            }
        };
        let fault =
            until_broken(&health, &shutdown, work, async { "an illegal address".to_owned() }).await.unwrap_err();
        assert_eq!(fault.exit_code(), 74);
        assert!(fault.to_string().contains("an illegal address"), "{fault}");
        assert!(!shutdown.is_cancelled(), "others go on");
        health.set(MODEL, true);
        shutdown.cancel();
        let work = async |stop: CancellationToken| {
            stop.cancelled().await;
            Ok(())
        };
        assert!(until_broken(&health, &shutdown, work, std::future::pending()).await.is_ok());
        assert!(health.ready());
        let work = async |_| Err(Stalled { jobs: 3 });
        let fault = until_broken(&health, &shutdown, work, std::future::pending()).await.unwrap_err();
        assert_eq!((fault.exit_code(), health.ready()), (74, false), "{fault}");
    }

    #[test]
    fn keys_have_defaults_and_the_password_of_redis_is_never_printed() {
        let mut env = Env::of([("REDIS_URL", "redis://:hush@redis:6379"), ("HEALTH_BIND", "0.0.0.0")]);
        let process = RoleProcess::from_env(&mut env, 8081);
        assert!(env.finish().is_ok());
        assert_eq!(process.health_addr, "0.0.0.0:8081".parse().unwrap());
        assert_eq!(loopback_of(process.health_addr), "127.0.0.1:8081".parse().unwrap());
        assert!(!format!("{process:?}").contains("hush"));
    }
}
