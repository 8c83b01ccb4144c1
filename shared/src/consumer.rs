//! The loop in which a worker takes jobs from a group, answers for each, and lets go of none silently.
//!
//! - One task a job, [`Consumer::max_in_flight`] at once, so that many jobs reach the model thread together and are
//!   batched there. A full worker reads no more: what waits stays in the stream, for any worker of the group.
//! - Leases are renewed every [`HEARTBEAT`]. Jobs of a worker that fell silent are taken over after one [`LEASE`]; so
//!   is a job of our own whose handler failed and may be tried again.
//! - A job that was delivered more than [`MAX_DELIVERIES`] times, or can never succeed, is given up in a way that
//!   somebody sees ([`JobHandler::give_up`]). On its last delivery it shares a worker with no other such job: the one that
//!   kills its workers must not take those with it that were only beside it.
//! - A bus that is away is not the fault of a job: it stays in hand, no delivery is counted, and no lease is held to have
//!   run out before its holder could have renewed it.
//! - On shutdown reading stops and jobs in hand have [`Consumer::drain`] to finish; what was not begun, and what is not done
//!   by then, is handed back, for a peer to take at once.

mod contact;
mod dead_letter;
mod floor;
mod leases;
mod metrics;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

/// What a [`JobHandler`] is written with.
pub use async_trait::async_trait;
use serde::Deserialize;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use self::{contact::Contact, floor::Floor};
pub use self::{
    dead_letter::{DeadLetter, Subject},
    metrics::ConsumerMetrics,
};
#[cfg(doc)]
use crate::jobs::{HEARTBEAT, LEASE, MAX_DELIVERIES};
use crate::{
    backoff::Backoff,
    bus::{Bus, BusError, Delivery, Effects, GroupReader},
    health::Health,
    jobs::{self, JobKind},
    shutdown::CancellationToken,
};

/// The component of [`Health`] that a consumer sets: whether the bus answers it.
pub const BUS: &str = "bus";
/// How long a worker that stops lets its jobs in hand go on, when its configuration does not say.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);

/// Longest wait for a job in one read; bounds how long a stop goes unheard.
const BLOCK: Duration = Duration::from_millis(500);
/// How often the silent peers' jobs are looked for; a quarter more or less, so that workers take turns. With the lease it is
/// what a kill costs.
const RECLAIM: Duration = Duration::from_millis(500);
/// How often the depth of the queue is measured.
const SAMPLE: Duration = Duration::from_secs(1);
/// A depth that is not there by then is not known.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(2);
/// How often acknowledged entries are removed from the stream.
const JANITOR: Duration = Duration::from_secs(10);
/// Waits after errors of the bus.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// A worker that has jobs in hand and ends none for so long hangs (a device that does not come back): twice as long as a
/// session waits for a final.
pub const STALL: Duration = Duration::from_secs(120);

/// Jobs were in hand, and none ended for [`STALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{jobs} jobs in hand, and none ended for {} s", STALL.as_secs())]
pub struct Stalled {
    /// How many.
    pub jobs: usize,
}

/// What becomes of a job that was handled without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Finished with all its effects.
    Done,
    /// Finished without effects: nobody waits for it any more.
    Superseded,
    /// Somebody else finished it first; nothing happened.
    LeaseLost,
}

/// Why a job was not finished. No spoken text in the messages: they are logged and kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It stays pending and is tried again after a lease.
    #[error("{0}")]
    Retry(String),
    /// The bus is away: it stays in hand and is tried again once the bus answers.
    #[error("{0}")]
    Away(String),
    /// The work is done, and the bus was away when it was to hear of it: only the telling is tried again.
    #[error("{reason}")]
    Unsent {
        /// What the bus said.
        reason: String,
        /// What the work came to.
        effects: Box<Effects>,
    },
    /// This worker cannot do it, or anything: it is handed back, and nothing of it counts as an attempt.
    #[error("{0}")]
    HandBack(String),
    /// Trying again cannot help: it is given up now.
    #[error("{0}")]
    Hopeless(String),
}

impl JobError {
    /// What it means that the bus did not take the `effects` of a job because of `error`.
    #[must_use]
    pub fn unsent(error: BusError, effects: Effects) -> Self {
        match Self::from(error) {
            Self::Away(reason) => Self::Unsent { reason, effects: Box::new(effects) },
            other => other,
        }
    }
}

