//! `subtide top` and `subtide status`: how the whole of it is, at a terminal and for scripts.
//!
//! # Layout
//! - `target`: where roles are; `scrape`: what their health ports say; `queues`: what Redis says
//! - `samples`, `histogram`, `history`: metrics, and how they grew; `names`: which are looked at
//! - [`report`]: the figures; `gather` puts them together, `faults` says what is wrong
//! - `status`: figures as a short table; `view`: as a screen; `live`: the screen in a terminal, and its keys
//!
//! Absent on purpose: a figure that nobody told. What cannot be reached is said, and the rest is shown.

mod faults;
mod gather;
mod histogram;
mod history;
mod live;
mod names;
mod queues;
pub mod report;
mod samples;
mod scrape;
#[cfg(test)]
mod seen_test;
mod status;
mod target;
mod view;

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use ratatui::{Terminal, backend::TestBackend};
use shared::{
    bus::RedisSettings,
    config::{Env, SecretString},
    role_process::DEFAULT_REDIS_URL,
};
use tokio::time::{Instant, sleep};

pub use self::target::{DEFAULT_STATUS_TARGETS, ENV_STATUS_TARGETS, Target};
use self::{
    gather::Look,
    history::History,
    queues::{Redis, RedisAnswer},
    report::Report,
    scrape::{Scraped, Scraper},
    target::Targets,
};
use crate::output;

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Health port of a role, HOST:PORT; every address of the name is looked at. May be given several times; default: STATUS_TARGETS
    #[arg(long = "target", value_delimiter = ',')]
    pub targets: Vec<Target>,
}

/// Arguments of `subtide top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// What to look at.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Seconds between two looks, 0.2 to 60
    #[arg(long, default_value = "1", value_parser = every)]
    pub every: Duration,
    /// Seconds that rates and latencies are of, 1 to 3600
    #[arg(long, default_value = "30", value_parser = over)]
    pub over: Duration,
}

/// Arguments of `subtide status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// What to look at.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Seconds to watch for rates and latencies, 0 to 3600; 0: one look, and none of these
    #[arg(long, default_value = "1", value_parser = watched)]
    pub over: Duration,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if range.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("must be a number of seconds from {} to {}", range.start(), range.end())),
    }
}

fn every(text: &str) -> Result<Duration, String> {
    seconds(text, 0.2..=60.0)
}

fn over(text: &str) -> Result<Duration, String> {
    seconds(text, 1.0..=3600.0)
}

fn watched(text: &str) -> Result<Duration, String> {
    seconds(text, 0.0..=3600.0)
}

/// Shows how it is until somebody has seen enough.
///
/// # Errors
/// When the settings cannot be used, standard output is no terminal, or the terminal breaks.
pub async fn top(args: TopArgs) -> anyhow::Result<()> {
    let watcher = Watcher::from_env(args.watch, args.over)?;
    live::run(watcher, args.every).await
}

/// Prints how it is, and says so in the exit status: 0 well, 1 something is wrong, 2 nothing can be reached.
///
/// # Errors
/// When the settings cannot be used, or standard output fails.
pub async fn status(args: StatusArgs) -> anyhow::Result<u8> {
    let mut watcher = Watcher::from_env(args.watch, args.over + Duration::from_secs(1))?;
    let mut report = watcher.look().await;
    if !args.over.is_zero() {
        sleep(args.over).await;
        report = watcher.look().await;
    }
    let text = if args.json { format!("{}\n", serde_json::to_string_pretty(&report)?) } else { status::table(&report) };
    output::print(&text)?;
    Ok(report.verdict.exit_code())
}

/// What `subtide top` shows after these looks, on a screen of that size, without its colours.
///
/// # Errors
/// Never in practice: the screen is in memory.
pub fn picture(looks: impl IntoIterator<Item = Report>, columns: u16, rows: u16) -> anyhow::Result<String> {
    let mut screen = view::Screen::default();
    looks.into_iter().for_each(|report| screen.take(report));
    let mut terminal = Terminal::new(TestBackend::new(columns, rows))?;
    terminal.draw(|frame| screen.draw(frame))?;
    Ok(terminal.backend().to_string())
}

/// Looks at everything again and again.
#[derive(Debug)]
pub struct Watcher {
    targets: Targets,
    scraper: Scraper,
    redis: Redis,
    /// `REDIS_URL` is set.
    redis_told: bool,
    history: History,
}

impl Watcher {
    fn from_env(args: WatchArgs, window: Duration) -> anyhow::Result<Self> {
        let mut env = Env::process();
        let targets = Targets::from_env(&mut env, args.targets);
        let redis = RedisSettings::from_env(&mut env);
        env.finish()?;
        ensure!(!targets.list.is_empty(), "nothing to look at: give --target HOST:PORT, or set {ENV_STATUS_TARGETS}");
        Self::with(targets, redis, window)
    }

    /// Looks at these health ports and, where its URL is given or they are no all-in-one, at Redis. Rates and latencies are
    /// those of `window`.
    ///
    /// # Errors
    /// When the system has no sockets for us.
    pub fn new(targets: Vec<Target>, redis_url: Option<SecretString>, window: Duration) -> anyhow::Result<Self> {
        Self::with(Targets { list: targets, untold: false }, redis_url.map(RedisSettings::of), window)
    }

    fn with(targets: Targets, redis: Option<RedisSettings>, window: Duration) -> anyhow::Result<Self> {
        let redis_told = redis.is_some();
        let redis = Redis::new(redis.unwrap_or_else(|| RedisSettings::of(DEFAULT_REDIS_URL)));
        Ok(Self { targets, scraper: Scraper::new()?, redis, redis_told, history: History::new(window) })
    }

    /// One look.
    pub async fn look(&mut self) -> Report {
        let (scraped, redis) = tokio::join!(self.scraper.look(&self.targets), self.redis.look());
        let look = self.sort_out(scraped, redis);
        self.history.keep(look.at, &look.scraped.replicas);
        gather::report(&look, &self.history)
    }

    /// Where all roles are one process, neither the ports of others nor a Redis that nobody named need be there.
    fn sort_out(&self, mut scraped: Scraped, redis: Result<RedisAnswer, String>) -> Look {
        let answers = || scraped.replicas.iter().filter_map(|replica| replica.answer.as_ref().ok());
        let all_in_one = answers().any(|answer| answer.health.role == gather::ALL_IN_ONE);
        let only = all_in_one && answers().all(|answer| answer.health.role == gather::ALL_IN_ONE);
        if all_in_one && self.targets.untold {
            scraped.replicas.retain(|replica| replica.answer.is_ok());
        }
        let redis = (self.redis_told || !only).then_some(redis);
        Look { at: Instant::now(), scraped, redis }
    }
}
