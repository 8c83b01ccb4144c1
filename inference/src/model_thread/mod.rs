//! A model on a thread of its own, fed through a bounded queue.
//!
//! Nothing async blocks on the model, and the model waits for nothing but work. While it is at work, what waits joins
//! the batch between two steps and what is done leaves it (continuous batching); there is no timer. Under light load a
//! request is alone, under heavy load batches grow by themselves.

mod model;
mod observation;
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ModelError;
pub use model::{Answers, Model, Ticket, run_all};
use observation::Ledger;
pub use observation::{Observation, Observer, Occasion, unobserved};
use work::{Job, ModelThread};

/// How much a model takes at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Most requests under way.
    pub max_rows: usize,
    /// Most cost taken in at once, in the model's unit; a single request that costs more still runs.
    pub max_cost: usize,
    /// Requests that may wait; when so many do, [`ModelHandle::submit`] waits.
    pub queue: usize,
}

/// What a model thread has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ModelStats {
    /// Times that requests were taken in.
    pub batches: u64,
    /// Requests taken in.
    pub rows: u64,
    /// Steps run...
    pub steps: u64,
    /// ...and requests in them, all added up: by `steps`, the mean size of the batch.
    pub stepped_rows: u64,
    /// Requests dropped because nobody waited for their answer any more.
    pub abandoned: u64,
    /// Requests answered with an error.
    pub failed: u64,
    /// Times the device ran out of memory, and the batch was halved.
    pub halved: u64,
    /// Time spent computing, in seconds.
    pub seconds: f64,
    /// Requests waiting now.
    pub waiting: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    rows: AtomicU64,
    steps: AtomicU64,
    stepped_rows: AtomicU64,
    abandoned: AtomicU64,
    failed: AtomicU64,
    halved: AtomicU64,
    micros: AtomicU64,
}

/// The way to a model; clones lead to the same one. The thread ends when the last is dropped.
pub struct ModelHandle<M: Model> {
    jobs: mpsc::Sender<Job<M>>,
    counters: Arc<Counters>,
    /// Why the thread ended; closed without a reason when it did not load, or broke in a way of its own.
    fate: watch::Receiver<Option<ModelError>>,
}

impl<M: Model> Clone for ModelHandle<M> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), counters: self.counters.clone(), fate: self.fate.clone() }
    }
}

impl<M: Model> fmt::Debug for ModelHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelHandle").field("stats", &self.stats()).finish()
    }
}

impl<M: Model> ModelHandle<M> {
    /// Starts the thread `name`, which loads the model and warms it up. The receiver hears how that went; requests
    /// may be submitted before, and are answered with [`ModelError::Stopped`] if it goes wrong. `observer` is called on the
    /// thread for all that happens there; [`unobserved`] where nobody wants to know.
    pub fn spawn(
        name: &str,
        load: impl FnOnce() -> Result<M, ModelError> + Send + 'static,
        limits: BatchLimits,
        observer: Observer,
    ) -> (Self, oneshot::Receiver<Result<(), ModelError>>) {
        let (jobs, waiting) = mpsc::channel(limits.queue.max(1));
        let (tell, ready) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        let (end, fate) = watch::channel(None);
        let handle = Self { jobs, counters: counters.clone(), fate };
        let work = move || match load().and_then(|mut model| model.warm_up(&limits).map(|()| model)) {
            Ok(model) => {
                tell.send(Ok(())).ok();
                let ledger = Ledger::new(counters, observer);
                if let Err(error) = ModelThread::new(model, waiting, limits, ledger).run() {
                    end.send_replace(Some(error));
                }
            }
            Err(error) => {
                tell.send(Err(error)).ok();
            }
        };
        // A thread that cannot start drops `tell` and the queue: the caller hears of it from both.
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
            tracing::error!(%error, thread = name, "cannot start a model thread");
        }
        (handle, ready)
    }

    /// Waits for a place in the queue, then for the answer. Dropping the future withdraws the request.
    ///
    /// # Errors
    /// What the model says of this request, or [`ModelError::Stopped`].
    pub async fn submit(&self, request: M::Request) -> Result<M::Answer, ModelError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::new(request, answer)).await.map_err(|_| ModelError::Stopped)?;
        answered.await.map_err(|_| ModelError::Stopped)?
    }

    /// Waits until the model can no longer be relied on, and says why: its thread has ended, for it failed even with input
    /// that is known to be good. Whoever waited was answered with [`ModelError::Stopped`]. A model that works on makes this
    /// wait for ever.
    pub async fn broken(&self) -> ModelError {
        let mut fate = self.fate.clone();
        let fate = fate.wait_for(Option::is_some).await;
        fate.ok().and_then(|fate| fate.clone()).unwrap_or(ModelError::Stopped)
    }

    /// What the thread has done so far.
    pub fn stats(&self) -> ModelStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        ModelStats {
            batches: read(&counters.batches),
            rows: read(&counters.rows),
            steps: read(&counters.steps),
            stepped_rows: read(&counters.stepped_rows),
            abandoned: read(&counters.abandoned),
            failed: read(&counters.failed),
            halved: read(&counters.halved),
            seconds: read(&counters.micros) as f64 / 1e6,
            waiting: (self.jobs.max_capacity() - self.jobs.capacity()) as u64,
        }
    }
}

#[cfg(test)]
mod tests;
