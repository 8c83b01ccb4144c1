//! A broken connection costs nothing: whatever breaks, every utterance gets its one final, and no word is asked for again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use shared::wire::{ClientMessage, ErrorCode, Resume, ServerMessage};
use tests::{
    figure::figure,
    redis_server::RedisServer,
    resuming::{AFTER_STOP, Faults, Journal, check, stream},
    session::{PATIENCE, start},
    speech::{demo, pcm, word_error_rate},
    stack::{Process, free_addr, in_process},
};
use tokio::time::{sleep, timeout};

/// Of the demo's recording; long enough for several utterances.
const SPEECH_MS: usize = 20_000;

fn speech() -> Vec<u8> {
    let (path, _) = demo();
    pcm(&path).into_iter().take(SPEECH_MS * 32).collect()
}

/// What is heard without any disconnect.
async fn undisturbed(url: String, speech: &[u8]) -> String {
    let journal = stream(&[url], None, start(&["es"]), speech, |_| false).await;
    let (faults, captions) = check(&journal, &["es"]);
    assert_eq!(faults, Faults::default(), "{:#?}", journal.events);
    captions.join(" ")
}

#[track_caller]
fn nothing_lost(journal: &Journal, disconnects: usize, undisturbed: &str) {
    let (faults, captions) = check(journal, &["es"]);
    assert_eq!(faults, Faults::default(), "{:#?}", journal.events);
    assert_eq!((journal.error, journal.outages.len()), (None, disconnects));
    // An utterance may be cut elsewhere, so a word may be heard otherwise; whole utterances may not be missing.
    let error_rate = word_error_rate(undisturbed, &captions.join(" "));
    assert!(error_rate <= 0.15, "{error_rate}: `{}` instead of `{undisturbed}`", captions.join(" "));
}

