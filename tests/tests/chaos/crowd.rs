//! Many clients at once, what they said and what they got.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use shared::wire::ServerMessage;
use tests::{
    chaos::{
        invariants::{Faults, check_words, disorder},
        script::{Clips, Script},
    },
    resuming::{Caller, Journal},
    session::start,
};
use tokio::task::JoinHandle;

/// Languages that everybody wants.
pub(crate) const TARGETS: [&str; 1] = ["es"];

/// Clients that speak at the same time, each another script.
pub(crate) struct Crowd(Vec<JoinHandle<(Script, Journal)>>);

/// How a crowd speaks.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) seed: u64,
    pub(crate) sessions: usize,
    pub(crate) utterances: usize,
    pub(crate) speed: f64,
    pub(crate) patience: Duration,
    /// What each client shows, where one must.
    pub(crate) token: Option<String>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { seed: 1, sessions: 1, utterances: 1, speed: 1.0, patience: Duration::from_secs(120), token: None }
    }
}

/// What a crowd got.
pub(crate) struct Outcome {
    pub(crate) said: Vec<(Script, Journal)>,
    pub(crate) faults: Faults,
}

impl Crowd {
    /// Begins to speak.
    pub(crate) fn speak(urls: &[String], manner: &Manner) -> Self {
        let clips = Clips::of_demo();
        let seed = |n: usize| manner.seed.wrapping_mul(1_000_003).wrapping_add(n as u64);
        let scripts = (0..manner.sessions).map(|n| Script::draw(&clips, seed(n), manner.utterances)).collect();
        Self::say(urls, scripts, manner)
    }

    /// Begins to say these scripts.
    pub(crate) fn say(urls: &[String], scripts: Vec<Script>, manner: &Manner) -> Self {
        let client = |(n, script): (usize, Script)| {
            let (mut urls, speed, patience) = (urls.to_vec(), manner.speed, manner.patience);
            let token = manner.token.clone();
            let places = urls.len();
            urls.rotate_left(n % places);
            tokio::spawn(async move {
                let caller = Caller { speed, patience, ..Caller::new(&urls, token.as_deref(), start(&TARGETS)) };
                let journal = caller.say(&script, |_| false).await;
                (script, journal)
            })
        };
        Self(scripts.into_iter().enumerate().map(client).collect())
    }

    /// Whether somebody still speaks, or waits for an answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.iter().any(|client| !client.is_finished())
    }

    /// Waits until everybody has got everything.
    pub(crate) async fn hear(self) -> Outcome {
        let said: Vec<(Script, Journal)> = join_all(self.0).await.into_iter().map(Result::unwrap).collect();
        let mut faults = Faults::default();
        for (n, (script, journal)) in said.iter().enumerate() {
            let own = check_words(journal, &TARGETS, &script.words());
            if own != Faults::default() {
                let Journal { session, error, gave_up, outages, .. } = journal;
                eprintln!("session {n} {session:?}: {own:?}; {error:?}, gave up: {gave_up}, outages: {outages:?}");
                disorder(journal, &script.words()).iter().for_each(|note| eprintln!("  {note}"));
            }
            faults.add(&own);
        }
        Outcome { said, faults }
    }
}

impl Outcome {
    /// Utterances said in all.
    pub(crate) fn utterances(&self) -> usize {
        self.said.iter().map(|(script, _)| script.utterances()).sum()
    }

    /// Sockets that broke.
    pub(crate) fn broken(&self) -> usize {
        self.said.iter().map(|(_, journal)| journal.outages.len()).sum()
    }

    /// Words lost and utterances without an end.
    pub(crate) fn lost(&self) -> usize {
        self.faults.lost + self.faults.missing + self.faults.unacknowledged
    }

    /// Whatever came that should not, or not then.
    pub(crate) fn twice(&self) -> usize {
        let Faults { twice, reworded, unordered, foreign, .. } = self.faults;
        twice + reworded + unordered + foreign
    }

    /// When captions came, of all sessions, in order.
    pub(crate) fn caption_times(&self) -> Vec<Instant> {
        let captions = |journal: &Journal| -> Vec<Instant> {
            let all = journal.events.iter().zip(&journal.times);
            all.filter(|(event, _)| matches!(event.message, ServerMessage::Caption(_))).map(|(_, at)| *at).collect()
        };
        let mut times: Vec<Instant> = self.said.iter().flat_map(|(_, journal)| captions(journal)).collect();
        times.sort();
        times
    }

    /// When each final caption came, and how many seconds after the end of its utterance was told.
    pub(crate) fn caption_seconds(&self) -> Vec<(Instant, f64)> {
        let mut seconds = Vec::new();
        for (_, journal) in &self.said {
            let mut ended = HashMap::new();
            for (event, at) in journal.events.iter().zip(&journal.times) {
                match &event.message {
                    ServerMessage::SpeechEnded { utterance, .. } => drop(ended.insert(*utterance, *at)),
                    ServerMessage::Caption(caption) if caption.is_final => {
                        let then = ended.get(&caption.utterance);
                        seconds.extend(then.map(|then| (*at, at.duration_since(*then).as_secs_f64())));
                    }
                    _ => {}
                }
            }
        }
        seconds
    }
}

/// The value that so large a share of `values` does not exceed; infinite where there is none.
pub(crate) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
}
