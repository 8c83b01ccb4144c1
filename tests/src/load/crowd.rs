//! Many sessions at once, and what became of them all.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use shared::shutdown::CancellationToken;
use tokio::{
    net::lookup_host,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    client::{Log, Part, Session},
    owed::Faults,
    spread::Spread,
    voice::{FRAME_MS, Voice},
};
use crate::{figure::figure, session::start};

/// Sessions that are opened in a second: a gateway also has handshakes to answer while it captions.
const OPENED_A_SECOND: usize = 250;
/// How far apart two sessions are in the recordings, in frames; no divisor of their length, so that all offsets occur.
const APART: usize = 37;
/// One session of so many is watched closely.
const WATCHED: usize = 8;

/// Whom they talk to, and about what.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// Path of the stream.
    pub path: String,
    /// Languages to translate into.
    pub targets: Vec<String>,
}

impl Scene {
    /// The gateway at `url` (`ws://host[:port]/path`).
    ///
    /// # Errors
    /// When the URL is none, or its host unknown.
    pub async fn at(url: &str, targets: Vec<String>) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("ws://").context("the URL must begin with ws://")?;
        let (host, path) = rest.find('/').map_or((rest, "/v1/stream"), |at| rest.split_at(at));
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let address = lookup_host(&host).await?.next().with_context(|| format!("{host} has no address"))?;
        Ok(Self { address, path: path.to_owned(), targets })
    }
}

/// Sessions under way.
#[derive(Debug)]
pub struct Crowd {
    scene: Scene,
    voice: Option<Voice>,
    sessions: Vec<Session>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Crowd {
    /// Nobody yet. They speak with `voice`, or only listen.
    #[must_use]
    pub fn new(scene: Scene, voice: Option<Voice>) -> Self {
        Self { scene, voice, sessions: Vec::new(), tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// Lets sessions begin until there are `count`; they come one after the other, and so do their frames.
    pub async fn grow_to(&mut self, count: usize) {
        let begin = Instant::now();
        let targets: Vec<&str> = self.scene.targets.iter().map(String::as_str).collect();
        let start = start(&targets);
        for (more, number) in (self.sessions.len()..count).enumerate() {
            let wait = Duration::from_secs_f64(more as f64 / OPENED_A_SECOND as f64);
            sleep_until(begin + wait).await;
            // Spread over the length of a frame, whatever the pace of opening is.
            let phase = Duration::from_micros(number as u64 * 618_034 % 1_000_000 * FRAME_MS / 1000);
            let part = Part {
                address: self.scene.address,
                path: self.scene.path.clone(),
                start: start.clone(),
                voice: self.voice.clone(),
                from: number * APART,
                begins: Instant::now() + phase,
            };
            let session = Session::new(&part, number.is_multiple_of(WATCHED));
            self.tasks.spawn(session.clone().play(part, self.stop.clone()));
            self.sessions.push(session);
        }
    }

    /// All sessions, those that broke among them.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// Sessions that have begun and not broken.
    #[must_use]
    pub fn live(&self) -> usize {
        self.sessions.iter().map(Session::log).filter(|log| log.session.is_some() && log.broken.is_none()).count()
    }

    /// Waits until all have begun or broken, at most for `patience`.
    pub async fn all_begun(&self, patience: Duration) {
        let give_up = Instant::now() + patience;
        let settled = |log: &Log| log.session.is_some() || log.broken.is_some();
        while Instant::now() < give_up && !self.sessions.iter().all(|session| settled(&session.log())) {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Forgets the times so far, and begins to note them anew.
    pub fn forget_times(&self) {
        for session in &self.sessions {
            let mut log = session.log();
            log.partials_us.clear();
            log.finals_us.clear();
            log.late_us.clear();
            log.lags = 0;
        }
    }

    /// Says `stop` in all sessions, waits for what they are owed, and sums up.
    pub async fn finish(mut self) -> Summary {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        Summary::of(&self.sessions)
    }
}

/// What became of all sessions.
#[derive(Debug, Default)]
pub struct Summary {
    /// Sessions.
    pub sessions: usize,
    /// Utterances.
    pub utterances: usize,
    /// What was wrong.
    pub faults: Faults,
    /// Sockets that broke, sessions that did not end in order.
    pub broken: usize,
    /// Why the first of them broke.
    pub why: Option<String>,
    /// `lag` events that told of captions behind.
    pub lags: usize,
    /// Sessions whose acknowledgement was more than [`ACK_BEHIND_MS`] behind what they had sent.
    pub unacknowledged: usize,
    /// From the sending of the last audio in a partial caption until it was there.
    pub partials: Spread,
    /// The same of finals: with the silence that ends an utterance.
    pub finals: Spread,
    /// How late frames were sent: whether this program keeps up.
    pub late: Spread,
}

/// Audio is acknowledged once a second, and not while it is open to doubt whether speech begins.
pub const ACK_BEHIND_MS: u64 = 3_000;

impl Summary {
    /// At this moment.
    #[must_use]
    pub fn of(sessions: &[Session]) -> Self {
        let mut summary = Self { sessions: sessions.len(), ..Self::default() };
        let (mut partials, mut finals, mut late) = (Vec::new(), Vec::new(), Vec::new());
        for session in sessions {
            let log = session.log();
            summary.utterances += log.owed.utterances();
            summary.faults.add(log.owed.faults());
            summary.broken += usize::from(log.broken.is_some());
            summary.why = summary.why.or_else(|| log.broken.clone());
            summary.lags += log.lags;
            summary.unacknowledged += usize::from(log.acked_ms + ACK_BEHIND_MS < log.sent_ms);
            partials.extend(&log.partials_us);
            finals.extend(&log.finals_us);
            late.extend(&log.late_us);
        }
        (summary.partials, summary.finals, summary.late) = (Spread::of(partials), Spread::of(finals), Spread::of(late));
        summary
    }

    /// Prints it as figures whose names begin with `prefix`.
    pub fn print(&self, prefix: &str) {
        let count = |name: &str, value: usize| figure(&format!("{prefix}_{name}"), value as f64);
        count("sessions", self.sessions);
        count("utterances", self.utterances);
        count("lost", self.faults.lost);
        count("doubled", self.faults.doubled);
        count("gaps", self.faults.gaps);
        count("reworded", self.faults.reworded);
        count("unordered", self.faults.unordered);
        count("broken", self.broken);
        for (name, spread) in [("partial", &self.partials), ("final", &self.finals), ("late", &self.late)] {
            for percent in [50, 95, 99] {
                figure(&format!("{prefix}_{name}_p{percent}_ms"), spread.percentile_ms(percent));
            }
        }
    }
}

/// Lets `sessions` speak for `length` in `scene`, all at once, and sums up.
pub async fn generate(scene: Scene, sessions: usize, length: Duration) -> Summary {
    let mut crowd = Crowd::new(scene, Some(Voice::shipped()));
    crowd.grow_to(sessions).await;
    sleep(length).await;
    crowd.finish().await
}
