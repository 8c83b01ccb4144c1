//! Hours of speech with something killed every minute: nothing grows, nothing leaks, nothing gets slower.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use shared::{
    bus::{Bus as _, RedisBus},
    jobs::{AUDIO_JOBS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS},
};
use tests::{
    chaos::{
        plan::{Deed, Whom},
        town::{Shape, Town},
    },
    cost::resident_mib,
    figure::figure,
};
use tokio::time::sleep;

use super::crowd::{Crowd, Manner, Outcome, percentile};

/// Sessions at once.
const SESSIONS: usize = 50;
/// An utterance with its silence takes so long in the mean, seconds.
const UTTERANCE_SECONDS: f64 = 1.38;
/// A kill explains sockets that break so soon after it.
const EXPLAINS: Duration = Duration::from_secs(20);

/// One look at one process.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Since the beginning, hours.
    hours: f64,
    rss_mb: f64,
    descriptors: f64,
}

/// What a process was like over its life, by its id.
type Lives = BTreeMap<u32, (String, Vec<Look>)>;

fn look(town: &Town, begun: Instant, lives: &mut Lives) {
    for process in town.processes() {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", process.id())).map(Iterator::count);
        if let (Some(rss_mb), Ok(descriptors)) = (resident_mib(process.id()), descriptors) {
            let hours = begun.elapsed().as_secs_f64() / 3600.0;
            let seen = Look { hours, rss_mb, descriptors: descriptors as f64 };
            lives.entry(process.id()).or_insert_with(|| (process.name.clone(), Vec::new())).1.push(seen);
        }
    }
}

/// The slope of the straight line that fits best (least squares), for each unit of x.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

/// The worst slope of memory (MB an hour) and the worst drift of descriptors of those that lived at least `least` after
/// `warm_up`, hours.
fn growth(lives: &Lives, warm_up: f64, least: f64) -> (f64, f64) {
    let (mut worst_slope, mut worst_drift) = (0.0_f64, 0.0_f64);
    for (name, looks) in lives.values() {
        let looks: Vec<&Look> = looks.iter().filter(|look| look.hours >= warm_up).collect();
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { continue };
        if last.hours - first.hours < least {
            continue;
        }
        let grown = slope(&looks.iter().map(|look| (look.hours, look.rss_mb)).collect::<Vec<_>>());
        let third = looks.len().div_ceil(3);
        let median = |part: &[&Look]| percentile(part.iter().map(|look| look.descriptors).collect(), 0.5);
        let drift = (median(&looks[looks.len() - third..]) - median(&looks[..third])).abs();
        eprintln!("{name}: {:.1} -> {:.1} MB, {grown:.2} MB/h, descriptors {drift:+}", first.rss_mb, last.rss_mb);
        (worst_slope, worst_drift) = (worst_slope.max(grown), worst_drift.max(drift));
    }
    (worst_slope, worst_drift)
}

/// Jobs that were read and not acknowledged, and jobs that nobody read, as everybody counts them.
async fn left(url: &str) -> u64 {
    let bus = RedisBus::connect(url).await.unwrap();
    let mut left = 0;
    for (stream, group) in [(AUDIO_JOBS, STT_GROUP), (TRANSLATION_JOBS, MT_GROUP)] {
        let depth = bus.depth(stream, group).await.unwrap();
        eprintln!("{stream}: {depth:?}");
        left += depth.pending + depth.lag;
    }
    left
}

/// How much later captions come in the last third than in the first, percent; each at its 95th percentile.
fn drift_percent(outcome: &Outcome, begun: Instant, length: Duration) -> f64 {
    let seconds = outcome.caption_seconds();
    let part = |from: f64, to: f64| {
        let (from, to) = (begun + length.mul_f64(from), begun + length.mul_f64(to));
        percentile(seconds.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, late)| *late).collect(), 0.95)
    };
    let (before, after) = (part(0.1, 0.4), part(0.6, 0.95));
    eprintln!("final captions, p95: {before:.3} s, then {after:.3} s");
    (after / before - 1.0) * 100.0
}

/// Minutes come from `CHAOS_SOAK_MINUTES`, or are 120.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two hours; cargo xtask prove faults runs it"]
async fn soak() {
    let minutes: f64 = std::env::var("CHAOS_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(120.0);
    let length = Duration::from_secs_f64(minutes * 60.0);
    // The second gateway and the last workers are never killed: only who lives long can show that it grows.
    let shape = Shape { speech: 3, translation: 2, gateways: 2, ..Shape::default() };
    let mut town = Town::spawn(&shape).await;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousand")]
    let utterances = (length.as_secs_f64() / UTTERANCE_SECONDS) as usize;
    let manner = Manner { seed: 11, sessions: SESSIONS, utterances, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    let mortal = [Whom::Speech(0), Whom::Speech(1), Whom::Translation(0), Whom::Gateway(0), Whom::Redis];
    let (mut rng, mut lives, mut kills) = (StdRng::seed_from_u64(11), Lives::new(), Vec::new());
    let (begun, mut next_kill) = (Instant::now(), Duration::from_secs(60));
    while crowd.is_busy() {
        sleep(Duration::from_secs(5)).await;
        look(&town, begun, &mut lives);
        if begun.elapsed() > next_kill && begun.elapsed() + Duration::from_secs(30) < length {
            next_kill += Duration::from_secs(60);
            let whom = *mortal.choose(&mut rng).unwrap();
            kills.push((Instant::now(), whom));
            town.suffer(whom, Deed::Kill).await;
        }
    }
    let outcome = crowd.hear().await;
    sleep(Duration::from_secs(5)).await;
    let left = left(&town.redis.url()).await;
    let explained = |at: &Instant| {
        let may = kills.iter().filter(|(_, whom)| matches!(whom, Whom::Gateway(_) | Whom::Redis));
        may.into_iter().any(|(killed, _)| at.checked_duration_since(*killed).is_some_and(|since| since < EXPLAINS))
    };
    let closes = outcome.said.iter().flat_map(|(_, journal)| &journal.broke_at).filter(|at| !explained(at)).count();
    let hours = minutes / 60.0;
    let (slope, drift) = growth(&lives, (hours / 4.0).min(0.25), hours / 2.0);
    figure("soak_minutes", minutes);
    figure("soak_kills", kills.len() as f64);
    figure("soak_utterances", outcome.utterances() as f64);
    figure("soak_rss_slope_mb_per_hour", slope);
    figure("soak_fd_drift", drift);
    figure("soak_pending_end", left as f64);
    figure("soak_p95_drift_percent", drift_percent(&outcome, begun, length));
    figure("soak_lost", outcome.lost() as f64);
    figure("soak_twice", outcome.twice() as f64);
    figure("soak_gaps", outcome.faults.gaps as f64);
    figure("soak_unexplained_closes", closes as f64);
    assert_eq!((outcome.lost(), outcome.twice(), left), (0, 0, 0));
}
