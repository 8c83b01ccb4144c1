//! Workers that are killed in the middle of a job.

use std::collections::HashSet;

use shared::{
    bus::{Bus as _, Depth, EntryId},
    consumer::DeadLetter,
    jobs::{self, AUDIO_JOBS, DEAD_LETTERS, JobKind, MAX_DELIVERIES, STT_GROUP},
};
use tests::{figure::figure, redis_server::RedisServer, stack::Process};
use tokio::time::Instant;

use super::speech::Speaker;

/// Kills a worker in mid-job `kills` times, and says how long it took from each kill to the caption, in seconds, in order.
async fn penalties(kills: usize) -> Vec<f64> {
    let speaker = Speaker::new(RedisServer::spawn().await).await;
    let mut names = (0..).map(|number| format!("stt-{number}"));
    let mut fresh = || speaker.worker(&names.next().unwrap());
    let mut workers: Vec<Process> = (0..3).map(|_| fresh()).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    let (mut seconds, mut number) = (Vec::new(), 0);
    while seconds.len() < kills {
        number += 1;
        speaker.speak(number).await;
        if let Some(dead) = speaker.kill_holder(&mut workers, number).await {
            let killed = Instant::now();
            workers[dead] = fresh();
            assert!(!speaker.answer(number).await, "utterance {number} was lost");
            seconds.push(killed.elapsed().as_secs_f64());
        }
        for worker in &mut workers {
            worker.ready().await;
        }
    }
    let answers = speaker.answers().await;
    let once: HashSet<u32> = answers.iter().map(|(utterance, _)| *utterance).collect();
    assert_eq!((answers.len(), once.len()), (number as usize, number as usize), "each utterance once: {answers:?}");
    assert_eq!(speaker.bus.depth(AUDIO_JOBS, STT_GROUP).await.unwrap(), Depth::default());
    seconds.sort_by(f64::total_cmp);
    seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_killed_worker_is_captioned_once_by_another() {
    assert_eq!(penalties(3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes 10 minutes; cargo xtask prove faults runs it"]
async fn a_kill_in_mid_job_delays_its_caption_by_less_than_five_seconds() {
    const KILLS: usize = 100;
    let seconds = penalties(KILLS).await;
    figure("kill_caption_p50_seconds", seconds[KILLS / 2]);
    figure("kill_caption_p95_seconds", seconds[KILLS * 95 / 100]);
    figure("kill_caption_max_seconds", seconds[KILLS - 1]);
    figure("kill_count", KILLS as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_every_worker_becomes_a_gap_and_a_dead_letter_and_no_loop() {
    let speaker = Speaker::new(RedisServer::spawn().await).await;
    let (poison, good) = (1, 2);
    let mut victims = vec![speaker.worker("victim-0")];
    victims[0].ready().await;
    speaker.speak(poison).await;
    for death in 1..=MAX_DELIVERIES {
        let dead = speaker.kill_holder(&mut victims, poison).await;
        assert_eq!(dead, Some(0), "it was done before it killed worker {death}");
        victims = vec![speaker.worker(&format!("victim-{death}"))];
    }
    assert!(speaker.answer(poison).await, "the client sees a gap, and no fourth worker died");
    // The worker that gave it up goes on.
    speaker.speak(good).await;
    assert!(!speaker.answer(good).await);
    assert_eq!(speaker.answers().await, [(poison, true), (good, false)]);
    let last = EntryId { ms: u64::MAX, seq: 0 };
    let letters = speaker.bus.range(DEAD_LETTERS, EntryId::START, last, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter: DeadLetter = jobs::decode(&letters[0].payload).unwrap();
    assert_eq!(letter.deliveries, MAX_DELIVERIES + 1);
    let subject = letter.subject.unwrap();
    assert_eq!((subject.utterance.0, subject.kind), (poison, JobKind::Final));
    assert_eq!(speaker.bus.depth(AUDIO_JOBS, STT_GROUP).await.unwrap(), Depth::default());
}
