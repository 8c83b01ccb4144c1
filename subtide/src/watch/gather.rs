//! One look, put together as a [`Report`].

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use shared::{bus, jobs::AUDIO_JOBS};
use tokio::time::Instant;

use super::{
    faults,
    histogram::Histogram,
    history::{Beside, History},
    names,
    queues::{RedisAnswer, STAGES, Stage},
    report::{Count, Latency, Member, Process, Queue, Redis, Report, Sessions, Source, Spread, Verdict},
    samples::Series,
    scrape::{Answer, Replica, Scraped},
};

/// A consumer with jobs in hand that was silent for so long does not live: one that lives renews its leases every second.
pub(super) const LIVES: Duration = Duration::from_secs(5);
/// One that holds nothing and was silent for so long is not worth a line; the bus forgets it after an hour.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// The role of a process that is all roles at once.
pub(super) const ALL_IN_ONE: &str = "subtide";

/// What was seen at one moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) scraped: Scraped,
    /// `None`: it was not asked.
    pub(super) redis: Option<Result<RedisAnswer, String>>,
}

/// Puts it together.
pub(super) fn report(look: &Look, history: &History) -> Report {
    let told = history.beside(look.at, &look.scraped.replicas);
    let answer = look.redis.as_ref().and_then(|redis| redis.as_ref().ok());
    let queues = STAGES.iter().enumerate().map(|(n, stage)| {
        let redis = answer.and_then(|answer| answer.queues.get(n));
        let queue = queue(stage, redis, &told);
        (stage.name, Queue { workers: workers(look, stage, &queue), ..queue })
    });
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut report = Report {
        at_unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        over_seconds: history.reach(look.at).as_secs_f64(),
        verdict: Verdict::Well,
        faults: Vec::new(),
        sessions: sessions(&told),
        queues: queues.collect(),
        latencies: latencies(&told),
        errors: errors(&told),
        processes: processes(look, history),
        redis: redis(look),
    };
    report.faults = faults::of(&report);
    report.verdict = faults::verdict(&report);
    report
}

fn whole(number: f64) -> u64 {
    number.round() as u64
}

fn sessions(told: &Beside<'_>) -> Sessions {
    let rate = |name| told.rate(&Series::of(name));
    let audio = told.increase(&Series::of("gateway_audio_milliseconds_total")).filter(|ms| *ms > 0.0);
    let speech = told.increase(&Series::of("gateway_speech_milliseconds_total"));
    let decoding = told.increase(&names::of_stream("subtide_model_busy_seconds_total", AUDIO_JOBS));
    let decoded = told.increase(&Series::of("subtide_decoded_audio_milliseconds_total")).map(|ms| ms / 1000.0);
    Sessions {
        open: told.sum(&Series::of("gateway_sessions")).map(whole),
        opened_per_second: rate("gateway_sessions_opened_total"),
        audio_seconds_per_second: rate("gateway_audio_milliseconds_total").map(|ms| ms / 1000.0),
        speech_share: audio.zip(speech).map(|(audio, speech)| speech / audio),
        utterances_per_second: rate("gateway_utterances_total"),
        decoded_times_real_time: decoding
            .filter(|seconds| *seconds > 0.0)
            .zip(decoded)
            .map(|(decoding, decoded)| decoded / decoding),
    }
}

fn queue(stage: &Stage, redis: Option<&(bus::Depth, Vec<bus::Member>)>, told: &Beside<'_>) -> Queue {
    let of_stream = |name| names::of_stream(name, stage.stream);
    let largest = |name| told.largest(&of_stream(name));
    let batches = told.increase(&of_stream("subtide_batch_rows_count")).filter(|count| *count > 0.0);
    let rows = told.increase(&of_stream("subtide_batch_rows_sum"));
    let by_metrics = Queue {
        stream: stage.stream,
        group: stage.group,
        source: Source::Metrics,
        lag: largest("subtide_queue_lag").map(whole),
        pending: largest("subtide_queue_pending").map(whole),
        depth: None,
        oldest_seconds: largest("subtide_queue_oldest_seconds"),
        waiting_seconds: largest("gateway_queue_waiting_seconds"),
        workers: None,
        jobs_per_second: told.rate(&names::done(stage.stream)),
        batch_size: batches.zip(rows).map(|(count, sum)| sum / count),
        members: Vec::new(),
    };
    let Some((depth, members)) = redis else {
        let depth = by_metrics.lag.zip(by_metrics.pending).map(|(lag, pending)| lag + pending);
        return Queue { depth, ..by_metrics };
    };
    let shown = members.iter().filter(|member| member.pending > 0 || member.idle < FORGOTTEN);
    Queue {
        source: Source::Redis,
        lag: Some(depth.lag),
        pending: Some(depth.pending),
        depth: Some(depth.lag + depth.pending),
        oldest_seconds: Some(depth.oldest_age.as_secs_f64()),
        waiting_seconds: Some(depth.waiting.as_secs_f64()),
        members: shown.map(member).collect(),
        ..by_metrics
    }
}

