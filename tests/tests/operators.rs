//! What operators see is what is there: every metric that is watched is told by a running role, and queues are as deep as
//! Redis itself says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "operators/queue.rs"]
mod queue;
#[path = "operators/scrape.rs"]
mod scrape;

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use queue::{Compared, Queue, State, compare};
use redis::{AsyncCommands as _, aio::MultiplexedConnection, streams::StreamPendingReply};
use regex::Regex;
use scrape::Scrape;
use shared::{
    jobs::{AUDIO_JOBS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS},
    wire::{Event, ServerMessage},
};
use tests::{
    figure::figure,
    redis_server::RedisServer,
    session::{PATIENCE, check, start, stream},
    speech::{demo, pcm},
    stack::{Process, Stack, free_addr, repository},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const SPEECH: Queue = (AUDIO_JOBS, STT_GROUP);
const TRANSLATION: Queue = (TRANSLATION_JOBS, MT_GROUP);
/// Clients that speak at once while queues are compared.
const SESSIONS: usize = 10;
/// What each of them says, milliseconds.
const SPEECH_MS: usize = 8_000;
/// As whom workers speak to Redis, and their password.
const WORKER: &str = "worker";
/// A worker that takes its time, so that it is found with jobs in hand.
const SLOW: [(&str, &str); 3] = [("STT_BEAM_SIZE", "16"), ("STT_MAX_BATCH", "1"), ("CPU_THREADS", "1")];

/// Told where the process has a limit, as it has in a container.
const WHERE_LIMITED: &str = "subtide_memory_limit_bytes";

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn ours() -> Regex {
    Regex::new(r"\b(?:gateway|subtide|process)_[a-z_]+\b").unwrap()
}

/// Metrics of the tables in docs/OPERATIONS.md.
fn documented() -> BTreeSet<String> {
    let row = Regex::new(r"(?m)^\| `([a-z_]+)` \| (?:counter|gauge|histogram) \|").unwrap();
    row.captures_iter(&read("docs/OPERATIONS.md")).map(|found| found[1].to_owned()).collect()
}

/// Metrics that rules and dashboards ask for; what a histogram has behind its name is left off.
fn watched(documented: &BTreeSet<String>) -> BTreeSet<String> {
    let dashboards = fs::read_dir(repository().join("infra/grafana/dashboards")).unwrap();
    let files =
        dashboards.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    let mut expressions: Vec<String> = Vec::new();
    for file in files {
        let board: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let targets =
            board["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        expressions.extend(targets.filter_map(|target| target["expr"].as_str()).map(str::to_owned));
    }
    let rules: yaml_serde::Value = yaml_serde::from_str(&read("infra/prometheus/rules.yml")).unwrap();
    let groups = rules["groups"].as_sequence().unwrap().iter().flat_map(|group| group["rules"].as_sequence().unwrap());
    expressions.extend(groups.filter_map(|rule| rule["expr"].as_str()).map(str::to_owned));
    assert!(expressions.len() > 50, "rules and dashboards are written otherwise: {expressions:?}");
    // Neither labels' values nor our own recorded series.
    let (quoted, recorded) = (Regex::new(r#""[^"]*""#).unwrap(), Regex::new(r"\bsubtide:[a-z0-9_:]+").unwrap());
    let mut found = BTreeSet::new();
    for expression in expressions {
        let bare = quoted.replace_all(&expression, "").into_owned();
        let bare = recorded.replace_all(&bare, "").into_owned();
        for name in ours().find_iter(&bare).map(|name| name.as_str()) {
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            found.insert(stem.filter(|stem| documented.contains(*stem)).unwrap_or(name).to_owned());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_watched_is_told_by_a_running_role() {
    let stack = Stack::spawn(1, 1).await;
    let (wav, _) = demo();
    let speech: Vec<u8> = pcm(&wav).into_iter().take(SPEECH_MS * 32).collect();
    let events = stream(&stack.url(), start(&["es"]), &speech, 2.0).await;
    assert!(!check(&events, &["es"])["caption"].is_empty());
    let folder = tempfile::tempdir().unwrap();
    let (mut told, mut files) = (BTreeSet::new(), Vec::new());
    for process in [&stack.gateway, &stack.stt[0], &stack.mt[0]] {
        let scrape = Scrape::of(process).await;
        told.extend(scrape.names());
        let file = folder.path().join(&process.name);
        fs::write(&file, &scrape.text).unwrap();
        files.push(file);
    }
    let documented = documented();
    let wanted: BTreeSet<String> = watched(&documented).union(&documented).cloned().collect();
    let missing: Vec<_> = wanted.difference(&told).filter(|name| *name != WHERE_LIMITED).collect();
    figure("metrics_watched", wanted.len() as f64);
    figure("metrics_not_told", missing.len() as f64);
    assert!(wanted.len() > 20, "the document or the rules are written otherwise: {wanted:?}");
    assert!(missing.is_empty(), "documented or watched, and told by no role: {missing:?}");
    // The other way round, with kinds and labels.
    let mut python = Command::new("python3");
    python.arg(repository().join("infra/prometheus/check.py")).args(&files).env("PYTHONDONTWRITEBYTECODE", "1");
    match python.output() {
        Ok(output) => assert!(output.status.success(), "\n{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "python3: {error}");
            eprintln!("SKIPPED: python3 does not run ({error}), and so labels and kinds of metrics are not compared");
        }
    }
}

/// Redis, a gateway and whichever workers there are at the moment.
struct House {
    redis: RedisServer,
    gateway: Process,
    url: String,
    compared: Vec<(&'static str, Compared)>,
}

impl House {
    async fn spawn() -> Self {
        let (redis, addr) = (RedisServer::spawn().await, free_addr());
        let (url, port) = (redis.url(), addr.port().to_string());
        let client = redis::Client::open(url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let password = format!(">{WORKER}");
        rights(&mut connection, &["on", password.as_str(), "~*", "&*", "+@all"]).await;
        // Everybody comes at once and nothing is done: the door must not close while that is looked at.
        let open = [("MAX_QUEUE_DEPTH", "100000"), ("MAX_QUEUE_AGE_SECONDS", "600")];
        let env = [("REDIS_URL", url.as_str()), ("ENABLE_AUTH", "false"), ("GATEWAY_PORT", &port), open[0], open[1]];
        let mut gateway = Process::spawn("gateway", "gateway", &env);
        gateway.ready().await;
        Self { redis, gateway, url: format!("ws://{addr}/v1/stream"), compared: Vec::new() }
    }

    async fn worker(&self, program: &str, name: &str, settings: &[(&str, &str)]) -> Process {
        let url = self.redis.url().replace("://", &format!("://{WORKER}:{WORKER}@"));
        let env: Vec<_> = settings.iter().copied().chain([("REDIS_URL", url.as_str())]).collect();
        let mut worker = Process::spawn(program, name, &env);
        worker.ready().await;
        worker
    }

    async fn connection(&self) -> MultiplexedConnection {
        redis::Client::open(self.redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    fn speak(&self) -> Vec<JoinHandle<Vec<Event>>> {
        let recording = pcm(&demo().0);
        let client = |n: usize| {
            let offset = n * 64_000 % recording.len() / 2 * 2;
            let speech: Vec<u8> = recording.iter().cycle().skip(offset).take(SPEECH_MS * 32).copied().collect();
            let url = self.url.clone();
            tokio::spawn(async move { stream(&url, start(&["es"]), &speech, 2.0).await })
        };
        (0..SESSIONS).map(client).collect()
    }

    /// What `process` (`None`: the gateway) and Redis say, at a moment of the kind `wanted`.
    async fn compare(
        &mut self,
        what: &'static str,
        process: Option<&Process>,
        queue: Queue,
        wanted: fn(&State) -> bool,
    ) {
        let mut redis = self.connection().await;
        let compared = compare(process.unwrap_or(&self.gateway), &mut redis, queue, wanted).await;
        eprintln!("{what}: {compared:?}");
        assert!(compared.gauges > 0, "{what}: no gauge of {} is told", queue.0);
        self.compared.push((what, compared));
    }
}

/// What workers may do in Redis; they are told at once.
async fn rights(redis: &mut MultiplexedConnection, rules: &[&str]) {
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg(WORKER);
    for rule in rules {
        command.arg(*rule);
    }
    let set: Result<(), _> = command.query_async(redis).await;
    set.unwrap();
}

/// Waits until `worker` holds a job, stops it so that it cannot finish, and makes sure that it still holds one.
async fn stop_mid_job(redis: &mut MultiplexedConnection, worker: &Process) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if holds(redis, worker).await {
            worker.signal("STOP");
            sleep(Duration::from_millis(20)).await;
            if holds(redis, worker).await {
                return;
            }
            worker.signal("CONT");
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("{} was never seen with a job", worker.name);
}

async fn holds(redis: &mut MultiplexedConnection, worker: &Process) -> bool {
    let pending: StreamPendingReply = redis.xpending(SPEECH.0, SPEECH.1).await.unwrap();
    match pending {
        StreamPendingReply::Data(data) => data.consumers.iter().any(|consumer| consumer.name == worker.name),
        _ => false,
    }
}

fn waits(state: &State) -> bool {
    state.lag > 0
}

fn waits_and_is_held(state: &State) -> bool {
    state.lag > 0 && state.pending > 0
}

fn is_empty(state: &State) -> bool {
    state.lag == 0 && state.pending == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_as_deep_as_redis_says_under_load_and_after_kills() {
    let mut house = House::spawn().await;
    let mut redis = house.connection().await;
    let mut looker = house.worker("stt-worker", "stt-0", &SLOW).await;
    let mut victim = house.worker("stt-worker", "stt-1", &SLOW).await;
    let mut translator = house.worker("translation-worker", "mt-0", &[]).await;
    // Its group is made; from now on translations wait.
    translator.kill();
    let clients = house.speak();
    // The one that dies leaves jobs behind, and the other may take none, so that what is there can be counted at leisure.
    stop_mid_job(&mut redis, &victim).await;
    rights(&mut redis, &["-xreadgroup", "-xautoclaim", "-xclaim"]).await;
    victim.kill();
    house
        .compare("under load, one of two speech workers killed, the other", Some(&looker), SPEECH, waits_and_is_held)
        .await;
    house.compare("the same, the gateway", None, SPEECH, waits_and_is_held).await;
    looker.kill();
    house.compare("all speech workers killed, the gateway", None, SPEECH, waits_and_is_held).await;

    rights(&mut redis, &["+@all"]).await;
    let worker = house.worker("stt-worker", "stt-2", &[]).await;
    house.compare("translations that nobody takes, the gateway", None, TRANSLATION, waits).await;
    let translator = house.worker("translation-worker", "mt-1", &[]).await;
    let (mut owed, mut finals, mut gaps) = (0, 0, 0);
    for client in clients {
        for event in client.await.unwrap() {
            match event.message {
                ServerMessage::SpeechStarted { .. } => owed += 1,
                ServerMessage::Caption(caption) if caption.is_final => finals += 1,
                // Of an utterance, and of its caption. While queues stood still it may have become too late for one.
                ServerMessage::Gap { utterance: Some(_), target: None, .. } => gaps += 1,
                _ => {}
            }
        }
    }
    house.compare("afterwards, the new speech worker", Some(&worker), SPEECH, is_empty).await;
    house.compare("afterwards, the new translation worker", Some(&translator), TRANSLATION, is_empty).await;
    house.compare("afterwards, the gateway", None, SPEECH, is_empty).await;

    let differences: Vec<_> = house
        .compared
        .iter()
        .flat_map(|(what, one)| one.differences.iter().map(move |text| format!("{what}: {text}")))
        .collect();
    let most = house.compared.iter().map(|(_, one)| one.state.lag + one.state.pending).max().unwrap_or(0);
    figure("queue_moments_compared", house.compared.len() as f64);
    figure("queue_deepest", most as f64);
    figure("queue_differences", differences.len() as f64);
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    // That none is lost with all the time there is, other tests hold.
    let all = owed >= SESSIONS && finals > 0 && finals + gaps == owed;
    assert!(all, "{finals} finals and {gaps} gaps of {owed} utterances");
}
