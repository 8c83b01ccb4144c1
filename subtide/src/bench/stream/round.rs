//! One run of all clients, and what was measured of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use super::{
    corpus::Loaded,
    measured::Measured,
    play::{Door, Plan, Played, play},
    resources::{Cost, Watch},
};

/// Recordings that may be done before their events are taken in; clients wait when it is full.
const DONE: usize = 64;

/// What all rounds of a run have in common.
#[derive(Debug)]
pub(super) struct Stage {
    /// Where clients connect.
    pub(super) door: Arc<Door>,
    /// What they play.
    pub(super) recordings: Arc<Vec<Loaded>>,
    /// How long the gateway waits for an utterance to go on.
    pub(super) silence: Duration,
    /// Whether the roles are in this process, so that what it costs is what they cost.
    pub(super) local: bool,
    /// Whether they use a graphics processor of NVIDIA's.
    pub(super) gpu: bool,
}

/// One run.
#[derive(Debug)]
pub(super) struct Round {
    /// Clients at once.
    pub(super) sessions: usize,
    /// What was played, in the order of clients and recordings.
    pub(super) played: Vec<Played>,
    /// What was measured, recording by recording in the same order.
    pub(super) measured: Vec<Measured>,
    /// What it cost; `None` when others did the work.
    pub(super) cost: Option<Cost>,
}

impl Stage {
    /// Plays and measures.
    ///
    /// # Errors
    /// When a client's task broke.
    pub(super) async fn play(&self, plan: Plan) -> anyhow::Result<Round> {
        let (done, mut playing) = mpsc::channel::<Played>(DONE);
        let watch = Watch::start(self.gpu);
        let bar = self.progress(&plan);
        let collect = async {
            let mut played: Vec<Played> = Vec::new();
            while let Some(one) = playing.recv().await {
                bar.inc(one.reference.duration_ms / 1000);
                bar.set_message(one.reference.name.clone());
                played.push(one);
            }
            played
        };
        let (done, mut played) =
            tokio::join!(play(Arc::clone(&self.door), Arc::clone(&self.recordings), &plan, done), collect);
        done?;
        let cost = watch.stop();
        bar.finish_and_clear();
        played.sort_by_key(|one| one.client);
        let silence_ms = u64::try_from(self.silence.as_millis())?;
        let measured = played.iter().map(|one| measure(one, silence_ms)).collect();
        Ok(Round { sessions: plan.sessions, played, measured, cost: self.local.then_some(cost) })
    }

    /// Seconds of audio, on a terminal.
    fn progress(&self, plan: &Plan) -> ProgressBar {
        let all: u64 = self.recordings.iter().map(|loaded| loaded.reference.duration_ms / 1000).sum();
        let each = plan.limit.map_or(all, |limit| limit.as_secs());
        let bar = ProgressBar::new(each * plan.sessions as u64);
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} s of audio played ({msg})");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

fn measure(played: &Played, silence_ms: u64) -> Measured {
    let mut measured = Measured::of(&played.reference, &played.targets, &played.arrivals, silence_ms);
    measured.faults.broken_sessions = usize::from(played.error.is_some());
    measured
}

impl Round {
    /// All of it.
    pub(super) fn total(&self) -> Measured {
        self.by(|_| Some(String::new())).remove("").unwrap_or_default()
    }

    /// By group.
    pub(super) fn groups(&self) -> BTreeMap<String, Measured> {
        self.by(|played| Some(played.reference.group.clone()))
    }

    /// By the language told to the gateway; only recordings in which somebody speaks.
    pub(super) fn sources(&self) -> BTreeMap<String, Measured> {
        self.by(|played| played.reference.speech.then(|| String::from(played.reference.source())))
    }

    fn by(&self, key: impl Fn(&Played) -> Option<String>) -> BTreeMap<String, Measured> {
        let mut sums: BTreeMap<String, Measured> = BTreeMap::new();
        for (played, measured) in self.played.iter().zip(&self.measured) {
            if let Some(key) = key(played) {
                sums.entry(key).or_default().add(measured);
            }
        }
        sums
    }

    /// The most that a frame was sent behind its time.
    pub(super) fn worst_late(&self) -> Duration {
        self.played.iter().map(|played| played.worst_late).max().unwrap_or_default()
    }
}
