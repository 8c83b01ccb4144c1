//! The workers are away while people speak: newcomers are told to come later, and those who are here catch up.

use std::time::Duration;

use shared::wire::ServerMessage;
use tests::{
    figure::figure,
    hostile::honest::{Told, speak},
    stack::Stack,
};
use tokio::time::{Instant, sleep};

use crate::{
    house::{ask, handshake},
    speech,
};

const SESSIONS: usize = 6;
/// When the worker is stopped, and for how long: longer than the queue may age.
const BEGUN_AFTER: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_secs(13);
const SPOKEN_SECONDS: usize = 17;

/// Seconds from `back` until each final came of what had been said before and was still owed.
fn caught_up(told: &Told, back: std::time::Instant) -> Vec<f64> {
    let before_ms = u64::try_from((BEGUN_AFTER + AWAY).as_millis()).unwrap();
    let finals = told.events.iter().zip(&told.came).filter_map(|(event, came)| match &event.message {
        ServerMessage::Caption(caption) if caption.is_final && caption.end_ms <= before_ms => Some(*came),
        ServerMessage::Gap { to_ms, .. } if *to_ms <= before_ms => Some(*came),
        _ => None,
    });
    finals.filter_map(|came| came.checked_duration_since(back)).map(|late| late.as_secs_f64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_were_away_catch_up_and_newcomers_wait() {
    let stack = Stack::spawn(1, 0).await;
    let (url, pcm) = (stack.url(), speech(SPOKEN_SECONDS));
    let addr = url.trim_start_matches("ws://").trim_end_matches("/v1/stream").parse().unwrap();
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|n| {
            let (url, mut pcm) = (url.clone(), pcm.clone());
            pcm.rotate_left(n * 96_000);
            tokio::spawn(async move { speak(&url, &pcm).await })
        })
        .collect();
    sleep(BEGUN_AFTER).await;
    stack.stt[0].signal("STOP");
    let away = Instant::now();
    // The queue is looked at every second.
    sleep(AWAY - Duration::from_millis(1500)).await;
    let asked = Instant::now();
    let answer = ask(addr, "GET", "/v1/stream", &handshake(&[]), "").await;
    figure("overload_refusal_ms", asked.elapsed().as_secs_f64() * 1000.0);
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{answer:?}");
    assert!(answer.retry_after().is_some_and(|seconds| (10..=30).contains(&seconds)), "{answer:?}");
    sleep((AWAY).saturating_sub(away.elapsed())).await;
    stack.stt[0].signal("CONT");
    let back = std::time::Instant::now();
    let (mut late, mut miscounted, mut gaps) = (Vec::new(), Vec::new(), 0);
    for session in sessions {
        let told = session.await.unwrap();
        let (opened, finals) = told.utterances();
        assert!(!told.broken && opened > 2, "{opened} utterances, {finals} finals, {:#?}", told.events.last());
        miscounted.extend(told.miscounted());
        gaps += told.gaps();
        late.extend(caught_up(&told, back));
    }
    let slowest = late.iter().copied().fold(0.0, f64::max);
    figure("overload_finals_owed", late.len() as f64);
    figure("overload_catch_up_seconds", slowest);
    figure("overload_gaps", gaps as f64);
    assert!(late.len() >= SESSIONS, "only {} finals were owed when the worker came back", late.len());
    assert!(miscounted.is_empty(), "every utterance has one final, or one gap that is seen: {miscounted:?}");
    assert!(slowest < 60.0, "{slowest} s");
}
