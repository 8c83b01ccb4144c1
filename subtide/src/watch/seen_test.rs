//! What an operator sees, and what is judged to be wrong, from what roles and Redis said.

use std::{collections::BTreeMap, time::Duration};

use shared::bus::{Depth, Member, Usage};
use tokio::time::Instant;

use super::{
    gather::{self, Look},
    history::History,
    picture,
    queues::RedisAnswer,
    report::{Report, Verdict},
    samples::Metrics,
    scrape::{Answer, HealthReport, Replica, Scraped},
};

const WINDOW: Duration = Duration::from_secs(30);

fn replica(role: &str, port: u16, metrics: &str) -> Replica {
    let components = BTreeMap::from([("bus".to_owned(), true)]);
    let health = HealthReport { role: role.to_owned(), version: "0.1.0".to_owned(), ready: true, components };
    let answer = Ok(Answer { health, metrics: Metrics::parse(metrics) });
    Replica { target: format!("{role}:{port}").parse().unwrap(), address: ([10, 0, 0, 7], port).into(), answer }
}

/// Counters of a gateway after so many seconds of ten people who speak.
fn gateway(seconds: u64) -> Replica {
    let (audio, speech, utterances) = (seconds * 10_000, seconds * 7_000, seconds * 2);
    let text = format!(
        "gateway_sessions 10\ngateway_audio_milliseconds_total {audio}\ngateway_speech_milliseconds_total {speech}\n\
         gateway_utterances_total {utterances}\n# TYPE gateway_caption_seconds histogram\n\
         gateway_caption_seconds_bucket{{stage=\"final\",le=\"0.1\"}} 0\n\
         gateway_caption_seconds_bucket{{stage=\"final\",le=\"0.2\"}} {utterances}\n\
         gateway_caption_seconds_bucket{{stage=\"final\",le=\"+Inf\"}} {utterances}\n\
         gateway_refused_total{{reason=\"auth\"}} 3\ngateway_refused_total{{reason=\"full\"}} 0\n\
         process_resident_memory_bytes 52000000\n"
    );
    replica("gateway", 8080, &text)
}

fn worker(seconds: u64) -> Replica {
    let done = seconds * 12;
    let text = format!(
        "subtide_jobs_in_flight{{stream=\"audio_jobs\"}} 4\n\
         subtide_jobs_total{{outcome=\"done\",stream=\"audio_jobs\"}} {done}\n\
         subtide_jobs_total{{outcome=\"superseded\",stream=\"audio_jobs\"}} {done}\n\
         subtide_batch_rows_sum{{stream=\"audio_jobs\"}} {}\nsubtide_batch_rows_count{{stream=\"audio_jobs\"}} {done}\n\
         subtide_model_info{{model=\"whisper-small\",device=\"cuda:0\",compute=\"bf16\",stream=\"audio_jobs\"}} 1\n",
        done * 3
    );
    replica("stt-worker", 8081, &text)
}

fn depth(lag: u64, pending: u64, waiting_ms: u64) -> Depth {
    let waiting = Duration::from_millis(waiting_ms);
    Depth { lag, pending, oldest_age: waiting + Duration::from_millis(250), waiting }
}

fn redis(speech: Depth, members: Vec<Member>) -> RedisAnswer {
    let usage = Some(Usage { used: 96_000_000, limit: Some(1_000_000_000) });
    RedisAnswer { queues: vec![(speech, members), (Depth::default(), Vec::new())], usage, dead_letters: 0 }
}

fn member(name: &str, pending: u64, idle_s: u64) -> Member {
    Member { name: name.to_owned(), pending, idle: Duration::from_secs(idle_s) }
}

/// Two looks, ten seconds apart.
fn reports(last: Vec<Replica>, answer: Result<RedisAnswer, String>) -> [Report; 2] {
    let (mut history, begin) = (History::new(WINDOW), Instant::now());
    let mut look = |at, replicas, redis| {
        let look = Look { at, scraped: Scraped { replicas, unknown: Vec::new() }, redis: Some(redis) };
        history.keep(at, &look.scraped.replicas);
        Report { at_unix_ms: 1_795_299_642_000, ..gather::report(&look, &history) }
    };
    let first = look(begin, vec![gateway(100), worker(100)], Ok(redis(Depth::default(), Vec::new())));
    [first, look(begin + Duration::from_secs(10), last, answer)]
}

#[test]
fn what_is_well_is_seen_at_once() {
    let answer = redis(depth(2, 4, 400), vec![member("stt-0", 4, 0)]);
    let reports = reports(vec![gateway(110), worker(110)], Ok(answer));
    assert_eq!((reports[1].verdict, &reports[1].faults), (Verdict::Well, &Vec::new()));
    let seen = picture(reports, 80, 24).unwrap();
    let expected = "\
Subtide   WELL   22:20:42 UTC  rates and latencies of the last 10 s
✓ nothing is wrong
 Sessions ──────────────────────────────────────────────────────────────────────
open 10  audio 10.0 s/s  speech 70 %  utterances 2.0/s  Redis 96 MB of 1.0 GB
 Queues ────────────────────────────────────────────────────────────────────────
stage         unread in hand  oldest   waits workers jobs/s batch course
speech             2       4  650 ms  400 ms       1   12.0   3.0 ▁█
translation        0       0       0       0       -      -     - ▁▁
 Latencies ────────────────────────────────── Errors ───────────────────────────
how long for            p50     p95      of                           now   ever
first words               -       -       -  turned away: auth          0      3
committed words           -       -       -
final caption        150 ms  195 ms      20
final translation         -       -       -
a speech job              -       -       -
a translation job         -       -       -
 Processes ─────────────────────────────────────────────────────────────────────
  role               at                      has jobs/s job p95 cores  memory
✓ gateway            10.0.0.7:8080            10      -       -     -   52 MB
✓ stt-worker         10.0.0.7:8081             4   12.0       -     -       -



q quit   space pause   ? help   sort: 1 by role  2 busiest first
";
    assert_eq!(seen.lines().count(), expected.lines().count());
    for (seen, expected) in seen.lines().zip(expected.lines()) {
        assert_eq!(seen.trim_matches('"').trim_end(), expected);
    }
}

