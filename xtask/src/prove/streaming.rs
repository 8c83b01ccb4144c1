//! How the promises of streaming quality are measured: the corpus in real time through the release build, as
//! `subtide bench stream` measures it, and an open peer beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{
    Check, Context,
    figure::Figure,
    goals::streaming as goal,
    pipeline::{build, subtide},
};
use crate::{
    training,
    workspace::{line, run, say},
};

/// Plays the same corpus to an open peer with the same checkpoint; installs what it needs.
const PEER: &str = "benches/peers/stream/run.py";
/// Numbers of sessions that are tried, until words come too late.
const RAMP: &str = "1,32,64,96,128,160,192,224,256,320";
/// Clients of the check without speech: each plays another of the recordings at a time.
const QUIET_SESSIONS: &str = "5";
/// Length of each of them.
const QUIET_SECONDS: &str = "120";

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "clean", goal: goal::CLEAN, measure: clean },
        Check { name: "quiet", goal: goal::QUIET, measure: quiet },
        Check { name: "monologue", goal: goal::MONOLOGUE, measure: monologue },
        Check { name: "sessions", goal: goal::SESSIONS, measure: sessions },
        Check { name: "peer", goal: goal::PEER, measure: peer },
    ]
}

fn clean(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let report = bench(context, &["--group", "clean", "--offline"])?;
    let captions = &report["groups"]["clean"]["captions"];
    let seconds = |value: &Value| value.as_f64().map_or(f64::INFINITY, |ms| ms / 1000.0);
    let shown = &captions["word_to_first_shown"]["wall_ms"];
    let translation = &report["groups"]["clean"]["translations"]["es"];
    let worse = &report["offline"]["groups"]["clean"]["wer_streamed_minus_offline"];
    Ok(vec![
        Figure::at_most("word to first shown, p50", seconds(&shown["p50"]), goal::SHOWN_P50_S, "s"),
        Figure::at_most("word to first shown, p95", seconds(&shown["p95"]), goal::SHOWN_P95_S, "s"),
        Figure::at_most(
            "word to committed, p50",
            seconds(&captions["word_to_committed"]["wall_ms"]["p50"]),
            goal::COMMITTED_P50_S,
            "s",
        ),
        Figure::at_most(
            "end of utterance to final beyond the silence waited for, p95",
            seconds(&captions["end_to_final_beyond_silence_ms"]["p95"]),
            goal::FINAL_P95_S,
            "s",
        ),
        Figure::at_most("caption erasure", number(&captions["normalised_erasure"]), goal::CAPTION_ERASURE, "of a word"),
        Figure::at_most(
            "translation erasure",
            number(&translation["normalised_erasure"]),
            goal::TRANSLATION_ERASURE,
            "of a word",
        ),
        Figure::at_most("word errors beyond offline decoding", number(worse) * 100.0, goal::WER_POINTS, "points"),
        reworded(&report),
    ])
}

fn quiet(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let groups = ["silence", "hum", "tone", "clicks", "white"];
    let chosen = groups.iter().flat_map(|group| ["--group", group]);
    let mut arguments: Vec<&str> = chosen.collect();
    arguments.extend(["--sessions", QUIET_SESSIONS, "--seconds", QUIET_SECONDS]);
    let silent = bench(context, &arguments)?;
    let minutes = number(&silent["total"]["audio_ms"]) / 60_000.0;
    let music = bench(context, &["--group", "music"])?;
    Ok(vec![
        Figure::at_most(
            format!("words on {minutes:.0} minutes of silence, hum, tone, clicks and white noise"),
            number(&silent["total"]["faults"]["invented_words"]),
            0.0,
            "words",
        ),
        Figure::at_most(
            "words on a minute of music",
            number(&music["total"]["invented_words_a_minute"]),
            goal::MUSIC_WORDS_A_MINUTE,
            "words",
        ),
    ])
}

fn monologue(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let events = context.workspace.target.join("prove/monologue.jsonl");
    let path = events.to_str().context("a path that is no UTF-8")?;
    let report = bench(context, &["--group", "monologue", "--events", path])?;
    let faults = &report["total"]["faults"];
    let memory: Vec<f64> =
        report["cost"]["resident_mb_at_quarters"].as_array().into_iter().flatten().map(number).collect();
    let (first, last) = (memory.get(1).context("no memory figures")?, memory.last().context("no memory figures")?);
    let text = fs::read_to_string(&events)?;
    Ok(vec![
        Figure::at_most("longest wait for a caption", longest_wait(&text, "caption")?, goal::CAPTION_WAIT_S, "s"),
        Figure::at_most(
            "longest wait for a translation",
            longest_wait(&text, "translation")?,
            goal::TRANSLATION_WAIT_S,
            "s",
        ),
        Figure::at_most("memory at the end by memory at a quarter", last / first, goal::MEMORY_GROWTH, ""),
        Figure::at_most("utterances dropped", number(&faults["finals_missing"]) + number(&faults["gaps"]), 0.0, ""),
        Figure::at_most("texts that went round in circles", number(&faults["loops"]), 0.0, ""),
        reworded(&report),
    ])
}

