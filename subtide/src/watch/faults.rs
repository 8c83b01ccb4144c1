//! What is wrong, judged from the figures: what is nearest to the cause comes first, each with where to read on.

use shared::consumer::BUS;

use super::{
    gather::LIVES,
    report::{Fault, Process, Queue, Report, Verdict},
};

/// The objective "queue young" of docs/OPERATIONS.md, in seconds.
const YOUNG: f64 = 3.0;
/// From here on the queue does not move at all.
const STUCK: f64 = 30.0;
/// Share of the memory of Redis from which on little is left.
const FULL: f64 = 0.9;
/// Errors of the last while that are ours, and where to read about them.
const OURS: [(&str, &str); 8] = [
    ("lost", "JobsLost"),
    ("dead letter", "DeadLetters"),
    ("session ended: internal", "InternalErrors"),
    ("session ended: unavailable", "SessionsFailing"),
    ("session ended: overloaded", "SessionsFailing"),
    ("turned away: queue", "TurningAway"),
    ("turned away: full", "TurningAway"),
    ("turned away: unavailable", "TurningAway"),
];

fn fault(what: impl Into<String>, runbook: &'static str) -> Fault {
    Fault { what: what.into(), runbook }
}

/// Everything that is wrong.
pub(super) fn of(report: &Report) -> Vec<Fault> {
    let mut faults = redis(report);
    // That every role misses Redis is said already.
    let bus_alone = |broken: &Process| {
        broken.error.is_none() && broken.components.iter().all(|(name, works)| *works || name == BUS)
    };
    let told = |broken: &&Process| report.redis.error.is_none() || !bus_alone(broken);
    faults.extend(report.processes.iter().filter(told).filter_map(process));
    for (stage, queue) in &report.queues {
        faults.extend(waits(stage, queue));
        faults.extend(silent(stage, queue));
    }
    faults.extend(OURS.iter().filter_map(|(kind, runbook)| {
        let recent = report.errors.iter().filter(|(name, _)| name.starts_with(kind)).map(|(_, count)| count.recent);
        let recent: f64 = recent.sum();
        (recent >= 1.0).then(|| fault(format!("{kind}: {recent:.0} in the last {:.0} s", report.over_seconds), runbook))
    }));
    faults
}

/// The whole in a word. Nothing reached, Redis included, is another thing than something wrong.
pub(super) fn verdict(report: &Report) -> Verdict {
    let reached = report.redis.reached || report.processes.iter().any(|process| process.role.is_some());
    match (reached, report.faults.is_empty()) {
        (false, _) => Verdict::Unreachable,
        (true, true) => Verdict::Well,
        (true, false) => Verdict::Wrong,
    }
}

fn redis(report: &Report) -> Vec<Fault> {
    let redis = &report.redis;
    let mut faults = Vec::new();
    if let Some(error) = &redis.error {
        faults.push(fault(error.clone(), "RedisAway"));
    }
    if let (Some(used), Some(limit)) = (redis.used_bytes, redis.limit_bytes)
        && used as f64 >= FULL * limit as f64
    {
        let share = 100.0 * used as f64 / limit as f64;
        faults.push(fault(
            format!("Redis holds {share:.0} % of what it may: near full it refuses audio"),
            "SessionsFailing",
        ));
    }
    faults
}

fn process(process: &Process) -> Option<Fault> {
    let at = process.address.as_ref().filter(|address| **address != process.target);
    let name = at.map_or_else(|| process.target.clone(), |address| format!("{} ({address})", process.target));
    if let Some(error) = &process.error {
        return Some(fault(format!("{name} does not answer: {error}"), "RoleDown"));
    }
    let broken: Vec<_> =
        process.components.iter().filter(|(_, works)| !**works).map(|(name, _)| name.as_str()).collect();
    let role = process.role.as_deref().unwrap_or_default();
    let runbook = if broken.contains(&BUS) { "RedisAway" } else { "ComponentDown" };
    (!process.ready).then(|| fault(format!("{role} at {name} is not ready: {}", broken.join(", ")), runbook))
}

fn waits(stage: &str, queue: &Queue) -> Option<Fault> {
    let waiting = queue.waiting_seconds.unwrap_or(0.0);
    let lag = queue.lag.unwrap_or(0);
    if queue.workers == Some(0) && queue.depth.is_some_and(|depth| depth > 0) {
        let runbook = if stage == "speech" { "NoSttWorker" } else { "NoTranslationWorker" };
        let depth = queue.depth.unwrap_or(0);
        return Some(fault(format!("{depth} {stage} jobs wait, and no {stage} worker lives"), runbook));
    }
    if waiting > STUCK {
        return Some(fault(
            format!("{stage}: {lag} jobs wait, the oldest for {waiting:.0} s: they do not move"),
            "QueueStuck",
        ));
    }
    (waiting > YOUNG).then(|| fault(format!("{stage}: {lag} jobs wait, the oldest for {waiting:.1} s"), "QueueOld"))
}

/// Workers that died with jobs in their hands: others take them over within seconds.
fn silent(stage: &str, queue: &Queue) -> Option<Fault> {
    let silent: Vec<_> = queue
        .members
        .iter()
        .filter(|member| member.pending > 0 && member.idle_seconds > LIVES.as_secs_f64())
        .map(|member| format!("{} ({} jobs)", member.name, member.pending))
        .collect();
    (!silent.is_empty())
        .then(|| fault(format!("{stage}: fell silent with jobs in hand: {}", silent.join(", ")), "WorkersDying"))
}
