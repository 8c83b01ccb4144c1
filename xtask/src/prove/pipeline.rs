//! How the promises of the pipeline are measured: on the release build, in child processes.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{
    Check, Context,
    demo::{latency, median},
    figure::Figure,
    goals::pipeline as goal,
    idle_sessions::IdleSession,
    memory::{Server, pause},
};
use crate::{
    host, test,
    workspace::{line, on_path, run, say},
};

/// Enough that one session's cost stands out of the allocator's grain.
const IDLE_SESSIONS: usize = 200;
/// After opening sessions, until memory is read: what the opening itself took is given back.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "demo", goal: goal::DEMO, measure: demo },
        Check { name: "memory", goal: goal::MEMORY, measure: memory },
        Check { name: "exactly once", goal: goal::EXACTLY_ONCE, measure: exactly_once },
        Check { name: "bad input", goal: goal::BAD_INPUT, measure: bad_input },
        Check { name: "clean clone", goal: goal::CLEAN_CLONE, measure: clean_clone },
    ]
}

/// The release build of `subtide`; [`build`] must have run. On at most as many cores as the goal names.
pub(crate) fn subtide(context: &Context) -> Command {
    let program = context.workspace.target.join("release/subtide");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores <= goal::CORES || !on_path("taskset") {
        return context.workspace.command(program);
    }
    let mut command = context.workspace.command("taskset");
    command.args(["--cpu-list", &format!("0-{}", goal::CORES - 1)]).arg(program);
    command
}

pub(crate) fn build(context: &Context) -> anyhow::Result<()> {
    run(context.workspace.cargo(["build", "--release", "--package", "subtide"]).stdout(std::io::stderr()))
}

fn demo(context: &Context) -> anyhow::Result<Vec<Figure>> {
    build(context)?;
    let mut command = subtide(context);
    command.args(["demo", "--json", "--once"]).stderr(Stdio::inherit());
    say(&line(&command));
    let output = command.output().context("the demo does not start")?;
    ensure!(output.status.success(), "the demo failed ({})", output.status);
    let found = latency(&String::from_utf8(output.stdout).context("the demo printed no UTF-8")?)?;
    let translated = found.final_translations_s.iter().filter(|seconds| seconds.is_finite()).count();
    Ok(vec![
        Figure::at_most("first word to first caption text", found.first_text_s, goal::FIRST_TEXT_S, "s"),
        Figure::at_most(
            "start of an utterance to its first caption text, median",
            median(&found.first_texts_s),
            goal::FIRST_TEXT_S,
            "s",
        ),
        Figure::at_most(
            "end of an utterance to its final translation, median",
            median(&found.final_translations_s),
            goal::FINAL_TRANSLATION_S,
            "s",
        ),
        Figure::all("utterances with a final translation", translated, found.final_translations_s.len()),
    ])
}

fn memory(context: &Context) -> anyhow::Result<Vec<Figure>> {
    build(context)?;
    let server = Server::start(context)?;
    let mut caption = subtide(context);
    caption.args(["caption", "models/demo-speech/demo.wav", "--to", "es", "--server"]);
    caption.arg(format!("ws://127.0.0.1:{}/v1/stream", server.port)).stdout(Stdio::null());
    run(&mut caption)?;
    let (_, most) = server.resident_bytes()?;
    pause(SETTLE);
    let (before, _) = server.resident_bytes()?;
    let sessions = (0..IDLE_SESSIONS).map(|_| IdleSession::open(server.port)).collect::<anyhow::Result<Vec<_>>>()?;
    pause(SETTLE);
    let (after, _) = server.resident_bytes()?;
    let each = after.saturating_sub(before) as f64 / sessions.len() as f64;
    Ok(vec![
        Figure::at_most(
            "`subtide serve` at its largest, the demo captioned",
            most as f64 / 1e6,
            goal::PROCESS_MB,
            "MB",
        ),
        Figure::at_most(format!("one of {IDLE_SESSIONS} idle sessions"), each / 1e3, goal::IDLE_SESSION_KB, "KB"),
    ])
}

fn exactly_once(context: &Context) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![cargo_test(context, "exactly_once")?, cargo_test(context, "kill_worker")?])
}

fn bad_input(context: &Context) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![cargo_test(context, "bad_input")?])
}

/// Runs one file of the package `tests`; its lines are shown as they come.
fn cargo_test(context: &Context, name: &str) -> anyhow::Result<Figure> {
    host::ensure(&[host::REDIS])?;
    test::build(context.workspace)?;
    let command = context.workspace.cargo(["test", "--package", "tests", "--test", name]);
    counted_tests(command, &format!("tests of tests/tests/{name}.rs"))
}

/// Runs tests, showing their lines as they come; met when all of them, and at least one, passed.
pub(crate) fn counted_tests(mut command: Command, what: &str) -> anyhow::Result<Figure> {
    say(&line(&command));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo does not start")?;
    let mut passed = 0;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        passed += usize::from(line.starts_with("test ") && line.ends_with(" ... ok"));
        writeln!(std::io::stderr(), "{line}")?;
    }
    let status = child.wait()?;
    let found = format!("{passed} passed");
    Ok(if status.success() && passed > 0 {
        Figure::met(what, found)
    } else {
        Figure::failed(what, format!("{found}, {status}"))
    })
}

fn clean_clone(context: &Context) -> anyhow::Result<Vec<Figure>> {
    const WHAT: &str = "`cargo xtask test` in a clean clone";
    if context.arguments.skip_clean_clone {
        return Ok(vec![Figure::not_proven(WHAT, "left out by --skip-clean-clone")]);
    }
    let redis_beforehand = host::REDIS.is_here();
    let clone = context.workspace.target.join("prove/clone");
    if clone.exists() {
        fs::remove_dir_all(&clone).with_context(|| format!("cannot remove {}", clone.display()))?;
    }
    run(context.workspace.command("git").args(["clone", "--quiet", "--no-hardlinks", "."]).arg(&clone))?;
    let mut tests = Command::new("cargo");
    tests.args(["xtask", "test"]).current_dir(&clone).stdout(std::io::stderr());
    // Cargo's own variables, which lead back to this checkout.
    for (key, _) in std::env::vars_os().filter(|(key, _)| is_cargo_s(&key.to_string_lossy())) {
        tests.env_remove(key);
    }
    let outcome = run(&mut tests);
    fs::remove_dir_all(&clone).with_context(|| format!("cannot remove {}", clone.display()))?;
    let mut figures = vec![match outcome {
        Ok(()) => Figure::met(WHAT, "green"),
        Err(error) => Figure::failed(WHAT, format!("{error:#}")),
    }];
    figures.push(if redis_beforehand {
        Figure::not_proven("without redis-server beforehand", "this machine had it; run this where it is not installed")
    } else {
        Figure::met("without redis-server beforehand", "it was not there")
    });
    Ok(figures)
}

/// Where tools and registries are stays as it is.
fn is_cargo_s(key: &str) -> bool {
    key == "CARGO" || key == "CARGO_TARGET_DIR" || key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")
}
