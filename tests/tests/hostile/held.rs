//! Redis goes away while people speak: their audio is held, their sockets stay open, and nothing is missing.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use gateway::GatewayConfig;
use shared::bus::{Bus, MemoryBus};
use tests::{
    figure::figure,
    hostile::{
        honest::{Told, speak},
        parrot,
    },
    redis_server::{APPEND_ONLY, RedisServer},
    resuming::{Faults, check, stream},
    session::start,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    BYTES_PER_SECOND, bus,
    house::{House, PATIENCE, next_event},
    open, speech, url,
};

/// What is heard with no fault at all: the parrot says which milliseconds it heard, so any that is missing shows.
async fn undisturbed(pcm: &[u8]) -> Vec<String> {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new());
    let gateway = House::open(GatewayConfig::loopback(), Arc::clone(&bus)).await;
    let worker = parrot::answer(bus, 0);
    let told = speak(&url(&gateway), pcm).await;
    assert!(!told.broken);
    worker.abort();
    gateway.stop().await;
    told.texts().into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn nothing_is_missing(told: &Told, undisturbed: &[String]) {
    assert!(!told.broken, "the socket broke");
    assert_eq!((told.gaps(), told.texts()), (0, undisturbed.iter().map(String::as_str).collect()));
}

async fn redis_stands_still(pcm: &[u8]) -> Told {
    let redis = RedisServer::spawn().await;
    let (gateway, worker) = open(&redis).await;
    let url = url(&gateway);
    let stop = async {
        sleep(Duration::from_secs(3)).await;
        redis.signal("STOP");
        sleep(Duration::from_millis(9_500)).await;
        let held = gateway.metric("gateway_held_bytes");
        redis.signal("CONT");
        held
    };
    let (told, held) = tokio::join!(speak(&url, pcm), stop);
    figure("held_bytes_after_9_seconds", held);
    assert!(held > 8.0 * BYTES_PER_SECOND as f64, "{held} bytes were held");
    assert!(held < 400_000.0 + 4_000.0, "{held} bytes were held");
    worker.abort();
    assert!(gateway.metric("gateway_held_bytes") < 1.0, "nothing is held any more");
    gateway.stop().await;
    told
}

async fn redis_dies_twice(pcm: &[u8]) -> Told {
    let mut redis = RedisServer::spawn_with(APPEND_ONLY).await;
    let (gateway, worker) = open(&redis).await;
    let url = url(&gateway);
    let kill = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(3_300)).await;
            redis.kill();
            sleep(Duration::from_secs(2)).await;
            redis.restart().await;
        }
    };
    let (told, ()) = tokio::join!(speak(&url, pcm), kill);
    worker.abort();
    gateway.stop().await;
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_without_redis_cost_neither_a_word_nor_the_socket() {
    let pcm = speech(14);
    let (reference, still, killed) = tokio::join!(undisturbed(&pcm), redis_stands_still(&pcm), redis_dies_twice(&pcm));
    assert!(reference.len() > 3, "{reference:?}");
    nothing_is_missing(&still, &reference);
    nothing_is_missing(&killed, &reference);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_answered_and_its_going_noticed_while_redis_is_away() {
    let redis = RedisServer::spawn().await;
    let (gateway, worker) = open(&redis).await;
    let mut socket = gateway.session("").await.unwrap();
    let pcm = speech(4);
    for frame in pcm[..3 * BYTES_PER_SECOND].chunks(3200) {
        socket.send(Message::binary(frame.to_vec())).await.unwrap();
    }
    while next_event(&mut socket).await.unwrap()["type"] != "caption" {}
    redis.signal("STOP");
    for frame in pcm[3 * BYTES_PER_SECOND..].chunks(3200) {
        socket.send(Message::binary(frame.to_vec())).await.unwrap();
    }
    // Longer than a step may take before frames are read beside it.
    sleep(Duration::from_secs(1)).await;
    let asked = async { while !matches!(socket.next().await, Some(Ok(Message::Ping(_)))) {} };
    timeout(Duration::from_secs(10), asked).await.expect("a client whose session waits is told that somebody is there");
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    let pong = async { while !matches!(socket.next().await, Some(Ok(Message::Pong(_)))) {} };
    timeout(Duration::from_secs(5), pong).await.expect("a pong comes although Redis does not answer");
    assert!(gateway.metric("gateway_held_bytes") > 0.0);
    drop(socket);
    // Sooner than the session gives up waiting for Redis.
    let give_up = Instant::now() + Duration::from_secs(20);
    while gateway.metric("gateway_sessions") > 0.0 {
        assert!(Instant::now() < give_up, "the session of a client that went away ends");
        sleep(Duration::from_millis(50)).await;
    }
    redis.signal("CONT");
    let give_up = Instant::now() + PATIENCE;
    while gateway.metric("gateway_held_bytes") > 0.0 {
        assert!(Instant::now() < give_up, "nothing is held any more");
        sleep(Duration::from_millis(50)).await;
    }
    worker.abort();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_while_redis_is_away_sends_its_clients_on_in_time() {
    let redis = RedisServer::spawn().await;
    let (one, worker) = open(&redis).await;
    let two = House::open(GatewayConfig::loopback(), bus(&redis).await).await;
    let (urls, pcm) = ([url(&one), url(&two)], speech(11));
    let faults = async {
        sleep(Duration::from_secs(3)).await;
        redis.signal("STOP");
        sleep(Duration::from_secs(2)).await;
        assert!(one.metric("gateway_held_bytes") > 0.0);
        let asked = Instant::now();
        one.stop().await;
        let took = asked.elapsed();
        redis.signal("CONT");
        took
    };
    let (journal, took) = tokio::join!(stream(&urls, None, start(&[]), &pcm, |_| false), faults);
    figure("drain_without_redis_seconds", took.as_secs_f64());
    let (faults, captions) = check(&journal, &[]);
    assert_eq!((faults, journal.error), (Faults::default(), None), "{:#?}", journal.events);
    assert!(!journal.outages.is_empty() && captions.len() > 2);
    // A gateway cuts what is left after 15 s; nothing was left.
    assert!(took < Duration::from_secs(14), "{took:?}");
    worker.abort();
    two.stop().await;
}
