//! `subtide bench observability`: what it costs to watch the pipeline.
//!
//! Two servers with all roles (`subtide serve`, each a process of its own) are given the same recordings as fast as they go,
//! by turns: one is watched (metrics scraped every second, JSON logs to a file, traces to a collector on this machine), the
//! other is not (no log, no trace, nobody asks). Each pair of turns gives one ratio, so that a machine that is slower for a
//! while is slower for both.
//!
//! # Layout
//! - `server`: such a process; `watchers`: those who watch it; `drive`: clients that give it work
//! - `paired`: ratios of pairs, their mean and how sure it is

mod drive;
mod paired;
mod server;
mod watchers;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};
use shared::{config::Env, models::models_dir};

use self::{
    drive::{Turn, Work},
    paired::Cost,
    server::Server,
    watchers::Watchers,
};
use crate::output::print_line;

/// What is played, below the directory of models.
const RECORDING: &str = "demo-speech/demo.wav";

/// How long to measure.
#[derive(Debug, Clone, Args)]
pub struct ObservabilityArgs {
    /// Pairs of turns; more make the figure surer
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub rounds: u32,
    /// Clients at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub sessions: u32,
    /// How often each client plays the recording in a turn. A turn should be longer than the 5 s for which traces are gathered
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub passes: u32,
    /// The recording; the speech that ships when absent
    #[arg(long)]
    pub recording: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Turns of both servers, in pairs.
#[derive(Debug, Default)]
struct Turns {
    watched: Vec<Turn>,
    alone: Vec<Turn>,
    /// Processor seconds by pair; none where the system does not tell.
    watched_cpu: Vec<f64>,
    alone_cpu: Vec<f64>,
}

/// Measures and prints.
///
/// # Errors
/// When a server does not start, or does not do its work.
pub async fn run(args: ObservabilityArgs) -> anyhow::Result<()> {
    let env = Env::process();
    let recording = args.recording.clone().unwrap_or_else(|| models_dir(&env).join(RECORDING));
    let directory = std::env::temp_dir().join(format!("subtide-observability-{}", std::process::id()));
    tokio::fs::create_dir_all(&directory).await.with_context(|| format!("cannot make {}", directory.display()))?;
    let log = directory.join("log.jsonl");
    let outcome = measure(&args, &env, &recording, &log).await;
    // What cannot be removed lies in the system's own directory for such files.
    tokio::fs::remove_dir_all(&directory).await.ok();
    let report = outcome?;
    print_line(&if args.json { report.to_string() } else { text(&report) })?;
    Ok(())
}

async fn measure(args: &ObservabilityArgs, env: &Env, recording: &Path, log: &Path) -> anyhow::Result<Value> {
    let mut watchers = Watchers::start().await?;
    let watched = Server::watched(env, log, &watchers.collector_url()).await?;
    let alone = Server::alone(env).await?;
    let mut turns = Turns::default();
    let work = Work { recording: recording.to_owned(), sessions: args.sessions, passes: args.passes };
    // The first turn of each fills caches, and is not counted.
    for server in [&watched, &alone] {
        work.once().turn(server).await?;
    }
    for round in 0..args.rounds {
        let before = [watched.cpu_seconds(), alone.cpu_seconds()];
        // Who goes first changes, so that whatever grows or sinks meets both alike.
        for turn in [round % 2 == 0, round % 2 != 0] {
            if turn {
                watchers.scrape(watched.health);
                let turn = work.turn(&watched).await;
                watchers.rest();
                turns.watched.push(turn?);
            } else {
                turns.alone.push(work.turn(&alone).await?);
            }
        }
        // Over both turns: some of what watching costs comes after the work.
        let grown = |server: &Server, before: Option<f64>| Some(server.cpu_seconds()? - before?);
        turns.watched_cpu.extend(grown(&watched, before[0]));
        turns.alone_cpu.extend(grown(&alone, before[1]));
    }
    let utterances = |turns: &[Turn]| turns.iter().map(|turn| turn.utterances).collect::<Vec<_>>();
    ensure!(
        utterances(&turns.watched) == utterances(&turns.alone),
        "the two did not do the same work: {:?} and {:?} utterances",
        utterances(&turns.watched),
        utterances(&turns.alone)
    );
    let log_lines = tokio::fs::read_to_string(log).await.map_or(0, |log| log.lines().count());
    let (scrapes, traces) = (watchers.scrapes(), watchers.trace_requests());
    ensure!(
        scrapes > 0 && log_lines > 0 && traces > 0,
        "something did not watch: {scrapes} scrapes, {log_lines} log lines, {traces} requests with traces; try more passes"
    );
    Ok(report(args, &turns, &watchers, log_lines))
}

fn report(args: &ObservabilityArgs, turns: &Turns, watchers: &Watchers, log_lines: usize) -> Value {
    let audio = turns.watched.first().map_or(0.0, |turn| turn.audio_seconds);
    let seconds = |turns: &[Turn]| turns.iter().map(|turn| turn.seconds).collect::<Vec<_>>();
    let (watched, alone) = (seconds(&turns.watched), seconds(&turns.alone));
    let cost = |watched: &[f64], alone: &[f64]| {
        Cost::of(&watched.iter().copied().zip(alone.iter().copied()).collect::<Vec<_>>())
    };
    let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let utterances = turns.watched.first().map_or(1, |turn| turn.utterances);
    // The same whatever the model: a bigger one only makes it a smaller share.
    let added = mean(&turns.watched_cpu).zip(mean(&turns.alone_cpu)).map(|(watched, alone)| watched - alone);
    json!({
        "rounds": args.rounds,
        "sessions": args.sessions,
        "passes": args.passes,
        "audio_seconds_a_turn": audio,
        "utterances_a_turn": utterances,
        "throughput": {
            "audio_seconds_a_second_watched": mean(&watched).map(|seconds| audio / seconds),
            "audio_seconds_a_second_alone": mean(&alone).map(|seconds| audio / seconds),
            "cost_percent": cost(&watched, &alone).map(Cost::of_throughput),
        },
        "processor": {
            "seconds_an_audio_second_watched": mean(&turns.watched_cpu).map(|seconds| seconds / audio),
            "seconds_an_audio_second_alone": mean(&turns.alone_cpu).map(|seconds| seconds / audio),
            "cost_percent": cost(&turns.watched_cpu, &turns.alone_cpu).map(Cost::of_work),
            "added_milliseconds_an_utterance": added.map(|seconds| 1000.0 * seconds / utterances as f64),
        },
        "watched_by": {
            "scrapes": watchers.scrapes(),
            "log_lines": log_lines,
            "trace_requests": watchers.trace_requests(),
            "trace_bytes": watchers.trace_bytes(),
        },
    })
}

fn text(report: &Value) -> String {
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.2}"));
    let small = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.4}"));
    let cost = |value: &Value| {
        let [mean, low, high] = ["mean", "low", "high"].map(|name| number(&value[name]));
        format!("{mean} % ({low} to {high} %, 95 % confidence)")
    };
    let (throughput, processor, by) = (&report["throughput"], &report["processor"], &report["watched_by"]);
    [
        format!(
            "{} pairs of turns, each {:.0} s of audio from {} sessions ({} utterances)",
            report["rounds"],
            report["audio_seconds_a_turn"].as_f64().unwrap_or(0.0),
            report["sessions"],
            report["utterances_a_turn"]
        ),
        format!(
            "audio seconds in a second    watched {}, alone {}",
            number(&throughput["audio_seconds_a_second_watched"]),
            number(&throughput["audio_seconds_a_second_alone"])
        ),
        format!("watching costs of throughput {}", cost(&throughput["cost_percent"])),
        format!(
            "processor seconds for one of audio    watched {}, alone {}",
            small(&processor["seconds_an_audio_second_watched"]),
            small(&processor["seconds_an_audio_second_alone"])
        ),
        format!(
            "watching adds processor time {}, {} ms for each utterance",
            cost(&processor["cost_percent"]),
            number(&processor["added_milliseconds_an_utterance"])
        ),
        format!(
            "watched by {} scrapes, {} log lines, {} requests to the collector ({} bytes)",
            by["scrapes"], by["log_lines"], by["trace_requests"], by["trace_bytes"]
        ),
        format!("FIGURE observability_cost_percent {}", number(&throughput["cost_percent"]["mean"])),
        format!("FIGURE observability_cost_percent_at_most {}", number(&throughput["cost_percent"]["high"])),
        format!("FIGURE observability_processor_percent {}", number(&processor["cost_percent"]["mean"])),
    ]
    .join("\n")
}
