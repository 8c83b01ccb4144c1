//! Workers and gateways that die, stand still and wake, or are asked to end.

use std::time::{Duration, Instant};

use tests::{
    chaos::{
        marks::Mark,
        plan::{Choice, Deed, Plan, Whom},
        script::{Clips, Script},
        town::{Shape, Town, ZOMBIE},
    },
    figure::figure,
};
use tokio::time::sleep_until;

use super::{
    crowd::{Crowd, Manner, Outcome, percentile},
    held::{self, Held},
};

/// Workers of a town, each once.
pub(crate) fn workers(shape: &Shape) -> Vec<Whom> {
    let speech = (0..shape.speech).map(Whom::Speech);
    speech.chain((0..shape.translation).map(Whom::Translation)).collect()
}

/// Carries out `plan` while the crowd speaks; what was held by the workers that were killed, and how many were.
pub(crate) async fn suffer(town: &mut Town, plan: &Plan, crowd: &Crowd) -> (Vec<Held>, usize) {
    eprintln!("{plan}");
    let mut redis = held::connection(&town.redis.url()).await;
    let (begun, mut held, mut kills) = (tokio::time::Instant::now(), Vec::new(), 0);
    for step in &plan.steps {
        sleep_until(begun + step.at).await;
        if !crowd.is_busy() {
            break;
        }
        if step.deed == Deed::Kill && matches!(step.whom, Whom::Speech(_) | Whom::Translation(_)) {
            let dead = town.kill(step.whom);
            held.extend(held::of(&mut redis, step.whom, &dead, Instant::now()).await);
            kills += 1;
        } else {
            town.suffer(step.whom, step.deed).await;
        }
    }
    (held, kills)
}

#[track_caller]
pub(crate) fn nothing_lost(outcome: &Outcome, gaps: usize) {
    assert!(outcome.faults.none_but_gaps(), "{:?}", outcome.faults);
    assert_eq!(outcome.faults.gaps, gaps, "gaps");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_die_and_zombies_that_wake_cost_nobody_a_word() {
    let shape = Shape { speech: 3, translation: 2, ..Shape::default() };
    let mut town = Town::spawn(&shape).await;
    let manner = Manner { seed: 1, sessions: 12, utterances: 13, speed: 1.2, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    let deeds = vec![Deed::Kill, Deed::Kill, Deed::Kill, Deed::Kill, Deed::Kill, Deed::Freeze(ZOMBIE), Deed::Stop];
    let (from, to) = (Duration::from_secs(1), Duration::from_secs(13));
    let choice = Choice { whom: workers(&shape), deeds, from, to, count: 14 };
    let (_, kills) = suffer(&mut town, &Plan::draw(1, &choice), &crowd).await;
    let outcome = crowd.hear().await;
    assert!(kills > 3, "{kills} kills");
    nothing_lost(&outcome, 0);
    assert_eq!(outcome.broken(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_costs_its_own_utterance_alone_and_says_so() {
    let town = Town::spawn(&Shape::default()).await;
    let script = Script::draw(&Clips::of_demo(), 5, 6).with(2, Mark::Poison);
    let manner = Manner { seed: 5, sessions: 1, utterances: 6, speed: 1.2, ..Manner::default() };
    let outcome = Crowd::say(&town.urls(), vec![script], &manner).hear().await;
    nothing_lost(&outcome, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_die_or_are_asked_to_end_cost_nobody_a_word() {
    let shape = Shape { gateways: 2, ..Shape::default() };
    let mut town = Town::spawn(&shape).await;
    let manner = Manner { seed: 2, sessions: 6, utterances: 8, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    let whom = vec![Whom::Gateway(0), Whom::Gateway(1)];
    let (from, to) = (Duration::from_secs(2), Duration::from_secs(8));
    let choice = Choice { whom, deeds: vec![Deed::Kill, Deed::Stop], from, to, count: 2 };
    suffer(&mut town, &Plan::draw(2, &choice), &crowd).await;
    let outcome = crowd.hear().await;
    assert!(outcome.broken() > 0, "nobody noticed");
    nothing_lost(&outcome, 0);
}

/// Three, or the one that `CHAOS_SEED` names.
fn seeds() -> Vec<u64> {
    let one = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    one.map_or_else(|| vec![1, 2, 3], |seed| vec![seed])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes nine minutes; cargo xtask prove faults runs it"]
async fn ten_thousand_utterances_two_hundred_kills() {
    let (mut utterances, mut kills, mut lost, mut twice, mut gaps) = (0, 0, 0, 0, 0);
    let mut seconds = Vec::new();
    for seed in seeds() {
        let shape = Shape { speech: 4, translation: 2, ..Shape::default() };
        let mut town = Town::spawn(&shape).await;
        let manner = Manner { seed, sessions: 24, utterances: 140, speed: 1.2, ..Manner::default() };
        let crowd = Crowd::speak(&town.urls(), &manner);
        let (from, to) = (Duration::from_secs(2), Duration::from_secs(155));
        let choice = Choice { whom: workers(&shape), deeds: vec![Deed::Kill], from, to, count: 70 };
        let (held, killed) = suffer(&mut town, &Plan::draw(seed, &choice), &crowd).await;
        let outcome = crowd.hear().await;
        let journals: Vec<_> = outcome.said.iter().map(|(_, journal)| journal).collect();
        seconds.extend(held::seconds_to_final(&held, &journals));
        eprintln!("seed {seed}: {killed} kills, {} jobs held, {:?}", held.len(), outcome.faults);
        utterances += outcome.utterances();
        kills += killed;
        lost += outcome.lost();
        twice += outcome.twice();
        gaps += outcome.faults.gaps;
    }
    figure("chaos_utterances", utterances as f64);
    figure("chaos_kills", kills as f64);
    figure("chaos_held", seconds.len() as f64);
    figure("chaos_lost", lost as f64);
    figure("chaos_twice", twice as f64);
    figure("chaos_gaps", gaps as f64);
    figure("chaos_kill_caption_p95_seconds", percentile(seconds, 0.95));
    assert_eq!((lost, twice), (0, 0));
}
