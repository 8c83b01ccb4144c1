//! The figures as a short table, for people who do not want a screen.

use std::fmt::Write as _;

use super::{
    names,
    report::{Process, Queue, Report, Source, Spread, Verdict},
    view::figures::{bytes, count, duration, rate, share},
};

/// The whole of it, with what is wrong first.
pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a text does not fail.
    write(&mut text, report).ok();
    text
}

/// The verdict in words that stand without a colour.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "WELL",
        Verdict::Wrong => "SOMETHING IS WRONG",
        Verdict::Unreachable => "NOTHING CAN BE REACHED",
    }
}

fn write(text: &mut String, report: &Report) -> std::fmt::Result {
    let brackets = if report.faults.is_empty() { "" } else { "   (in brackets: headings of docs/OPERATIONS.md)" };
    writeln!(text, "{}{brackets}", word(report.verdict))?;
    for fault in &report.faults {
        writeln!(text, "  ! [{}] {}", fault.runbook, fault.what)?;
    }
    let sessions = &report.sessions;
    writeln!(
        text,
        "\nsessions {}   audio {} s/s   speech {}   utterances {}/s",
        count(sessions.open),
        rate(sessions.audio_seconds_per_second),
        share(sessions.speech_share),
        rate(sessions.utterances_per_second),
    )?;
    writeln!(
        text,
        "\n{:<12} {:>7} {:>8} {:>8} {:>8} {:>8} {:>7}",
        "queue", "unread", "in hand", "oldest", "waits", "workers", "jobs/s"
    )?;
    for (stage, queue) in &report.queues {
        writeln!(text, "{}", row(stage, queue))?;
    }
    if report.queues.values().any(|queue| queue.source == Source::Metrics) {
        writeln!(text, "(depths as the roles tell them, up to a second old; Redis was not asked or is away)")?;
    }
    writeln!(text, "\n{:<20} {:>8} {:>8} {:>8}   {:>8} {:>8}", "latency", "p50", "p95", "of", "p95", "of all")?;
    for wait in &names::WAITS {
        let Some(latency) = report.latencies.get(wait.key) else { continue };
        let Spread { count, p50, p95 } = latency.recent;
        let all = latency.since_start;
        let (p50, p95, ever) = (duration(p50), duration(p95), duration(all.p95));
        writeln!(text, "{:<20} {p50:>8} {p95:>8} {count:>8}   {ever:>8} {:>8}", wait.label, all.count)?;
    }
    writeln!(
        text,
        "\n{:<20} {:<22} {:<9} {:>5} {:>7} {:>8} {:>8}",
        "process", "at", "", "has", "jobs/s", "job p95", "memory"
    )?;
    for process in &report.processes {
        writeln!(text, "{}", process_row(process))?;
    }
    if !report.errors.is_empty() {
        writeln!(text, "\nerrors, of the last {:.0} s and since the processes began", report.over_seconds)?;
    }
    for (name, count) in &report.errors {
        writeln!(text, "  {name:<32} {:>6.0} {:>8.0}", count.recent, count.total)?;
    }
    redis(text, report)
}

fn row(stage: &str, queue: &Queue) -> String {
    format!(
        "{stage:<12} {:>7} {:>8} {:>8} {:>8} {:>8} {:>7}",
        count(queue.lag),
        count(queue.pending),
        duration(queue.oldest_seconds),
        duration(queue.waiting_seconds),
        count(queue.workers),
        rate(queue.jobs_per_second),
    )
}

fn process_row(process: &Process) -> String {
    let state = match (&process.error, process.ready) {
        (Some(_), _) => "away",
        (None, true) => "ready",
        (None, false) => "not ready",
    };
    format!(
        "{:<20} {:<22} {state:<9} {:>5} {:>7} {:>8} {:>8}",
        process.role.as_deref().unwrap_or("?"),
        process.address.as_deref().unwrap_or(&process.target),
        count(process.sessions.or(process.jobs_in_flight)),
        rate(process.jobs_per_second),
        duration(process.job_p95_seconds),
        bytes(process.resident_bytes),
    )
}

fn redis(text: &mut String, report: &Report) -> std::fmt::Result {
    let redis = &report.redis;
    if !redis.reached {
        return Ok(());
    }
    let limit = redis.limit_bytes.map_or_else(|| "no limit".to_owned(), |limit| format!("of {}", bytes(Some(limit))));
    let letters = count(redis.dead_letters_last_hour);
    writeln!(text, "\nRedis holds {} ({limit}); dead letters in the last hour: {letters}", bytes(redis.used_bytes))
}