impl From<BusError> for JobError {
    /// A bus that refuses us is away, too; only a reply that cannot be may be the fault of the job.
    fn from(error: BusError) -> Self {
        if matches!(error, BusError::Protocol(_)) {
            Self::Retry(error.to_string())
        } else {
            Self::Away(error.to_string())
        }
    }
}

impl From<serde_json::Error> for JobError {
    /// A payload that is no job: only the position is told, for the rest could quote it.
    fn from(error: serde_json::Error) -> Self {
        Self::Hopeless(format!("the payload is not the JSON of a job (column {})", error.column()))
    }
}

/// What a worker does with jobs.
#[async_trait]
pub trait JobHandler: fmt::Debug + Send + Sync + 'static {
    /// Whether the job is an utterance's final: of jobs that were read together, finals go first.
    fn is_final(&self, payload: &[u8]) -> bool;

    /// Does the job and finishes it on the bus. Must be safe to run twice, on two workers, at the same time.
    ///
    /// # Errors
    /// When it is not finished; see [`JobError`].
    async fn handle(&self, job: &Delivery) -> Result<Outcome, JobError>;

    /// Finishes the job with a dead letter and a gap that the client sees.
    ///
    /// # Errors
    /// When it is not finished; it is then given up again after a lease.
    async fn give_up(&self, job: &Delivery, reason: &str) -> Result<Outcome, JobError>;
}

/// Whether the `kind` of a job in JSON is final, without reading the rest.
#[must_use]
pub fn is_final(payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        kind: JobKind,
    }
    jobs::decode::<Kind>(payload).is_ok_and(|job| job.kind == JobKind::Final)
}

/// One consumer of a group.
#[derive(Debug)]
pub struct Consumer {
    /// Where the jobs are.
    pub bus: Arc<dyn Bus>,
    /// Stream of jobs.
    pub stream: &'static str,
    /// Group that shares them.
    pub group: &'static str,
    /// Name within the group; no other living consumer may bear it.
    pub name: String,
    /// Most jobs handled at once. When a read and a reclaim coincide, at most as many again are held waiting.
    pub max_in_flight: usize,
    /// How long jobs in hand may go on after shutdown.
    pub drain: Duration,
    /// Its component [`BUS`] is set.
    pub health: Health,
    /// What is counted.
    pub metrics: ConsumerMetrics,
}

impl Consumer {
    /// Takes jobs until `shutdown`, then drains. When this future is dropped instead, every job in hand is let go at
    /// once and stays pending, as if the process had died.
    ///
    /// # Errors
    /// When jobs were in hand and none ended for [`STALL`]: whatever does them hangs. They are left to other workers.
    pub async fn run<H: JobHandler>(self, handler: Arc<H>, shutdown: CancellationToken) -> Result<(), Stalled> {
        let (mut drain, stop) = (self.drain, shutdown.child_token());
        let floor = Arc::new(Floor::new(self, handler));
        let let_go = floor.let_go.clone().drop_guard();
        let mut upkeep = JoinSet::new();
        upkeep.spawn(Arc::clone(&floor).heartbeat());
        upkeep.spawn(Arc::clone(&floor).sample());
        upkeep.spawn(Arc::clone(&floor).janitor());
        let mut work = pin!(floor.work_until(&stop));
        let stalled = tokio::select! {
            () = &mut work => None,
            jobs = floor.stalled() => Some(Stalled { jobs }),
        };
        if let Some(stalled) = &stalled {
            tracing::error!(stream = floor.consumer.stream, %stalled, "they are left to other workers");
            drain = Duration::ZERO;
            stop.cancel();
            work.await;
        }
        floor.jobs.close();
        if timeout(drain, floor.jobs.wait()).await.is_err() {
            let left = floor.jobs.len();
            tracing::warn!(left, "the drain deadline passed; jobs in hand are left to another worker");
            floor.let_go.cancel();
            floor.jobs.wait().await;
        }
        upkeep.shutdown().await;
        floor.consumer.resign().await;
        drop(let_go);
        stalled.map_or(Ok(()), Err)
    }
}

impl<H: JobHandler> Floor<H> {
    async fn work_until(self: &Arc<Self>, stop: &CancellationToken) {
        if let Some(reader) = stop.run_until_cancelled(self.connect()).await {
            tokio::join!(self.read(reader, stop), self.reclaim(stop));
        }
    }

    /// Waits until jobs have been in hand for [`STALL`] and none of them ended, and says how many; the bus is not to blame.
    async fn stalled(&self) -> usize {
        let mut tick = every(jobs::HEARTBEAT);
        loop {
            tick.tick().await;
            let held = self.held().len();
            if held > 0 && self.still_for() >= STALL && self.contact.steady_for(STALL) {
                return held;
            }
        }
    }

