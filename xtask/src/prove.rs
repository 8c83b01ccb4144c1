//! `cargo xtask prove NAME`: what a piece of work promised, measured on the real thing.
//!
//! # Layout
//! - `goals`: the promises, in numbers and in words
//! - `figure`: one measured value, its goal and the verdict
//! - `engine`: how the promises of `prove engine` are measured
//! - `streaming`: how the promises of `prove streaming` are measured
//! - `front_door`: how the promises of `prove front-door` are measured
//! - `clients`: how the promises of `prove clients` are measured
//! - `operators`: how the promises of `prove operators` are measured
//! - `faults`: how the promises of `prove faults` are measured
//! - `test_run`: figures that tests print
//! - `pipeline`: how the promises of `prove pipeline` are measured; `demo`, `memory`, `idle_sessions`: its instruments

mod clients;
mod demo;
mod engine;
mod faults;
mod figure;
mod front_door;
mod goals;
mod idle_sessions;
mod memory;
mod operators;
mod pipeline;
mod streaming;
mod test_run;

use std::{fs, io::Write as _, process::ExitCode, time::Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use self::figure::{Figure, Verdict};
use crate::workspace::{Workspace, say};

/// Exit status when nothing falls short but something was not measured.
const NOT_PROVEN: u8 = 2;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Whose promises
    name: Name,
    /// Print the report as JSON instead of lines
    #[arg(long)]
    json: bool,
    /// Leave out the tests in a clean clone, which take long; they then count as not proven
    #[arg(long)]
    skip_clean_clone: bool,
    /// Leave out the build for NVIDIA GPUs, which takes long; it then counts as not proven
    #[arg(long)]
    skip_cuda: bool,
    /// Leave out what starts containers, which takes long and wants root; it then counts as not proven
    #[arg(long)]
    skip_compose: bool,
    /// Leave out the fuzz targets, which take an hour; they then count as not proven
    #[arg(long)]
    skip_fuzz: bool,
    /// Leave out the soak of two hours; it then counts as not proven
    #[arg(long)]
    skip_soak: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Words on the screen: the whole pipeline on real speech
    Pipeline,
    /// The models: correct to the reference, beside the peers
    Engine,
    /// Captions people can read: how soon, how steady, how right
    Streaming,
    /// Strangers stay out, people get in, a broken connection costs nothing
    FrontDoor,
    /// The desktop client and the page: what a person touches
    Clients,
    /// One command up, scale by a number, see everything
    Operators,
    /// Nothing lost: kill anything, flood anything, cut anything
    Faults,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Engine => "engine",
            Self::Streaming => "streaming",
            Self::FrontDoor => "front-door",
            Self::Clients => "clients",
            Self::Operators => "operators",
            Self::Faults => "faults",
        }
    }

    fn checks(self) -> Vec<Check> {
        match self {
            Self::Pipeline => pipeline::checks(),
            Self::Engine => engine::checks(),
            Self::Streaming => streaming::checks(),
            Self::FrontDoor => front_door::checks(),
            Self::Clients => clients::checks(),
            Self::Operators => operators::checks(),
            Self::Faults => faults::checks(),
        }
    }
}

/// One promise: its words, and what measures it.
#[derive(Debug)]
struct Check {
    name: &'static str,
    /// As it was promised.
    goal: &'static str,
    /// An error means that it cannot be measured, and so falls short.
    measure: fn(&Context) -> anyhow::Result<Vec<Figure>>,
}

/// What a measurement may need.
#[derive(Debug)]
struct Context<'a> {
    workspace: &'a Workspace,
    arguments: &'a Arguments,
}

#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    goal: &'static str,
    verdict: Verdict,
    seconds: f64,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Report {
    name: &'static str,
    commit: String,
    cores: usize,
    verdict: Verdict,
    checks: Vec<Measured>,
}

/// Measures, prints, writes `target/prove/NAME.json`.
///
/// # Errors
/// When the report cannot be written.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let context = Context { workspace, arguments };
    let mut checks = Vec::new();
    for check in arguments.name.checks() {
        say(&format!("{}: {}", check.name, check.goal));
        let measured = measure(&check, &context);
        if !arguments.json {
            print(&lines(&measured))?;
        }
        checks.push(measured);
    }
    let report = Report {
        name: arguments.name.text(),
        commit: commit(workspace),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        verdict: Verdict::of(checks.iter().map(|check| check.verdict)),
        checks,
    };
    let json = serde_json::to_string_pretty(&report)?;
    let directory = workspace.target.join("prove");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join(format!("{}.json", report.name));
    fs::write(&path, format!("{json}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    print(&if arguments.json { json } else { format!("{}: {}", report.name, report.verdict) })?;
    Ok(match report.verdict {
        Verdict::Met => ExitCode::SUCCESS,
        Verdict::FallsShort => ExitCode::FAILURE,
        Verdict::NotProven => ExitCode::from(NOT_PROVEN),
    })
}

fn measure(check: &Check, context: &Context) -> Measured {
    let begun = Instant::now();
    let figures = (check.measure)(context)
        .unwrap_or_else(|error| vec![Figure::failed("cannot be measured", format!("{error:#}"))]);
    Measured {
        name: check.name,
        goal: check.goal,
        verdict: Verdict::of(figures.iter().map(Figure::verdict)),
        seconds: begun.elapsed().as_secs_f64(),
        figures,
    }
}

fn lines(measured: &Measured) -> String {
    let head = format!("{} [{}, {:.0} s]\n  {}", measured.name, measured.verdict, measured.seconds, measured.goal);
    measured.figures.iter().fold(head, |text, figure| format!("{text}\n    {figure}"))
}

fn print(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

/// Which commit was measured, and whether with changes.
fn commit(workspace: &Workspace) -> String {
    let describe = workspace.command("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output();
    describe.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
