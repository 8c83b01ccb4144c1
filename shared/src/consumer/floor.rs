//! The jobs that a consumer has in hand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    Consumer, ConsumerMetrics, Contact, JobError, JobHandler, Outcome, leases::RESIGN_PATIENCE, seconds_since,
};
use crate::{
    bus::{Delivery, Effects, EntryId, Finished},
    jobs::MAX_DELIVERIES,
    shutdown::CancellationToken,
    telemetry::job::{in_hand, step},
};

/// What became of a job that was handed back.
const HANDED_BACK: &str = "handed_back";
/// Times that a job is tried again in the same hand because the bus was away. A job that finds it away so often, and others
/// do not, is what drives it away.
const TIMES_AWAY: u32 = 30;

#[derive(Debug)]
pub(super) struct Floor<H> {
    pub(super) consumer: Consumer,
    /// Whether the bus answers.
    pub(super) contact: Contact,
    /// One permit for each job that may be handled at once.
    pub(super) slots: Arc<Semaphore>,
    /// The tasks of the jobs in hand.
    pub(super) jobs: TaskTracker,
    /// Cancelled: every job in hand is dropped where it stands.
    pub(super) let_go: CancellationToken,
    handler: Arc<H>,
    /// The jobs in hand, and how often each was delivered.
    held: Mutex<HashMap<EntryId, u32>>,
    /// Held while leases are renewed, and while jobs are handed back: none is renewed after that.
    pub(super) leases: AsyncMutex<()>,
    /// When a job last ended, or the first came into an empty hand.
    moved: Mutex<Instant>,
}

/// Keeps an id in [`Floor::held`] while it lives.
#[derive(Debug)]
struct Held<H: JobHandler> {
    floor: Arc<Floor<H>>,
    id: EntryId,
}

impl<H: JobHandler> Drop for Held<H> {
    fn drop(&mut self) {
        self.floor.change_held(|held| held.remove(&self.id).is_some());
    }
}

/// A handler at work. One that panics is counted like one that fails: its job is tried again after a lease.
#[derive(Debug)]
struct Attempt<'a> {
    metrics: &'a ConsumerMetrics,
    start: Instant,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.metrics.observe("retry", seconds_since(self.start));
        }
    }
}

