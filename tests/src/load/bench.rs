//! A gateway with more and more sessions: what it costs, and how fast it answers. Redis, the gateway, the workers that answer
//! at once and this program share one machine, so what counts is the processor time of the gateway, not the clock.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use shared::{
    bus::{Bus, RedisBus},
    health::probe,
    shutdown::CancellationToken,
};
use tokio::time::{Instant, sleep};

use super::{
    bus_times::{events_to_wire, frames_to_jobs},
    client::now_us,
    crowd::{Crowd, Scene, Summary},
    spread::Spread,
    voice::Voice,
};
use crate::{
    cost::{Meter, resident_kib},
    figure::figure,
    redis_server::RedisServer,
    stack::free_addr,
};

/// The detector that a gateway listens with where nothing else is said.
pub const DEFAULT_VAD: &str = "earshot";
/// How long a program may take to be ready.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long new sessions are let alone before anything is measured.
const SETTLE: Duration = Duration::from_secs(8);
/// Frames that are sent later than this are no real time any more.
const LATE_MS: f64 = 100.0;
/// A step holds while 99 of 100 partial captions come within this.
const SLOW_MS: f64 = 1000.0;

/// A program that is killed when this is dropped.
#[derive(Debug)]
struct Program(Child);

impl Program {
    /// Starts the program `name` that was built beside this one.
    fn spawn(name: &str, arguments: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let me = std::env::current_exe()?;
        // A test lies one folder below the programs.
        let beside: Vec<PathBuf> = me.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect();
        let path = beside.iter().find(|path| path.is_file()).unwrap_or(&beside[0]);
        let mut command = Command::new(path);
        command.args(arguments).env_clear().env("LOG_LEVEL", "warn").envs(env.iter().copied()).stdin(Stdio::null());
        let child = command.spawn();
        let how = || format!("{} cannot be started; build it: cargo build --release --bin {name}", path.display());
        child.map(Self).with_context(how)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What is between the sessions.
#[derive(Debug)]
struct Works {
    redis: RedisServer,
    gateway: Program,
    engine: Program,
    address: SocketAddr,
}

impl Works {
    async fn start(vad: &str) -> anyhow::Result<Self> {
        let redis = RedisServer::spawn().await;
        let url = redis.url();
        let engine = Program::spawn("load", &["engine", "--redis", &url], &[])?;
        let (address, health) = (free_addr(), free_addr());
        let (port, health_port) = (address.port().to_string(), health.port().to_string());
        let many = "1000000";
        let env = [
            ("REDIS_URL", url.as_str()),
            ("ENABLE_AUTH", "false"),
            ("VAD", vad),
            // One thread, so that it is one core that is measured.
            ("TOKIO_WORKER_THREADS", "1"),
            ("GATEWAY_PORT", &port),
            ("HEALTH_PORT", &health_port),
            ("MAX_SESSIONS", many),
            ("SESSIONS_PER_USER", many),
            ("CONNECTIONS_PER_MINUTE", many),
            ("CONNECTIONS_PER_ADDRESS", many),
            ("MAX_QUEUE_DEPTH", many),
            ("MAX_QUEUE_AGE_SECONDS", "600"),
        ];
        let gateway = Program::spawn("gateway", &[], &env)?;
        let give_up = Instant::now() + START_PATIENCE;
        while !probe(health).await.unwrap_or(false) {
            ensure!(Instant::now() < give_up, "the gateway is not ready after {START_PATIENCE:?}");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { redis, gateway, engine, address })
    }

    fn scene(&self) -> Scene {
        Scene { address: self.address, path: "/v1/stream".to_owned(), targets: Vec::new() }
    }
}

/// What one number of sessions cost.
#[derive(Debug)]
pub struct Step {
    /// Sessions that were live.
    pub sessions: usize,
    /// Cores that each kept busy: gateway, Redis, workers, this program.
    pub cores: [f64; 4],
    /// Memory of the gateway for each session, KiB, over what it needs with none.
    pub live_kib: f64,
    /// From a frame to its job.
    pub jobs: Spread,
    /// From an answer to the wire.
    pub events: Spread,
    /// What the clients saw meanwhile.
    pub seen: Summary,
}

impl Step {
    /// Sessions that one core of the gateway holds, at this cost of each.
    #[must_use]
    pub fn sessions_per_core(&self) -> f64 {
        self.sessions as f64 / self.cores[0].max(0.001)
    }

    /// Whether everything kept pace: frames went out in time, captions came, audio was acknowledged, nothing was wrong.
    #[must_use]
    pub fn sustained(&self) -> bool {
        let Summary { lags, unacknowledged, broken, partials, late, .. } = &self.seen;
        let in_time = late.percentile_ms(99) < LATE_MS && partials.percentile_ms(99) < SLOW_MS;
        in_time && *lags == 0 && *unacknowledged == 0 && *broken == 0
    }

    /// A line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let [gateway, redis, workers, load] = self.cores;
        let spread = |s: &Spread| format!("{:.1}/{:.1}", s.percentile_ms(50), s.percentile_ms(99));
        format!(
            "{:5} sessions: gateway {gateway:.2} cores ({:.0} sessions a core), redis {redis:.2}, workers {workers:.2}, \
             load {load:.2}; {:.0} KiB each; ms p50/p99: job {} (n {}), event {} (n {}), caption {}, late {}; lags {}, \
             unacknowledged {}, broken {}{}",
            self.sessions,
            self.sessions_per_core(),
            self.live_kib,
            spread(&self.jobs),
            self.jobs.count(),
            spread(&self.events),
            self.events.count(),
            spread(&self.seen.partials),
            spread(&self.seen.late),
            self.seen.lags,
            self.seen.unacknowledged,
            self.seen.broken,
            if self.sustained() { "" } else { "  NOT SUSTAINED" },
        )
    }
}

/// Adds sessions step by step, each measured for `length`, until one is not sustained; `told` hears of each step. The gateway
/// listens with the detector `vad`. Returns the steps, and what became of all sessions at the end.
///
/// # Errors
/// When something cannot be started or the bus is gone.
pub async fn ramp(
    steps: &[usize],
    length: Duration,
    vad: &str,
    mut told: impl FnMut(&Step),
) -> anyhow::Result<(Vec<Step>, Summary)> {
    let works = Works::start(vad).await?;
    let bus: Arc<dyn Bus> = Arc::new(RedisBus::connect(&works.redis.url()).await?);
    let empty_kib = resident_kib(works.gateway.id()).unwrap_or_default();
    let mut crowd = Crowd::new(works.scene(), Some(Voice::shipped()));
    let mut done: Vec<Step> = Vec::new();
    for count in steps {
        crowd.grow_to(*count).await;
        crowd.all_begun(START_PATIENCE).await;
        sleep(SETTLE).await;
        let step = measure(&works, &bus, &crowd, (length, empty_kib)).await?;
        told(&step);
        let sustained = step.sustained();
        done.push(step);
        if !sustained {
            break;
        }
    }
    let end = crowd.finish().await;
    Ok((done, end))
}

async fn measure(
    works: &Works,
    bus: &Arc<dyn Bus>,
    crowd: &Crowd,
    (length, empty_kib): (Duration, u64),
) -> anyhow::Result<Step> {
    crowd.forget_times();
    let processes = [works.gateway.id(), works.redis.id(), works.engine.id(), std::process::id()];
    let meters = processes.map(Meter::start);
    sleep(length).await;
    let cores = meters.map(|meter| meter.cores());
    let seen = Summary::of(crowd.sessions());
    let sessions = crowd.live();
    let live_kib =
        resident_kib(works.gateway.id()).unwrap_or_default().saturating_sub(empty_kib) as f64 / sessions.max(1) as f64;
    // The delays in a time of their own, for to read the bus costs something too.
    let (from_us, stop) = (now_us(), CancellationToken::new());
    let jobs = tokio::spawn(frames_to_jobs(Arc::clone(bus), crowd.sessions().to_vec(), stop.clone()));
    sleep(length / 2).await;
    stop.cancel();
    let jobs = jobs.await??;
    let events = events_to_wire(bus.as_ref(), crowd.sessions(), from_us).await?;
    Ok(Step { sessions, cores, live_kib, jobs, events, seen })
}

/// What sessions cost that say nothing.
#[derive(Debug)]
pub struct Idle {
    /// Sessions that had begun.
    pub sessions: usize,
    /// Memory of the gateway with all of them, MiB.
    pub resident_mib: f64,
    /// Memory for each, KiB, over what the gateway needs with none.
    pub each_kib: f64,
    /// Cores that the gateway kept busy.
    pub cores: f64,
}

impl Idle {
    /// Prints it as figures.
    pub fn print(&self) {
        figure("gateway_idle_sessions", self.sessions as f64);
        figure("gateway_idle_cores", self.cores);
        figure("gateway_idle_kb", self.each_kib);
        // With as much for each as for these, where there were not as many.
        figure("gateway_10000_idle_mb", self.resident_mib + self.each_kib * (10_000.0 - self.sessions as f64) / 1024.0);
    }
}

/// Prints what the steps of a ramp show as figures; whether any was sustained. The delays are those of the step nearest to
/// half of the most sessions that were.
#[must_use]
pub fn print(steps: &[Step]) -> bool {
    let Some(best) = steps.iter().rev().find(|step| step.sustained()) else { return false };
    let half = steps.iter().min_by_key(|step| step.sessions.abs_diff(best.sessions / 2)).unwrap_or(best);
    figure("gateway_sustained_sessions", best.sessions as f64);
    figure("gateway_sessions_per_core", best.sessions_per_core());
    figure("gateway_live_kb", best.live_kib);
    for (name, spread) in [("job", &half.jobs), ("event", &half.events)] {
        figure(&format!("gateway_{name}_p50_ms"), spread.percentile_ms(50));
        figure(&format!("gateway_{name}_p99_ms"), spread.percentile_ms(99));
    }
    true
}

/// Opens `sessions` that send `start` and nothing else.
///
/// # Errors
/// As [`ramp`].
pub async fn idle(sessions: usize, length: Duration) -> anyhow::Result<Idle> {
    let works = Works::start(DEFAULT_VAD).await?;
    let empty_kib = resident_kib(works.gateway.id()).unwrap_or_default();
    let mut crowd = Crowd::new(works.scene(), None);
    crowd.grow_to(sessions).await;
    crowd.all_begun(START_PATIENCE).await;
    sleep(SETTLE).await;
    let meter = Meter::start(works.gateway.id());
    sleep(length).await;
    let (cores, full_kib, live) = (meter.cores(), resident_kib(works.gateway.id()).unwrap_or_default(), crowd.live());
    drop(crowd);
    let each_kib = full_kib.saturating_sub(empty_kib) as f64 / live.max(1) as f64;
    Ok(Idle { sessions: live, resident_mib: full_kib as f64 / 1024.0, each_kib, cores })
}