fn wrong(replicas: Vec<Replica>, answer: Result<RedisAnswer, String>) -> Vec<(&'static str, String)> {
    let [_, report] = reports(replicas, answer);
    assert_eq!(report.verdict, Verdict::Wrong, "{:?}", report.faults);
    report.faults.into_iter().map(|fault| (fault.runbook, fault.what)).collect()
}

#[test]
fn what_is_nearest_to_the_cause_comes_first() {
    let mut away = worker(110);
    away.answer = Err("connection refused".to_owned());
    let told = wrong(vec![gateway(110), away], Ok(redis(depth(7, 0, 9_000), Vec::new())));
    let runbooks: Vec<_> = told.iter().map(|(runbook, _)| *runbook).collect();
    assert_eq!(runbooks, ["RoleDown", "NoSttWorker"], "{told:?}");
    assert!(told[0].1.contains("stt-worker:8081 (10.0.0.7:8081) does not answer: connection refused"), "{told:?}");

    let mut without = gateway(110);
    if let Ok(answer) = &mut without.answer {
        answer.health.ready = false;
        answer.health.components.insert("bus".to_owned(), false);
    }
    let told = wrong(vec![without, worker(110)], Err("Redis at redis://redis:6379/0 cannot be reached".to_owned()));
    assert!(told.len() == 1 && told[0].0 == "RedisAway", "that the gateway misses Redis is a consequence: {told:?}");
}

#[test]
fn old_queues_silent_workers_and_a_full_redis_are_told_apart() {
    let both = || vec![gateway(110), worker(110)];
    let told = |answer| wrong(both(), Ok(answer)).into_iter().map(|(runbook, _)| runbook).collect::<Vec<_>>();
    assert_eq!(told(redis(depth(40, 4, 4_000), vec![member("stt-0", 4, 0)])), ["QueueOld"]);
    assert_eq!(told(redis(depth(400, 4, 40_000), vec![member("stt-0", 4, 0)])), ["QueueStuck"]);
    assert_eq!(told(redis(depth(0, 4, 0), vec![member("stt-9", 4, 20)])), ["WorkersDying"]);
    let mut full = redis(Depth::default(), Vec::new());
    full.usage = Some(Usage { used: 950_000_000, limit: Some(1_000_000_000) });
    assert_eq!(told(full), ["SessionsFailing"]);
}

#[test]
fn only_our_own_errors_of_just_now_are_wrong() {
    let errors = |internal: u32, auth: u32| {
        let text = format!(
            "gateway_sessions 1\ngateway_errors_total{{code=\"internal\"}} {internal}\n\
             gateway_refused_total{{reason=\"auth\"}} {auth}\n"
        );
        replica("gateway", 8080, &text)
    };
    let [_, report] = reports(vec![errors(0, 500), worker(110)], Ok(redis(Depth::default(), Vec::new())));
    assert_eq!(report.verdict, Verdict::Well, "{:?}", report.faults);
    assert_eq!(report.errors["turned away: auth"].recent, 497.0);
    let told = wrong(vec![errors(2, 3), worker(110)], Ok(redis(Depth::default(), Vec::new())));
    assert!(told.len() == 1 && told[0].0 == "InternalErrors" && told[0].1.contains(": 2 in the last 10 s"), "{told:?}");
}

#[test]
fn an_answer_that_says_not_ready_names_what_does_not_work() {
    let mut broken = worker(110);
    if let Ok(answer) = &mut broken.answer {
        answer.health.ready = false;
        answer.health.components.insert("model".to_owned(), false);
    }
    let told = wrong(vec![gateway(110), broken], Ok(redis(Depth::default(), Vec::new())));
    assert!(told[0].1.ends_with("is not ready: model"), "{told:?}");
}

/// Words between quotation marks in a source file.
fn quoted(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2)
}

#[test]
fn what_is_looked_at_and_where_to_read_on_are_in_the_operators_page() {
    let page = include_str!("../../../docs/OPERATIONS.md");
    let metrics = [include_str!("names.rs"), include_str!("gather.rs")];
    let ours = |word: &&str| ["gateway_", "subtide_", "process_"].iter().any(|start| word.starts_with(start));
    let whole = |word: &str| word.trim_end_matches("_sum").trim_end_matches("_count").to_owned();
    let missing: Vec<_> = metrics
        .into_iter()
        .flat_map(|source| quoted(source).filter(ours).map(whole))
        .filter(|metric| !page.contains(&format!("`{metric}`")))
        .collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md does not tell of {missing:?}");

    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let is_name = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let named: Vec<_> = quoted(include_str!("faults.rs")).filter(is_name).collect();
    assert!(named.len() > 8, "{named:?}");
    let lost: Vec<_> = named.iter().filter(|name| !headings.iter().any(|heading| heading.contains(**name))).collect();
    assert!(lost.is_empty(), "docs/OPERATIONS.md has no runbook {lost:?}");
}
