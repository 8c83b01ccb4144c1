//! How the promises of the engine are measured: its tests against the reference, then the release build beside the
//! peers in one run, then CUDA.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    Check, Context,
    figure::Figure,
    goals::engine as goal,
    pipeline::{build, counted_tests},
};
use crate::{
    training,
    workspace::{line, on_path, run, say},
};

/// Runs every peer and this engine on the same checkpoints; installs what it needs.
const PEERS: &str = "benches/peers/run.py";
/// Builds for NVIDIA GPUs, with or without one.
const CUDA: &str = "infra/cuda/build.sh";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "parity", goal: goal::PARITY, measure: parity },
        Check { name: "log-mel", goal: goal::MEL, measure: mel },
        Check { name: "peers", goal: goal::PEERS, measure: peers },
        Check { name: "cuda", goal: goal::CUDA, measure: cuda },
    ]
}

fn parity(context: &Context) -> anyhow::Result<Vec<Figure>> {
    // The larger cases are computed on the spot by the reference itself.
    let (python, without) = match training::plan(context.workspace)? {
        training::Plan::Run(python) => (Some(python), None),
        training::Plan::Skip(reason) => (None, Some(reason)),
    };
    let test = |name: &str| {
        let mut command = context.workspace.cargo(["test", "--package", "inference", "--test", name, "--"]);
        if let Some(python) = &python {
            command.arg("--include-ignored").env("PYTHON", python);
        }
        counted_tests(command, &format!("tests of inference/tests/{name}.rs"))
    };
    let mut figures = ["parity", "tokens", "decode"].map(test).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    figures.extend(without.map(|reason| Figure::not_proven("more layers and whole vocabularies", reason)));
    figures.push(if on_path("nvidia-smi") {
        let mut command =
            context.workspace.cargo(["test", "--release", "--package", "inference", "--features", "cuda"]);
        command.args(["--test", "gpu", "--", "--include-ignored"]);
        counted_tests(command, "bf16 on the GPU, tests of inference/tests/gpu.rs")?
    } else {
        Figure::not_proven("bf16 on a GPU within 2e-2", "no GPU here")
    });
    Ok(figures)
}

fn mel(context: &Context) -> anyhow::Result<Vec<Figure>> {
    build(context)?;
    let mut command = context.workspace.command(context.workspace.target.join("release/subtide"));
    command.args(["bench", "engine", "--json", "--threads", "1", "--rounds", "20", "--case", "mel"]);
    let found = json_lines(&mut command)?;
    let value = found.iter().find(|found| found["case"] == "mel").and_then(|found| found["value"].as_f64());
    Ok(vec![Figure::at_most("log-mel of a second of audio, one core", value.context("no figure")?, goal::MEL_MS, "ms")])
}

fn peers(context: &Context) -> anyhow::Result<Vec<Figure>> {
    build(context)?;
    let out = context.workspace.target.join("prove/peers.json");
    let mut command = context.workspace.command("python3");
    command.args([PEERS, "--threads", "2", "--out"]).arg(&out).stdout(std::io::stderr());
    say(&line(&command));
    run(&mut command)?;
    let text = fs::read_to_string(&out).with_context(|| format!("{PEERS} left no {}", out.display()))?;
    let cases = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")));
    let cases: Vec<Value> = cases.collect::<anyhow::Result<_>>()?;
    let figures: Vec<Figure> = cases.iter().filter_map(ratio).collect();
    ensure!(!figures.is_empty(), "{} holds no case with a goal", out.display());
    Ok(figures)
}

/// A case that has a goal, as a figure: our time by that of the fastest peer, or its speed by ours.
fn ratio(case: &Value) -> Option<Figure> {
    let peer = case["peer"].as_str().unwrap_or("every peer");
    let what = format!("{} {} beside {peer}", case["model"].as_str().unwrap_or_default(), case["case"].as_str()?);
    let goal = case["goal"].as_f64()?;
    let Some(ratio) = case["ratio"].as_f64() else {
        return Some(Figure::not_proven(what, format!("not measured: {}", case["skipped"])));
    };
    // Faster is less, whichever way it was measured.
    let share = if case["better"] == "higher" { goal / ratio } else { ratio / goal };
    Some(Figure::at_most(what, share, 1.0, "of the fastest peer's time"))
}

fn cuda(context: &Context) -> anyhow::Result<Vec<Figure>> {
    const GPU: &str = "large-v3 and turbo beside transformers on a GPU, streams per GPU";
    let mut figures = Vec::new();
    if context.arguments.skip_cuda {
        figures.push(Figure::not_proven("the CUDA build compiles and links", "left out by --skip-cuda"));
    } else {
        run(context.workspace.command("bash").arg(CUDA).stdout(std::io::stderr()))?;
        figures.push(Figure::met("the CUDA build compiles and links", CUDA));
    }
    figures.push(if on_path("nvidia-smi") {
        Figure::not_proven(GPU, "see docs/BENCHMARKS.md for the commands; they are run by hand on a GPU machine")
    } else {
        Figure::not_proven(GPU, "no GPU here")
    });
    Ok(figures)
}

fn json_lines(command: &mut Command) -> anyhow::Result<Vec<Value>> {
    say(&line(command));
    let output = command.stderr(Stdio::inherit()).output().context("it does not start")?;
    ensure!(output.status.success(), "it failed ({})", output.status);
    let text = String::from_utf8(output.stdout).context("it printed no UTF-8")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prove::figure::Verdict;

    #[test]
    fn faster_meets_whichever_way_it_was_measured() {
        let verdict = |case: Value| ratio(&case).map(|figure| figure.verdict());
        let time = |ratio: f64| json!({"case": "a", "peer": "b", "better": "lower", "goal": 1.0, "ratio": ratio});
        let speed = |ratio: f64| json!({"case": "a", "peer": "b", "better": "higher", "goal": 1.0, "ratio": ratio});
        assert_eq!(verdict(time(0.9)), Some(Verdict::Met));
        assert_eq!(verdict(time(1.1)), Some(Verdict::FallsShort));
        assert_eq!(verdict(speed(1.1)), Some(Verdict::Met));
        assert_eq!(verdict(speed(0.9)), Some(Verdict::FallsShort));
        assert_eq!(verdict(json!({"case": "a", "peer": "b", "goal": 1.0, "skipped": "x"})), Some(Verdict::NotProven));
        assert_eq!(verdict(json!({"case": "a", "peer": "b"})), None, "no goal, no figure");
    }
}