    /// Opens a reader, trying until it succeeds.
    async fn connect(&self) -> Box<dyn GroupReader> {
        let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        loop {
            match self.consumer.open_reader().await {
                Ok(reader) => return reader,
                Err(error) => self.bus_failed("open a reader", &error, &mut backoff).await,
            }
        }
    }

    async fn read(self: &Arc<Self>, mut reader: Box<dyn GroupReader>, shutdown: &CancellationToken) {
        let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        loop {
            let Some(free) = shutdown.run_until_cancelled(self.free_slots()).await else { return };
            // A read is let come to its end, for what it was given would otherwise wait for a reclaim; but a bus that
            // hangs must not hold up the stop.
            let overdue = async {
                shutdown.cancelled().await;
                sleep(BLOCK * 3).await;
            };
            let outcome = tokio::select! {
                outcome = reader.next(free, BLOCK) => outcome,
                () = overdue => return,
            };
            match outcome {
                Ok(jobs) => {
                    backoff.reset();
                    self.contact.heard();
                    self.start(jobs, shutdown).await;
                }
                Err(error) => {
                    let wait = self.bus_failed("read jobs", &error, &mut backoff);
                    if shutdown.run_until_cancelled(wait).await.is_none() {
                        return;
                    }
                }
            }
            if shutdown.is_cancelled() {
                return;
            }
        }
    }

    async fn reclaim(self: &Arc<Self>, shutdown: &CancellationToken) {
        let mut answered = Duration::ZERO;
        loop {
            let wait = RECLAIM.mul_f64(rand::random_range(0.75..1.25));
            if shutdown.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
            if !self.contact.steady_for(jobs::LEASE) {
                continue; // Nobody could renew a lease while the bus was away.
            }
            // Even a full worker takes one over: under a backlog none would ever look free at this moment, and the
            // jobs of a dead one would wait for its end.
            let free = self.slots.available_permits().max(1);
            let asked = Instant::now();
            // Of jobs on their last delivery, each of which may be the one that kills its workers, one at a time is done here.
            let suspects = usize::from(!self.has_suspect());
            let look = self.consumer.reclaim(free, suspects, &mut answered);
            let Some(outcome) = shutdown.run_until_cancelled(look).await else { return };
            if asked.elapsed() > jobs::HEARTBEAT {
                self.contact.shaken();
            }
            match outcome {
                Ok(jobs) => self.start(jobs, shutdown).await,
                Err(error) => {
                    self.contact.lost();
                    tracing::warn!(%error, "cannot look for jobs of silent workers");
                }
            }
        }
    }

    async fn bus_failed(&self, what: &str, error: &BusError, backoff: &mut Backoff) {
        self.contact.lost();
        let wait = backoff.next_delay();
        tracing::warn!(%error, stream = self.consumer.stream, wait_ms = wait.as_millis(), "cannot {what}; trying again");
        sleep(wait).await;
    }

    async fn heartbeat(self: Arc<Self>) {
        let mut tick = every(jobs::HEARTBEAT);
        loop {
            tick.tick().await;
            let _renewing = self.leases.lock().await;
            let ids = self.held();
            let Consumer { bus, stream, group, name, .. } = &self.consumer;
            if ids.is_empty() {
                continue;
            }
            match bus.renew_lease(stream, group, name, &ids).await {
                Ok(()) => self.contact.heard(),
                Err(error) => {
                    self.contact.lost();
                    tracing::warn!(%error, jobs = ids.len(), "cannot renew the lease of jobs in hand");
                }
            }
        }
    }

    async fn sample(self: Arc<Self>) {
        let mut tick = every(SAMPLE);
        loop {
            tick.tick().await;
            let Consumer { bus, stream, group, metrics, .. } = &self.consumer;
            let depth = timeout(SAMPLE_PATIENCE, bus.depth(stream, group)).await;
            metrics.set_depth(depth.ok().and_then(Result::ok));
        }
    }

    async fn janitor(self: Arc<Self>) {
        let mut tick = every(JANITOR);
        loop {
            tick.tick().await;
            if let Err(error) = self.consumer.bus.trim_acknowledged(self.consumer.stream).await {
                tracing::debug!(%error, "cannot remove acknowledged jobs");
            }
        }
    }
}

/// Ticks now and then every `period`; a missed tick is not made up for.
fn every(period: Duration) -> tokio::time::Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// How long ago `start` was, in seconds.
fn seconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}