#[tokio::test]
async fn a_socket_that_breaks_in_mid_word_costs_nothing() {
    let (roles, speech) = (in_process().await, speech());
    let reference = undisturbed(roles.url(), &speech).await;
    let mut cuts = vec![2_500, 6_300, 6_400, 11_000, 15_700].into_iter().peekable();
    let cut = |position| cuts.next_if(|at| *at <= position).is_some();
    let journal = stream(&[roles.url()], None, start(&["es"]), &speech, cut).await;
    nothing_lost(&journal, 5, &reference);
    roles.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_breaks_off_after_stop_gets_what_it_is_owed() {
    let (roles, speech) = (in_process().await, speech());
    let reference = undisturbed(roles.url(), &speech).await;
    let mut left = 2;
    let cut = |position| {
        left -= usize::from(position == AFTER_STOP && left > 0);
        position == AFTER_STOP && left > 0
    };
    // No whole number of milliseconds: nobody can tell where exactly the last sample was.
    let journal = stream(&[roles.url()], None, start(&["es"]), &speech[..speech.len() - 10], cut).await;
    nothing_lost(&journal, 1, &reference);
    roles.stop().await.unwrap();
}

#[tokio::test]
async fn a_bus_that_stands_still_while_somebody_speaks_costs_nothing() {
    let (pair, speech) = (Pair::spawn().await, speech());
    let reference = undisturbed(pair.urls()[0].clone(), &speech).await;
    let urls = pair.urls();
    let client = tokio::spawn(async move { stream(&urls, None, start(&["es"]), &speech, |_| false).await });
    sleep(Duration::from_secs(4)).await;
    pair.redis.signal("STOP");
    // Longer than what a gateway holds of a session; the rest waits in the client.
    sleep(Duration::from_secs(14)).await;
    pair.redis.signal("CONT");
    let journal = client.await.unwrap();
    nothing_lost(&journal, journal.outages.len(), &reference);
}

#[tokio::test]
async fn of_two_sockets_on_one_session_the_newer_wins() {
    let (roles, speech) = (in_process().await, speech());
    let (mut sender, mut first) = client::open(&roles.url(), None, start(&[])).await.unwrap();
    let ServerMessage::Started { resume_token, session, .. } = first.next().await.unwrap().unwrap().message else {
        panic!("not started")
    };
    sender.audio(speech[..32_000].to_vec()).await.unwrap();
    let resume = Some(Resume { token: resume_token, last_event: 1 });
    let (mut sender, mut second) =
        client::open(&roles.url(), None, shared::wire::Start { resume, ..start(&[]) }).await.unwrap();
    let started = timeout(PATIENCE, async {
        loop {
            let event = second.next().await.unwrap().unwrap();
            if let ServerMessage::Started { session, resumed, .. } = event.message {
                return (session, resumed);
            }
        }
    });
    assert_eq!(started.await.unwrap(), (session, true));
    let replaced = timeout(PATIENCE, async {
        loop {
            if let ServerMessage::Error(error) = first.next().await.unwrap().unwrap().message {
                return error;
            }
        }
    });
    let replaced = replaced.await.unwrap();
    assert_eq!((replaced.code, replaced.retryable, replaced.code.close_code()), (ErrorCode::Replaced, false, 4409));
    sender.say(&ClientMessage::Stop {}).await.unwrap();
    while let Some(event) = timeout(PATIENCE, second.next()).await.unwrap().unwrap() {
        assert!(!matches!(event.message, ServerMessage::Error(_)), "{event:?}");
    }
    roles.stop().await.unwrap();
}

#[tokio::test]
async fn only_the_token_of_a_session_resumes_it() {
    let roles = in_process().await;
    let (mut sender, mut receiver) = client::open(&roles.url(), None, start(&[])).await.unwrap();
    let ServerMessage::Started { resume_token, session, .. } = receiver.next().await.unwrap().unwrap().message else {
        panic!("not started")
    };
    let wrong = |secret: String| format!("{session}.{secret}");
    let last = if resume_token.ends_with('0') { '1' } else { '0' };
    let bad = [
        String::new(),
        "nonsense".to_owned(),
        wrong("0".repeat(64)),
        wrong("0".repeat(63)),
        format!("{}{last}", &resume_token[..resume_token.len() - 1]),
        format!("{}.{}", "0".repeat(32), "0".repeat(64)),
    ];
    for token in bad {
        assert_eq!(refusal(&roles.url(), &token).await, ErrorCode::ResumeExpired, "{token}");
    }
    sender.say(&ClientMessage::Stop {}).await.unwrap();
    while timeout(PATIENCE, receiver.next()).await.unwrap().unwrap().is_some() {}
    // Answers the close frame: everything was heard.
    drop(timeout(PATIENCE, receiver.next()).await.unwrap());
    // It takes a moment until what is left of an ended session is gone.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(refusal(&roles.url(), &resume_token).await, ErrorCode::ResumeExpired, "the session has ended");
    roles.stop().await.unwrap();
}

async fn refusal(url: &str, token: &str) -> ErrorCode {
    let resume = Some(Resume { token: token.to_owned(), last_event: 0 });
    let (_sender, mut receiver) = client::open(url, None, shared::wire::Start { resume, ..start(&[]) }).await.unwrap();
    let event = timeout(PATIENCE, receiver.next()).await.unwrap().unwrap().unwrap();
    let ServerMessage::Error(error) = event.message else { panic!("{event:?}") };
    error.code
}

/// Two gateways, a worker of each kind, one Redis.
struct Pair {
    redis: RedisServer,
    gateways: Vec<Option<Process>>,
    ports: Vec<u16>,
    _workers: Vec<Process>,
}

impl Pair {
    async fn spawn() -> Self {
        let redis = RedisServer::spawn().await;
        let url = redis.url();
        let mut workers = Vec::new();
        for program in ["stt-worker", "translation-worker"] {
            workers.push(Process::spawn(program, program, &[("REDIS_URL", &url)]));
        }
        let ports = vec![free_addr().port(), free_addr().port()];
        let mut pair = Self { redis, gateways: vec![None, None], ports, _workers: Vec::new() };
        for index in 0..2 {
            pair.start(index).await;
        }
        for worker in &mut workers {
            worker.ready().await;
        }
        Self { _workers: workers, ..pair }
    }

    async fn start(&mut self, index: usize) {
        let (url, port) = (self.redis.url(), self.ports[index].to_string());
        let env = [("REDIS_URL", url.as_str()), ("ENABLE_AUTH", "false"), ("GATEWAY_PORT", &port)];
        let mut gateway = Process::spawn("gateway", &format!("gateway-{index}"), &env);
        gateway.ready().await;
        self.gateways[index] = Some(gateway);
    }

    /// SIGKILL or SIGTERM, and a new one in its place.
    async fn bounce(&mut self, index: usize, kill: bool) {
        if let Some(mut gateway) = self.gateways[index].take() {
            if kill {
                gateway.kill();
            } else {
                gateway.signal("TERM");
                gateway.ended().await;
            }
        }
        self.start(index).await;
    }

    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("ws://127.0.0.1:{port}/v1/stream")).collect()
    }
}