impl<H: JobHandler> Floor<H> {
    pub(super) fn new(consumer: Consumer, handler: Arc<H>) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(consumer.max_in_flight.max(1))),
            jobs: TaskTracker::new(),
            let_go: CancellationToken::new(),
            held: Mutex::default(),
            leases: AsyncMutex::default(),
            moved: Mutex::new(Instant::now()),
            contact: Contact::new(consumer.health.clone()),
            consumer,
            handler,
        }
    }

    /// Ids of the jobs in hand.
    pub(super) fn held(&self) -> Vec<EntryId> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Waits until a slot is free; says how many are.
    pub(super) async fn free_slots(&self) -> usize {
        // The semaphore is never closed, so this only waits.
        drop(self.slots.acquire().await);
        self.slots.available_permits().max(1)
    }

    /// Whether a job in hand is on its last delivery.
    pub(super) fn has_suspect(&self) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.values().any(|deliveries| *deliveries == MAX_DELIVERIES)
    }

    /// Starts a task for each of `jobs`, finals first, as slots become free. Those that have none at `shutdown` are handed
    /// back.
    pub(super) async fn start(self: &Arc<Self>, mut jobs: Vec<Delivery>, shutdown: &CancellationToken) {
        jobs.sort_by_key(|job| !self.handler.is_final(&job.payload));
        // All are held, and their leases renewed, from now on; a job that is in hand already (its lease ran out while
        // we had it) is not started twice.
        let held: Vec<_> = jobs.into_iter().filter_map(|job| Some((self.hold(&job)?, job))).collect();
        let mut waiting = held.into_iter();
        while let Some((held, job)) = waiting.next() {
            let slots = Arc::clone(&self.slots);
            let slot = match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => Some(slot),
                Err(_) => shutdown.run_until_cancelled(slots.acquire_owned()).await.and_then(Result::ok),
            };
            let Some(slot) = slot else {
                let rest = [(held, job)].into_iter().chain(waiting);
                // No longer held, or the next heartbeat would renew what is handed back.
                let rest: Vec<_> = rest.map(|(_, job)| (job.id, job.deliveries)).collect();
                self.hand_back(&rest).await;
                return;
            };
            let floor = Arc::clone(self);
            self.jobs.spawn(async move {
                let Consumer { bus, name, .. } = &floor.consumer;
                let mut handed_back = false;
                let work = async {
                    let outcome = floor.work(&job).await;
                    handed_back = outcome == HANDED_BACK;
                    outcome
                };
                floor.let_go.run_until_cancelled(in_hand(bus.as_ref(), name, &job, work)).await;
                drop((slot, held));
                if handed_back {
                    floor.hand_back(&[(job.id, job.deliveries)]).await;
                }
            });
        }
    }

    /// Lets go of jobs that are no longer held, each with how often it was delivered, this time included.
    async fn hand_back(&self, jobs: &[(EntryId, u32)]) {
        let hand_back = async {
            let _none_is_renewed = self.leases.lock().await;
            self.consumer.hand_back(jobs).await
        };
        if !matches!(timeout(RESIGN_PATIENCE, hand_back).await, Ok(Ok(()))) {
            tracing::warn!(jobs = jobs.len(), "jobs that were not begun could not be handed back");
        }
    }

    /// How long no job has ended.
    pub(super) fn still_for(&self) -> Duration {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn hold(self: &Arc<Self>, job: &Delivery) -> Option<Held<H>> {
        let fresh = self.change_held(|held| {
            let fresh = !held.contains_key(&job.id);
            if fresh {
                held.insert(job.id, job.deliveries);
            }
            fresh
        });
        fresh.then(|| Held { floor: Arc::clone(self), id: job.id })
    }

    /// Changes what is held, and tells how many that are before anybody else can change it.
    fn change_held(&self, change: impl FnOnce(&mut HashMap<EntryId, u32>) -> bool) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.len();
        let changed = change(&mut held);
        if before == 0 || held.len() < before {
            *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        self.consumer.metrics.set_in_flight(held.len());
        changed
    }

    /// Does the job; what became of it.
    async fn work(&self, job: &Delivery) -> &'static str {
        let attempt = Attempt { metrics: &self.consumer.metrics, start: Instant::now() };
        let label = match self.until_heard(job).await {
            Ok(label) => label,
            Err(JobError::HandBack(reason)) => {
                tracing::warn!(stream = %job.stream, id = %job.id, reason, "a job is handed back");
                HANDED_BACK
            }
            Err(error) => {
                tracing::warn!(stream = %job.stream, id = %job.id, deliveries = job.deliveries, reason = %error,
                    "a job failed; it is tried again after a lease");
                "retry"
            }
        };
        attempt.metrics.observe(label, seconds_since(attempt.start));
        label
    }

    /// Tries the job again as long as the bus is to blame; where the work is done, only to tell the bus of it.
    async fn until_heard(&self, job: &Delivery) -> Result<&'static str, JobError> {
        let mut unsent = None;
        for _ in 1..TIMES_AWAY {
            let reason = match self.attempt(job, unsent.take()).await {
                Err(JobError::Away(reason)) => reason,
                Err(JobError::Unsent { reason, effects }) => {
                    unsent = Some(*effects);
                    reason
                }
                outcome => return outcome,
            };
            tracing::warn!(stream = %job.stream, id = %job.id, reason, "a job waits until the bus answers again");
            self.contact.lost();
            self.contact.restored().await;
        }
        self.attempt(job, unsent).await
    }

    async fn attempt(&self, job: &Delivery, unsent: Option<Effects>) -> Result<&'static str, JobError> {
        if let Some(effects) = unsent {
            match step("publish", self.consumer.bus.finish(job, effects.clone())).await {
                Ok(Finished::Done) => return Ok(label(Outcome::Done)),
                Ok(Finished::LeaseLost) => return Ok(label(Outcome::LeaseLost)),
                Ok(Finished::GuardFailed) => {} // What it was worked out from has changed meanwhile.
                Err(error) => return Err(JobError::unsent(error, effects)),
            }
        }
        if job.deliveries > MAX_DELIVERIES {
            let reason = format!("delivered {} times and never finished", job.deliveries);
            return self.give_up(job, &reason).await;
        }
        match self.handler.handle(job).await {
            Err(JobError::Hopeless(reason)) => self.give_up(job, &reason).await,
            outcome => outcome.map(label),
        }
    }

    async fn give_up(&self, job: &Delivery, reason: &str) -> Result<&'static str, JobError> {
        tracing::error!(stream = %job.stream, id = %job.id, deliveries = job.deliveries, reason, "a job is given up");
        match self.handler.give_up(job, reason).await? {
            Outcome::Done => {
                self.consumer.metrics.count_dead_letter();
                Ok("given_up")
            }
            other => Ok(label(other)),
        }
    }
}

fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Superseded => "superseded",
        Outcome::LeaseLost => "lease_lost",
    }
}
