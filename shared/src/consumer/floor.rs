//! The jobs that a consumer has in hand.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Semaphore, time::Instant};
use tokio_util::task::TaskTracker;

use super::{Consumer, ConsumerMetrics, JobError, JobHandler, Outcome, seconds_since};
use crate::{
    bus::{Delivery, EntryId},
    jobs::MAX_DELIVERIES,
    shutdown::CancellationToken,
    telemetry::job::in_hand,
};

#[derive(Debug)]
pub(super) struct Floor<H> {
    pub(super) consumer: Consumer,
    /// One permit for each job that may be handled at once.
    pub(super) slots: Arc<Semaphore>,
    /// The tasks of the jobs in hand.
    pub(super) jobs: TaskTracker,
    /// Cancelled: every job in hand is dropped where it stands.
    pub(super) let_go: CancellationToken,
    handler: Arc<H>,
    held: Mutex<HashSet<EntryId>>,
}

/// Keeps an id in [`Floor::held`] while it lives.
#[derive(Debug)]
struct Held<H: JobHandler> {
    floor: Arc<Floor<H>>,
    id: EntryId,
}

impl<H: JobHandler> Drop for Held<H> {
    fn drop(&mut self) {
        self.floor.change_held(|held| held.remove(&self.id));
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
            consumer,
            handler,
        }
    }

    /// Ids of the jobs in hand.
    pub(super) fn held(&self) -> Vec<EntryId> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Waits until a slot is free; says how many are.
    pub(super) async fn free_slots(&self) -> usize {
        // The semaphore is never closed, so this only waits.
        drop(self.slots.acquire().await);
        self.slots.available_permits().max(1)
    }

    /// Starts a task for each of `jobs`, finals first, as slots become free. Those that have none at `shutdown` stay
    /// pending.
    pub(super) async fn start(self: &Arc<Self>, mut jobs: Vec<Delivery>, shutdown: &CancellationToken) {
        jobs.sort_by_key(|job| !self.handler.is_final(&job.payload));
        // All are held, and their leases renewed, from now on; a job that is in hand already (its lease ran out while
        // we had it) is not started twice.
        let jobs: Vec<_> = jobs.into_iter().filter_map(|job| Some((self.hold(job.id)?, job))).collect();
        for (held, job) in jobs {
            let slots = Arc::clone(&self.slots);
            let slot = match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => slot,
                Err(_) => match shutdown.run_until_cancelled(slots.acquire_owned()).await {
                    Some(Ok(slot)) => slot,
                    _ => return,
                },
            };
            let floor = Arc::clone(self);
            self.jobs.spawn(async move {
                let Consumer { bus, name, .. } = &floor.consumer;
                floor.let_go.run_until_cancelled(in_hand(bus.as_ref(), name, &job, floor.work(&job))).await;
                drop((slot, held));
            });
        }
    }

    fn hold(self: &Arc<Self>, id: EntryId) -> Option<Held<H>> {
        let fresh = self.change_held(|held| held.insert(id));
        fresh.then(|| Held { floor: Arc::clone(self), id })
    }

    /// Changes what is held, and tells how many that are before anybody else can change it.
    fn change_held(&self, change: impl FnOnce(&mut HashSet<EntryId>) -> bool) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut held);
        self.consumer.metrics.set_in_flight(held.len());
        changed
    }

    /// Does the job; what became of it.
    async fn work(&self, job: &Delivery) -> &'static str {
        let attempt = Attempt { metrics: &self.consumer.metrics, start: Instant::now() };
        let outcome = if job.deliveries > MAX_DELIVERIES {
            self.give_up(job, &format!("delivered {} times and never finished", job.deliveries)).await
        } else {
            match self.handler.handle(job).await {
                Err(JobError::Hopeless(reason)) => self.give_up(job, &reason).await,
                Ok(outcome) => Ok(label(outcome)),
                Err(JobError::Retry(reason)) => Err(reason),
            }
        };
        let label = outcome.unwrap_or_else(|reason| {
            tracing::warn!(stream = %job.stream, id = %job.id, deliveries = job.deliveries, reason,
                "a job failed; it is tried again after a lease");
            "retry"
        });
        attempt.metrics.observe(label, seconds_since(attempt.start));
        label
    }

    async fn give_up(&self, job: &Delivery, reason: &str) -> Result<&'static str, String> {
        tracing::error!(stream = %job.stream, id = %job.id, deliveries = job.deliveries, reason, "a job is given up");
        match self.handler.give_up(job, reason).await {
            Ok(Outcome::Done) => {
                self.consumer.metrics.count_dead_letter();
                Ok("given_up")
            }
            Ok(other) => Ok(label(other)),
            Err(error) => Err(error.to_string()),
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
