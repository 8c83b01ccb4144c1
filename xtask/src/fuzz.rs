//! `cargo xtask fuzz`: every fuzz target for a while, from its corpus on.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::workspace::{Workspace, line, say};

/// No input takes longer, seconds: whoever could send it would stop a server with it.
const SLOWEST: u64 = 10;
/// No input takes more memory, MiB.
const MOST_MEMORY: u64 = 2048;
/// What libFuzzer calls the number of inputs it tried.
const EXECUTED: &str = "stat::number_of_executed_units:";
/// And how many a second.
const A_SECOND: &str = "stat::average_exec_per_sec:";
/// Longest input, bytes, for each target: some times its files in the corpus. What is longer takes longer, and says the same.
const LONGEST: [(&str, u32); 15] = [
    ("client_message", 1024),
    ("session", 512),
    ("server_event", 2048),
    ("head", 1024),
    ("resume_token", 160),
    ("token", 1024),
    ("bus_entry", 1024),
    ("session_state", 3072),
    ("audio", 384),
    ("recording", 6144),
    ("sentencepiece", 6144),
    ("tokenizer", 2560),
    ("weights", 1024),
    ("gguf", 1024),
    ("glossary", 512),
];
/// Of a target that is not named there.
const LONGEST_OF_OTHERS: u32 = 4096;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// At most so long for each target; 60, or half an hour where a number of inputs is asked for
    #[arg(long)]
    seconds: Option<u64>,
    /// So many inputs for each target
    #[arg(long)]
    executions: Option<u64>,
    /// All of them where none is named
    targets: Vec<String>,
}

/// Runs the targets one after the other; prints for each how many inputs were tried and how many broke something.
///
/// # Errors
/// When the nightly compiler or cargo-fuzz is missing, or a target does not build.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    tools(workspace)?;
    let all = targets(workspace)?;
    let unknown = arguments.targets.iter().find(|name| !all.contains(name));
    if let Some(unknown) = unknown {
        bail!("there is no fuzz target `{unknown}`; there are {}", all.join(", "));
    }
    let mut build = fuzz(workspace, "build");
    build.stdout(Stdio::inherit());
    ensure!(build.status().is_ok_and(|status| status.success()), "`{}` failed", line(&build));
    let chosen = if arguments.targets.is_empty() { all } else { arguments.targets.clone() };
    let mut whole = true;
    for target in chosen {
        let found = one(workspace, &target, arguments)?;
        print(&format!("FIGURE fuzz_{target}_executions {}", found.executed));
        print(&format!("FIGURE fuzz_{target}_per_second {}", found.a_second));
        print(&format!("FIGURE fuzz_{target}_crashes {}", u8::from(found.broke)));
        whole &= !found.broke && found.executed > 0;
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "figures are read there")]
fn print(text: &str) {
    println!("{text}");
}

fn tools(workspace: &Workspace) -> anyhow::Result<()> {
    let answers = |mut command: Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let cargo = |arguments: &[&str]| {
        let mut command = nightly(workspace);
        command.args(arguments);
        command
    };
    if !answers(cargo(&["--version"])) {
        bail!("fuzzing wants the nightly compiler: rustup toolchain install nightly");
    }
    if !answers(cargo(&["fuzz", "--version"])) {
        bail!("fuzzing wants cargo-fuzz: cargo +nightly install cargo-fuzz");
    }
    Ok(())
}

/// rustup's cargo of the nightly compiler: the one that runs this is of another.
fn nightly(workspace: &Workspace) -> Command {
    let mut command = workspace.command("cargo");
    command.arg("+nightly").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").current_dir(workspace.root.join("fuzz"));
    command
}

/// Without the address sanitizer: what is fuzzed has no unsafe code, and is several times as fast without.
fn fuzz(workspace: &Workspace, verb: &str) -> Command {
    let mut command = nightly(workspace);
    command.args(["fuzz", verb, "--sanitizer", "none"]).env("CARGO_TARGET_DIR", workspace.target.join("fuzz"));
    command
}

fn targets(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut list = nightly(workspace);
    list.args(["fuzz", "list"]);
    let output = list.output().context("cargo-fuzz does not start")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// What came of a target.
struct Found {
    /// Inputs that were tried.
    executed: u64,
    a_second: u64,
    /// One of them broke something, and was the last: libFuzzer stops there.
    broke: bool,
}

fn one(workspace: &Workspace, target: &str, arguments: &Arguments) -> anyhow::Result<Found> {
    // What is found goes there, and not among the committed files.
    let found = workspace.target.join("fuzz-corpus").join(target);
    fs::create_dir_all(&found).context("what is found has no place")?;
    let mut command = fuzz(workspace, "run");
    command.arg(target).arg(&found).arg(Path::new("corpus").join(target)).arg("--");
    let seconds = arguments.seconds.unwrap_or(if arguments.executions.is_some() { 1800 } else { 60 });
    let longest = LONGEST.iter().find(|(name, _)| *name == target).map_or(LONGEST_OF_OTHERS, |(_, longest)| *longest);
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={longest}"),
        "-print_final_stats=1".to_owned(),
    ]);
    command.args([format!("-timeout={SLOWEST}"), format!("-rss_limit_mb={MOST_MEMORY}")]);
    command.args(arguments.executions.map(|runs| format!("-runs={runs}")));
    say(&line(&command));
    let output = command.stdin(Stdio::null()).output().context("cargo-fuzz does not start")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let stat = |name: &str| log.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok()).next_back();
    let broke = !output.status.success();
    if broke {
        say(&log);
        say(&format!("{target} broke: mend it, and add the input it names to fuzz/corpus/{target}"));
    }
    Ok(Found { executed: stat(EXECUTED).unwrap_or(0), a_second: stat(A_SECOND).unwrap_or(0), broke })
}
