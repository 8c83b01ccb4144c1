//! Redis fills up: first nobody new gets in, then audio waits; and nothing is lost.

use std::time::Duration;

use shared::wire::{Event, ServerMessage};
use tests::{figure::figure, hostile::honest::speak, redis_server::RedisServer};
use tokio::time::{Instant, sleep};

use crate::{house::PATIENCE, open, speech, url};

/// Fits one size class of Redis's allocator, with what it adds to a value.
const VALUE: usize = 1024 * 1024 - 128;

/// Something else that fills Redis, a megabyte a value.
struct Filler(redis::aio::MultiplexedConnection);

impl Filler {
    async fn new(server: &RedisServer) -> Self {
        Self(redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap())
    }

    async fn fill(&mut self, values: std::ops::Range<usize>) {
        for n in values {
            let set: Result<(), _> =
                redis::cmd("SET").arg(format!("filler:{n}")).arg(vec![0_u8; VALUE]).query_async(&mut self.0).await;
            set.unwrap();
        }
    }

    async fn empty(&mut self, values: std::ops::Range<usize>) {
        let keys: Vec<_> = values.map(|n| format!("filler:{n}")).collect();
        let removed: Result<u64, _> = redis::cmd("DEL").arg(keys).query_async(&mut self.0).await;
        removed.unwrap();
    }

    /// Keys that begin so.
    async fn keys(&mut self, prefix: &str) -> Vec<String> {
        let keys: Result<Vec<String>, _> = redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut self.0).await;
        keys.unwrap()
    }

    async fn evicted(&mut self) -> String {
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut self.0).await.unwrap();
        info.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_fills_up_holds_back_newcomers_and_then_audio() {
    let redis = RedisServer::spawn_with(&["--maxmemory", "32mb", "--maxmemory-policy", "noeviction"]).await;
    let (gateway, worker) = open(&redis).await;
    let mut filler = Filler::new(&redis).await;
    let knock = async || gateway.knock("/v1/stream", &[]).await;
    let becomes = async |what: &str, metric: &str, least: f64, most: f64| {
        let give_up = Instant::now() + PATIENCE;
        while !(least..=most).contains(&gateway.metric(metric)) {
            assert!(Instant::now() < give_up, "{what}: {metric} is {}", gateway.metric(metric));
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(knock().await.status, 101);
    let pcm = speech(12);
    let url = url(&gateway);
    let faults = async {
        sleep(Duration::from_secs(2)).await;
        filler.fill(0..23).await;
        becomes("three quarters full", "gateway_bus_memory_share", 0.70, 0.84).await;
        let asked = Instant::now();
        let answer = knock().await;
        figure("refusal_when_full_ms", asked.elapsed().as_secs_f64() * 1000.0);
        assert_eq!((answer.status, answer.code().as_str(), answer.retry_after()), (503, "overloaded", Some(10)));
        assert!(gateway.metric("gateway_refused_total{reason=\"memory\"}") > 0.0);
        assert!(gateway.metric("gateway_audio_paused") < 0.5, "who is here goes on");
        filler.fill(23..28).await;
        becomes("nearly full", "gateway_audio_paused", 1.0, 1.0).await;
        // Longer than a tick of the sessions; what is spoken now is held.
        sleep(Duration::from_secs(3)).await;
        assert!(gateway.metric("gateway_held_bytes") > 0.0, "audio is read and held");
        let give_up = Instant::now() + PATIENCE;
        while !filler.keys("audio:").await.is_empty() {
            assert!(Instant::now() < give_up, "what was open is ended, answered and gone, although the pause goes on");
            sleep(Duration::from_millis(50)).await;
        }
        filler.empty(0..28).await;
        becomes("empty again", "gateway_audio_paused", 0.0, 0.0).await;
        assert_eq!(knock().await.status, 101, "newcomers are let in again");
        filler.evicted().await
    };
    let (told, evicted) = tokio::join!(speak(&url, &pcm), faults);
    let warnings = told.events.iter().filter_map(|event| match &event.message {
        ServerMessage::Warning { code, .. } => Some(code.as_str()),
        _ => None,
    });
    assert_eq!(warnings.collect::<Vec<_>>(), ["audio_paused"]);
    let told_of = |of: fn(&ServerMessage) -> bool| told.events.iter().position(|event| of(&event.message));
    let waits = told_of(|message| matches!(message, ServerMessage::Warning { .. })).unwrap();
    let goes_on = |event: &Event| matches!(event.message, ServerMessage::Lag { behind_ms: 0, .. });
    assert!(told.events[waits..].iter().any(goes_on), "it is told when it goes on");
    let (opened, _) = told.utterances();
    assert!(!told.broken && opened > 2, "{opened} utterances");
    assert_eq!((told.gaps(), told.miscounted(), evicted.as_str()), (0, Vec::new(), "0"));
    let ended = told.events.iter().find_map(|event| match event.message {
        ServerMessage::Ended { audio_ms, .. } => Some(audio_ms),
        _ => None,
    });
    assert_eq!(ended, Some(12_000), "all of it was taken in");
    worker.abort();
    gateway.stop().await;
}
