//! `subtide bench stream`: a corpus, played in real time through the whole pipeline, and what came of it: how late words
//! are on the screen, how often they change there, and whether they are right.
//!
//! # Layout
//! - [`corpus`](self): `corpus.json`, what is said in each recording and when; `play`: clients that play it
//! - `view`: what was on the client's screen and when; `words`, `alignment`: texts beside texts
//! - the measures, pure, each with its source: `recognition` (delays of words and finals), `translated`, `lagging` (LAAL,
//!   StreamLAAL), `erasure`, `word_errors`, `chrf`, `bleu`, `faults`; `figures`: many values as a few
//! - `measured`: all of them, for a session or for many; `offline`: the same audio decoded at once
//! - `resources`: what it cost; `round`: one run of all clients; `ramp`: more and more clients
//! - `report`, `plot`: for people

mod alignment;
mod bleu;
mod chrf;
mod corpus;
mod erasure;
mod faults;
mod figures;
mod lagging;
mod measured;
mod offline;
mod play;
mod plot;
mod ramp;
mod recognition;
mod report;
pub(super) mod resources;
mod round;
#[cfg(test)]
mod scores_test;
#[cfg(test)]
mod session_test;
mod translated;
mod view;
mod word_errors;
mod words;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use gateway::config::{DEFAULT_BIND, DEFAULT_SILENCE, ENV_SILENCE};
use inference::device::DeviceChoice;
use serde_json::{Value, json};
use shared::{
    config::Env,
    language::Language,
    models::models_dir,
    telemetry::{self, LogConfig},
};
use tokio::task::spawn_blocking;

use self::{
    play::{Door, Plan},
    ramp::Ramp,
    round::{Round, Stage},
};
use crate::{
    output::print_line,
    roles::{Roles, Settings},
};

/// The corpus that ships, below the directory of models.
const SHIPPED: &str = "demo-speech/stream";
/// Silence played after each recording: this much, and more than the gateway's own.
const SILENCE_AFTER: Duration = Duration::from_secs(2);
/// What it is more by.
const BEYOND_SILENCE: Duration = Duration::from_secs(1);
/// Audio of each client in a row of a ramp, where nothing else is said.
const RAMP_SECONDS: u64 = 30;

/// What to play and how.
#[derive(Debug, Clone, Args)]
pub struct StreamArgs {
    /// Directory with `corpus.json`; the one that ships when absent.
    #[arg(long)]
    pub corpus: Option<PathBuf>,
    /// Only recordings of this group (clean, babble-10, monologue...); may be given several times.
    #[arg(long = "group")]
    pub groups: Vec<String>,
    /// Clients at once.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub sessions: usize,
    /// Audio each client plays at most; each plays every recording once when absent.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Languages to translate into instead of the corpus's own, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub to: Vec<Language>,
    /// A running gateway to measure, `ws://HOST:PORT/v1/stream`; its token comes from SUBTIDE_TOKEN.
    #[arg(long)]
    pub server: Option<String>,
    /// One run for each of these numbers of clients, until words come later than 2 s; then one with twice as many.
    #[arg(long, value_delimiter = ',', value_parser = at_least_one, conflicts_with = "sessions")]
    pub ramp: Vec<usize>,
    /// Also decode the same audio offline, and compare.
    #[arg(long, conflicts_with = "server")]
    pub offline: bool,
    /// One JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Draws the delays and the stability into this file (SVG).
    #[arg(long)]
    pub plot: Option<PathBuf>,
    /// Writes every event with the time it came into this file, one JSON object a line.
    #[arg(long)]
    pub events: Option<PathBuf>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// Plays, measures and prints.
///
/// # Errors
/// When the corpus or the pipeline cannot be used, when no session went through, or when committed text was reworded:
/// that must never happen, so a benchmark that sees it fails after it has printed what it saw.
pub async fn run(args: StreamArgs) -> anyhow::Result<()> {
    let measured = measure(&args).await?;
    if args.json {
        print_line(&measured.json.to_string())?;
    } else {
        print_line(&measured.text)?;
    }
    anyhow::ensure!(measured.went_through, "no session went through: {}", measured.first_error.unwrap_or_default());
    anyhow::ensure!(measured.reworded == 0, "committed text was reworded {} times", measured.reworded);
    Ok(())
}

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    /// For machines.
    pub json: Value,
    /// For people.
    pub text: String,
    /// Times that committed text was reworded.
    pub reworded: usize,
    /// Whether any session ended in order.
    pub went_through: bool,
    /// What broke the first session that broke.
    pub first_error: Option<String>,
}

