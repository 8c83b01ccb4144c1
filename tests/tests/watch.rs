//! `subtide top` and `subtide status` beside real roles: what they tell is what Redis says, what people see is what is there,
//! and a command whose reader has had enough ends quietly.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use subtide::watch::{Target, Watcher, picture, report::Verdict};
use tests::{
    redis_server::RedisServer,
    session::{check, start, stream},
    speech::{demo, pcm},
    stack::{Process, Stack, command},
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// For what must come; never waited out by a test that passes.
const PATIENCE: Duration = Duration::from_secs(90);
/// Window of rates and latencies, longer than a test takes.
const WINDOW: Duration = Duration::from_secs(3600);
const QUEUES: [(&str, &str, &str); 2] = [("speech", "audio_jobs", "stt"), ("translation", "translation_jobs", "mt")];

/// Exit status of `subtide status --json`, and what it printed.
async fn status(targets: Vec<String>, redis_url: Option<String>) -> (Option<i32>, Value) {
    let output = spawn_blocking(move || {
        let mut command = command("subtide");
        command.args(["status", "--json", "--over", "0"]).env("STATUS_TARGETS", targets.join(","));
        command.envs(redis_url.iter().map(|url| ("REDIS_URL", url))).output().unwrap()
    });
    let output = output.await.unwrap();
    let printed = serde_json::from_slice(&output.stdout);
    (output.status.code(), printed.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

fn ports(stack: &Stack) -> Vec<String> {
    let all = stack.stt.iter().chain(&stack.mt).chain([&stack.gateway]);
    all.map(|process| process.health().to_string()).collect()
}

async fn connection(redis: &RedisServer) -> MultiplexedConnection {
    redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Lag and pending of each queue, as `XINFO GROUPS` says; 0 where there is no group.
async fn groups(redis: &mut MultiplexedConnection) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (_, stream, group) in QUEUES {
        let mut info = redis::cmd("XINFO");
        let rows: Vec<HashMap<String, redis::Value>> =
            info.arg("GROUPS").arg(stream).query_async(redis).await.unwrap_or_default();
        let number = |row: &HashMap<String, redis::Value>, name: &str| {
            redis::from_redis_value::<u64>(row[name].clone()).unwrap()
        };
        let named = |row: &&HashMap<String, redis::Value>| {
            redis::from_redis_value::<String>(row["name"].clone()).unwrap() == group
        };
        found.push(rows.iter().find(named).map_or((0, 0), |row| (number(row, "lag"), number(row, "pending"))));
    }
    found
}

fn told(report: &Value) -> Vec<(u64, u64)> {
    let figure = |queue: &Value, name: &str| queue[name].as_u64().unwrap_or_else(|| panic!("{name}: {queue}"));
    let queue = |(stage, ..): &(&str, &str, &str)| {
        let queue = &report["queues"][stage];
        assert_eq!(queue["source"], "redis");
        let (lag, pending) = (figure(queue, "lag"), figure(queue, "pending"));
        assert_eq!(figure(queue, "depth"), lag + pending);
        (lag, pending)
    };
    QUEUES.iter().map(queue).collect()
}

/// `subtide status` at a moment in which the queues were the same before it and after it: that is what it must have told.
async fn told_and_said(stack: &Stack, enough: impl Fn(&[(u64, u64)]) -> bool) -> Value {
    let (mut redis, give_up) = (connection(&stack.redis).await, Instant::now() + PATIENCE);
    loop {
        let before = groups(&mut redis).await;
        let (_, report) = status(ports(stack), Some(stack.redis.url())).await;
        if groups(&mut redis).await == before && enough(&before) {
            assert_eq!(told(&report), before);
            return report;
        }
        assert!(Instant::now() < give_up, "the queues never stood still: {before:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_status_tells_is_what_redis_says_under_load_and_after_a_kill() {
    let mut stack = Stack::spawn(2, 1).await;
    let (code, report) = status(ports(&stack), Some(stack.redis.url())).await;
    assert_eq!((code, &report["verdict"]), (Some(0), &"well".into()), "{report}");
    assert_eq!(report["processes"].as_array().unwrap().len(), 4);
    assert_eq!((&report["queues"]["speech"]["workers"], &report["redis"]["reached"]), (&2.into(), &true.into()));

    // Nobody works, and people go on to speak.
    stack.stt.iter().for_each(|worker| worker.signal("STOP"));
    let (url, (wav, _)) = (stack.url(), demo());
    let said = pcm(&wav);
    let speaking: Vec<_> = (0..3)
        .map(|_| {
            let (url, said) = (url.clone(), said[..said.len() / 4].to_vec());
            tokio::spawn(async move { stream(&url, start(&["es"]), &said, 4.0).await })
        })
        .collect();
    let report = told_and_said(&stack, |depths| depths[0].0 + depths[0].1 >= 3).await;
    assert!(report["queues"]["speech"]["oldest_seconds"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report["verdict"], "wrong", "the workers do not answer: {report}");

    // One dies with what it has in hand, the other goes on and takes it over.
    stack.stt.remove(0).kill();
    stack.stt[0].signal("CONT");
    for speaking in speaking {
        assert!(!check(&speaking.await.unwrap(), &["es"])["caption"].is_empty());
    }
    let report = told_and_said(&stack, |depths| depths == [(0, 0), (0, 0)]).await;
    assert_eq!(report["sessions"]["open"], 0, "{report}");
    assert!(report["latencies"]["speech_job"]["since_start"]["count"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_sees() {
    let mut stack = Stack::spawn(1, 1).await;
    let targets: Vec<Target> = ports(&stack).iter().map(|port| port.parse().unwrap()).collect();
    let mut watcher = Watcher::new(targets, Some(stack.redis.url().into()), WINDOW).unwrap();
    let before = watcher.look().await;
    let (wav, _) = demo();
    let said = pcm(&wav);
    let events = stream(&stack.url(), start(&["es"]), &said[..said.len() / 4], 2.0).await;
    assert!(!check(&events, &["es"])["caption"].is_empty());
    let after = watcher.look().await;
    assert_eq!(after.verdict, Verdict::Well, "{:?}", after.faults);
    let seen = picture([before, after.clone()], 80, 24).unwrap();
    for words in
        [" WELL ", "nothing is wrong", "speech", "translation", "final caption", "Redis", "✓ gateway", "✓ stt-worker"]
    {
        assert!(seen.contains(words), "`{words}` is not there:\n{seen}");
    }
    let row = |name: &str| seen.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(row("final caption").contains(" s") || row("final caption").contains(" ms"), "no latency:\n{seen}");
    assert!(after.sessions.audio_seconds_per_second.unwrap() > 0.0);

    // Redis goes, and it is said; what the roles tell themselves is still shown.
    stack.redis.kill();
    let (mut report, give_up) = (watcher.look().await, Instant::now() + PATIENCE);
    while report.faults.iter().all(|fault| fault.runbook != "RedisAway") && Instant::now() < give_up {
        report = watcher.look().await;
    }
    let seen = picture([report], 80, 24).unwrap();
    assert!(
        seen.contains("SOMETHING IS WRONG") && seen.contains("[RedisAway]") && seen.contains("Redis away"),
        "{seen}"
    );
    assert!(seen.contains("gateway"), "{seen}");
    let small = picture([after], 40, 6).unwrap();
    assert!(small.contains("WELL") && small.contains("80 columns"), "{small}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_in_one_needs_no_redis_and_nothing_at_all_is_told_apart_from_something_wrong() {
    let mut serve = Process::spawn("subtide serve", "subtide", &[("GATEWAY_PORT", "0")]);
    serve.ready().await;
    let (code, report) = status(vec![serve.health().to_string()], None).await;
    assert_eq!((code, &report["redis"]["asked"]), (Some(0), &false.into()), "{report}");
    assert_eq!(report["processes"][0]["role"], "subtide");
    // The queues, as the workers within tell them.
    let give_up = Instant::now() + PATIENCE;
    loop {
        let (_, report) = status(vec![serve.health().to_string()], None).await;
        if report["queues"]["speech"]["depth"] == 0 && report["queues"]["speech"]["source"] == "metrics" {
            break;
        }
        assert!(Instant::now() < give_up, "{report}");
        sleep(Duration::from_millis(100)).await;
    }
    let gone = serve.health().to_string();
    serve.kill();
    let (code, report) =
        status(vec![gone.clone(), "nowhere.invalid:1".to_owned()], Some("redis://127.0.0.1:1/".to_owned())).await;
    assert_eq!((code, &report["verdict"]), (Some(2), &"unreachable".into()), "{report}");
    let said = report["faults"].to_string();
    assert!(said.contains(&gone) && said.contains("nowhere.invalid:1") && said.contains("Redis"), "{said}");
}

#[test]
fn a_screen_wants_a_terminal_and_a_setting_that_cannot_be_used_is_named() {
    let top = command("subtide").args(["top"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(top.stderr).unwrap();
    assert!(top.status.code() == Some(1) && said.contains("subtide status --json"), "{said}");
    let status = command("subtide").arg("status").env("STATUS_TARGETS", "gateway").output().unwrap();
    let said = String::from_utf8(status.stderr).unwrap();
    assert!(status.status.code() == Some(64) && said.contains("STATUS_TARGETS: `gateway`"), "{said}");
}

/// As `| head -1` does: one line is read, then nobody reads any more.
#[test]
fn a_command_whose_reader_has_had_enough_ends_quietly() {
    for arguments in [&["caption", "models/demo-speech/demo.wav", "--json"][..], &["models", "list"]] {
        let mut command = command("subtide");
        command.args(arguments).env("MODELS_DIR", "models").env("GATEWAY_PORT", "0");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !line.is_empty() && output.status.success() && said.is_empty(),
            "{arguments:?}: {}, {said}",
            output.status
        );
    }
}