/// `sessions` clients through `rounds` deaths of gateways, every other one sudden. Prints and returns the figures: finals
/// missing, finals twice, seconds to resume (95th percentile).
async fn through_dying_gateways(sessions: usize, rounds: usize, round: Duration) -> (usize, usize, f64) {
    let mut pair = Pair::spawn().await;
    let urls = pair.urls();
    let (path, _) = demo();
    let recording = pcm(&path);
    // One round more than deaths, so that what the last one left is finished.
    let bytes = usize::try_from(round.as_millis()).unwrap() * 32 * (rounds + 1);
    let clients: Vec<_> = (0..sessions)
        .map(|n| {
            let offset = (n * 48_000) % recording.len() / 2 * 2;
            let speech: Vec<u8> = recording.iter().cycle().skip(offset).take(bytes).copied().collect();
            let mut urls = urls.clone();
            urls.rotate_left(n % 2);
            tokio::spawn(async move { stream(&urls, None, start(&["es"]), &speech, |_| false).await })
        })
        .collect();
    for n in 0..rounds {
        sleep(round).await;
        pair.bounce(n % 2, n % 4 < 2).await;
    }
    let (mut missing, mut twice, mut outages, mut finals) = (0, 0, Vec::new(), 0);
    for client in clients {
        let journal = client.await.unwrap();
        let (faults, captions) = check(&journal, &["es"]);
        if faults != Faults::default() || journal.error.is_some() {
            eprintln!("{faults:?} {:?}", journal.error);
        }
        missing += faults.missing + faults.gaps + usize::from(journal.error.is_some());
        twice += faults.twice + faults.reworded + faults.unordered;
        finals += captions.len();
        outages.extend(journal.outages.iter().map(Duration::as_secs_f64));
    }
    outages.sort_by(f64::total_cmp);
    let p95 = outages.get((outages.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::INFINITY);
    figure("resume_sockets", outages.len() as f64);
    figure("resume_finals", finals as f64);
    figure("resume_missing", missing as f64);
    figure("resume_twice", twice as f64);
    figure("resume_p95_seconds", p95);
    assert!(outages.len() >= rounds, "hardly a client lost its gateway");
    (missing, twice, p95)
}

#[tokio::test]
async fn sessions_outlive_their_gateways() {
    let (missing, twice, _) = through_dying_gateways(6, 4, Duration::from_secs(5)).await;
    assert_eq!((missing, twice), (0, 0));
}

/// The long form: `cargo test -p tests --test resume -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "takes four minutes; `cargo xtask prove front-door` runs it"]
async fn fifty_sessions_outlive_twenty_gateways() {
    let (missing, twice, p95) = through_dying_gateways(50, 20, Duration::from_secs(10)).await;
    assert_eq!((missing, twice), (0, 0));
    assert!(p95 <= 3.0, "{p95} s");
}