/// Plays and measures, and writes the files that were asked for.
///
/// # Errors
/// When the corpus or the pipeline cannot be used, or a file cannot be written.
pub async fn measure(args: &StreamArgs) -> anyhow::Result<Outcome> {
    let mut env = Env::process();
    telemetry::init(&LogConfig::from_env(&mut env, "warn"));
    let directory = args.corpus.clone().unwrap_or_else(|| models_dir(&env).join(SHIPPED));
    let (token, settings) = match &args.server {
        Some(_) => (env.secret("SUBTIDE_TOKEN"), None),
        None => (None, Some(Settings::from_env(&mut env))),
    };
    // The gateway measured is ours or is told about by the same key.
    let silence = env.seconds_or(ENV_SILENCE, DEFAULT_SILENCE, 0.2..=5.0);
    env.finish()?;
    let groups = args.groups.clone();
    let recordings = spawn_blocking(move || corpus::load(&directory, &groups)).await??;
    let roles = match &settings {
        Some(settings) => Some(start(settings.clone()).await?),
        None => None,
    };
    let url = roles.as_ref().map(Roles::url).or_else(|| args.server.clone()).unwrap_or_default();
    let on_gpu = settings.as_ref().is_some_and(|s| matches!(s.stt.engine.device, DeviceChoice::Cuda(_)));
    let stage = Stage {
        door: Arc::new(Door { url, token, silence_after: SILENCE_AFTER.max(silence + BEYOND_SILENCE) }),
        recordings: Arc::new(recordings),
        silence,
        local: roles.is_some(),
        gpu: roles.is_some() && on_gpu,
    };
    let setup = setup(settings.as_ref());
    let rounds = play_all(args, &stage).await;
    if let Some(roles) = roles {
        roles.stop().await?;
    }
    let (rounds, ramp) = rounds?;
    write_events(args, &rounds)?;
    let offline = match settings.filter(|_| args.offline) {
        Some(settings) => Some(decode_offline(settings, &stage, &rounds).await?),
        None => None,
    };
    let report = report::Report { rounds: &rounds, ramp: ramp.as_ref(), offline: offline.as_ref(), silence, setup };
    if let Some(path) = &args.plot {
        std::fs::write(path, plot::draw(&report)).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let played = || rounds.iter().flat_map(|round| &round.played);
    Ok(Outcome {
        json: report.json(),
        text: report.text(),
        reworded: rounds.iter().map(|round| round.total().faults.reworded).sum(),
        went_through: played().any(|played| played.error.is_none()),
        first_error: played().find_map(|played| played.error.clone()),
    })
}

async fn start(mut settings: Settings) -> anyhow::Result<Roles> {
    settings.gateway.ask_nobody();
    // An overload is what is measured.
    settings.gateway.door.max_queue_age = Duration::MAX;
    settings.gateway.door.max_queue_depth = u64::MAX;
    settings.gateway.addr = (DEFAULT_BIND, 0).into();
    settings.health = None;
    Roles::start(settings).await
}

/// One round, or those of a ramp.
async fn play_all(args: &StreamArgs, stage: &Stage) -> anyhow::Result<(Vec<Round>, Option<Ramp>)> {
    let plan = |sessions: usize, seconds: Option<u64>| Plan {
        sessions,
        limit: seconds.map(Duration::from_secs),
        targets: args.to.clone(),
    };
    if args.ramp.is_empty() {
        return Ok((vec![stage.play(plan(args.sessions, args.seconds)).await?], None));
    }
    let seconds = args.seconds.unwrap_or(RAMP_SECONDS);
    let (mut rounds, mut ramp) = (Vec::new(), Ramp::default());
    for sessions in &args.ramp {
        let round = stage.play(plan(*sessions, Some(seconds))).await?;
        let late = ramp.take(&round);
        rounds.push(round);
        if late {
            break;
        }
    }
    if let Some(sessions) = ramp.beyond() {
        let round = stage.play(plan(sessions, Some(seconds))).await?;
        ramp.overload(&round);
        rounds.push(round);
    }
    Ok((rounds, Some(ramp)))
}

fn write_events(args: &StreamArgs, rounds: &[Round]) -> anyhow::Result<()> {
    let Some(path) = &args.events else { return Ok(()) };
    let mut lines = String::new();
    for played in rounds.iter().flat_map(|round| &round.played) {
        lines.push_str(&played.lines()?);
    }
    std::fs::write(path, lines).with_context(|| format!("{} cannot be written", path.display()))
}

async fn decode_offline(settings: Settings, stage: &Stage, rounds: &[Round]) -> anyhow::Result<offline::Offline> {
    let sessions: Vec<_> = rounds.iter().flat_map(|round| &round.played).map(offline::Session::of).collect();
    let recordings = Arc::clone(&stage.recordings);
    spawn_blocking(move || offline::decode(&settings.stt, &recordings, &sessions)).await?
}

/// Facts about the run that its figures depend on. `settings`: of the roles, when they are in this process.
fn setup(settings: Option<&Settings>) -> Value {
    let roles = settings.map(|Settings { stt, gateway, .. }| {
        json!({
            "speech_model": stt.model_dir.file_name().map(|name| name.to_string_lossy().into_owned()),
            "device": stt.engine.device.to_string(),
            "compute": stt.engine.compute.to_string(),
            "threads": stt.engine.threads,
            "max_utterance_ms": u64::try_from(gateway.max_utterance.as_millis()).ok(),
        })
    });
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "os": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "version": env!("CARGO_PKG_VERSION"),
        "roles": roles,
    })
}