fn sessions(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let plot = context.workspace.target.join("prove/sessions.svg");
    let path = plot.to_str().context("a path that is no UTF-8")?;
    let report = bench(context, &["--group", "clean", "--ramp", RAMP, "--plot", path])?;
    let ramp = &report["ramp"];
    let in_time = ramp["sessions_in_time"].as_u64().unwrap_or(0);
    let curve: Vec<String> = ramp["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| format!("{}: {:.2} s", row["sessions"], number(&row["word_to_first_shown"]["wall_ms"]["p95"]) / 1e3))
        .collect();
    let held = |what: &str, key: &str| {
        if ramp[key] == true { Figure::met(what, "yes") } else { Figure::failed(what, ramp[key].to_string()) }
    };
    Ok(vec![
        if in_time > 0 {
            Figure::met("sessions at once with words in 2 s (p95)", format!("{in_time} ({})", curve.join(", ")))
        } else {
            Figure::failed("sessions at once with words in 2 s (p95)", curve.join(", "))
        },
        held("at twice as many all finals come", "overload_all_finals"),
        held("at twice as many `lag` is told", "overload_lag_told"),
        reworded(&report),
    ])
}

/// Ours and the fastest peer's, on the corpus that ships, one after the other.
fn peer(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let out = context.workspace.target.join("prove/stream-peers.json");
    let mut command = context.workspace.command("python3");
    command.args([PEER, "--out"]).arg(&out).stdout(std::io::stderr());
    say(&line(&command));
    run(&mut command)?;
    let shipped = context.workspace.root.join("models/demo-speech/stream");
    let ours = bench_of(context, &shipped, &["--group", "clean"])?;
    let ours = &ours["groups"]["clean"]["captions"];
    let text = fs::read_to_string(&out).with_context(|| format!("{PEER} left no {}", out.display()))?;
    let mut figures = Vec::new();
    for line in text.lines() {
        let theirs: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        let name = theirs["peer"].as_str().unwrap_or("a peer").to_owned();
        let theirs = &theirs["groups"]["clean"]["captions"];
        let ratio = |value: fn(&Value) -> &Value| number(value(ours)) / number(value(theirs));
        figures.push(Figure::at_most(
            format!("word to first shown, p50, beside {name}"),
            ratio(|captions| &captions["word_to_first_shown"]["wall_ms"]["p50"]),
            1.0,
            "of its delay",
        ));
        figures.push(Figure::at_most(
            format!("word errors beside {name}"),
            ratio(|captions| &captions["wer"]),
            1.0,
            "of its errors",
        ));
    }
    ensure!(!figures.is_empty(), "{} holds no peer", out.display());
    Ok(figures)
}

fn reworded(report: &Value) -> Figure {
    Figure::at_most("committed text reworded", number(&report["total"]["faults"]["reworded"]), 0.0, "times")
}

/// A number that falls short of every goal where there is none.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::INFINITY)
}

fn bench(context: &Context, arguments: &[&str]) -> anyhow::Result<Value> {
    let corpus = corpus(context)?;
    bench_of(context, &corpus, arguments)
}

fn bench_of(context: &Context, corpus: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    build(context)?;
    let mut command = subtide(context);
    command.args(["bench", "stream", "--json", "--corpus"]).arg(corpus).args(arguments);
    say(&line(&command));
    // It fails where committed text was reworded; the figures then say so.
    let output = command.stderr(Stdio::inherit()).output().context("the benchmark does not start")?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("the benchmark failed ({})", output.status))
}

/// The large corpus; made where it is not.
fn corpus(context: &Context) -> anyhow::Result<PathBuf> {
    let directory = context.workspace.target.join("corpus");
    if directory.join("corpus.json").is_file() {
        return Ok(directory);
    }
    match training::plan(context.workspace)? {
        training::Plan::Run(python) => {
            let mut command = context.workspace.command(python);
            command.args(["-m", "training", "streaming-corpus", "--out"]).arg(&directory).stdout(std::io::stderr());
            say(&line(&command));
            run(&mut command)?;
            Ok(directory)
        }
        training::Plan::Skip(reason) => bail!("the corpus must be made, and cannot be: {reason}"),
    }
}

/// Longest time, in seconds, between two events of a kind, from the first to the last of each recording.
fn longest_wait(events: &str, kind: &str) -> anyhow::Result<f64> {
    let mut last: Option<(String, u64)> = None;
    let mut longest = None;
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        if event["type"] != kind {
            continue;
        }
        let recording = event["recording"].to_string();
        let at = event["at_ms"].as_f64().context("an event without its time")? as u64;
        if let Some((_, before)) = last.take().filter(|(name, _)| *name == recording) {
            longest = longest.max(Some(at.saturating_sub(before)));
        }
        last = Some((recording, at));
    }
    Ok(longest.map_or(f64::INFINITY, |ms| ms as f64 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_within_a_recording() {
        let line = |recording: &str, kind: &str, at: u64| {
            format!(r#"{{"recording":"{recording}","type":"{kind}","at_ms":{at}}}"#)
        };
        let events = [
            line("a", "caption", 1000),
            line("a", "translation", 1500),
            line("a", "caption", 2500),
            line("b", "caption", 9000),
            line("b", "caption", 9400),
        ]
        .join("\n");
        assert_eq!(longest_wait(&events, "caption").unwrap(), 1.5);
        assert_eq!(longest_wait(&events, "translation").unwrap(), f64::INFINITY, "one is no stream");
        assert!(longest_wait("words", "caption").is_err());
    }
}