/// Workers of a stage that are ready, or that Redis knows to live where nobody looks at their ports. A Redis before 7.2 does
/// not count it as a sign of life that a worker asks and gets nothing. `None`: all that was looked at are other roles.
fn workers(look: &Look, stage: &Stage, queue: &Queue) -> Option<u64> {
    let hand = names::of_stream("subtide_jobs_in_flight", stage.stream);
    let answers = look.scraped.replicas.iter().filter_map(|replica| replica.answer.as_ref().ok());
    let ready = answers.filter(|answer| answer.health.ready && answer.metrics.value(&hand).is_some()).count();
    let living = queue.members.iter().filter(|member| member.idle_seconds < LIVES.as_secs_f64()).count();
    let away = !look.scraped.unknown.is_empty() || look.scraped.replicas.iter().any(|replica| replica.answer.is_err());
    let workers = ready.max(living);
    (workers > 0 || away).then_some(workers as u64)
}

fn member(member: &bus::Member) -> Member {
    Member { name: member.name.clone(), pending: member.pending, idle_seconds: member.idle.as_secs_f64() }
}

fn spread(histogram: &Histogram) -> Spread {
    Spread { count: whole(histogram.count()), p50: histogram.quantile(0.5), p95: histogram.quantile(0.95) }
}

fn latencies(told: &Beside<'_>) -> BTreeMap<&'static str, Latency> {
    let latency = |series: &Series| {
        let since_start = spread(&told.histogram(series)?);
        let recent = told.recent_histogram(series).map_or_else(Spread::default, |recent| spread(&recent));
        Some(Latency { recent, since_start })
    };
    let waits = names::WAITS.iter().filter_map(|wait| Some((wait.key, latency(&(wait.series)())?)));
    waits.collect()
}

fn errors(told: &Beside<'_>) -> BTreeMap<String, Count> {
    let kinds = names::ERRORS.iter().flat_map(|(metric, label, word)| {
        let kinds = told.by_label(&Series::of(metric), label).into_iter();
        let wrong = kinds.filter(|(kind, (_, total))| *total > 0.0 && names::is_fault(metric, kind));
        wrong.map(move |(kind, (recent, total))| {
            let name = if kind.is_empty() { (*word).to_owned() } else { format!("{word}: {kind}") };
            (name, Count { recent, total })
        })
    });
    kinds.collect()
}

fn redis(look: &Look) -> Redis {
    match &look.redis {
        None => Redis::default(),
        Some(Err(error)) => Redis { asked: true, error: Some(error.clone()), ..Redis::default() },
        Some(Ok(answer)) => Redis {
            asked: true,
            reached: true,
            error: None,
            used_bytes: answer.usage.map(|usage| usage.used),
            limit_bytes: answer.usage.and_then(|usage| usage.limit),
            dead_letters_last_hour: Some(answer.dead_letters as u64),
        },
    }
}

fn processes(look: &Look, history: &History) -> Vec<Process> {
    let nobody = |target: &dyn std::fmt::Display, error: &str| Process {
        role: None,
        target: target.to_string(),
        address: None,
        ready: false,
        error: Some(error.to_owned()),
        components: BTreeMap::new(),
        version: None,
        up_seconds: None,
        models: Vec::new(),
        sessions: None,
        jobs_in_flight: None,
        jobs_per_second: None,
        job_p95_seconds: None,
        cores: None,
        resident_bytes: None,
    };
    let replica = |replica: &Replica| match &replica.answer {
        Ok(answer) => process(replica, answer, &history.beside(look.at, [replica])),
        Err(error) => Process { address: Some(replica.address.to_string()), ..nobody(&replica.target, error) },
    };
    let unknown = look.scraped.unknown.iter().map(|(target, error)| nobody(target, error));
    look.scraped.replicas.iter().map(replica).chain(unknown).collect()
}

fn process(replica: &Replica, answer: &Answer, told: &Beside<'_>) -> Process {
    let value = |name| told.sum(&Series::of(name));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let recent = told.recent_histogram(&names::job_seconds());
    Process {
        role: Some(answer.health.role.clone()),
        target: replica.target.to_string(),
        address: Some(replica.address.to_string()),
        ready: answer.health.ready,
        error: None,
        components: answer.health.components.clone(),
        version: Some(answer.health.version.clone()),
        up_seconds: value("process_start_time_seconds").map(|began| (now - began).max(0.0)),
        models: told.labels(&Series::of("subtide_model_info"), "model"),
        sessions: value("gateway_sessions").map(whole),
        jobs_in_flight: value("subtide_jobs_in_flight").map(whole),
        jobs_per_second: told.rate(&names::all_done()),
        job_p95_seconds: recent.and_then(|recent| recent.quantile(0.95)),
        cores: told.rate(&Series::of("process_cpu_seconds_total")),
        resident_bytes: value("process_resident_memory_bytes").map(whole),
    }
}
