//! A model on a thread of its own, fed through a bounded queue.
//!
//! Nothing async blocks on the model, and the model waits for nothing but work: when it is free it takes everything
//! that waits, up to its limits, as one batch. There is no timer: under light load a request is a batch of one, under
//! heavy load batches grow by themselves.

mod model;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::error::ModelError;
pub use model::Model;

/// How much a model takes at once.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Most requests in a batch.
    pub max_rows: usize,
    /// Most cost in a batch, in the model's unit; a single request that costs more still runs, alone.
    pub max_cost: usize,
    /// Requests that may wait; when so many do, [`ModelHandle::submit`] waits.
    pub queue: usize,
}

/// What a model thread has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ModelStats {
    /// Batches run.
    pub batches: u64,
    /// Requests in them.
    pub rows: u64,
    /// Requests skipped because nobody waited for their answer any more.
    pub abandoned: u64,
    /// Requests answered with an error.
    pub failed: u64,
    /// Time spent computing, in seconds.
    pub seconds: f64,
    /// Requests waiting now.
    pub waiting: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    rows: AtomicU64,
    abandoned: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

struct Job<M: Model> {
    request: M::Request,
    answer: oneshot::Sender<Result<M::Answer, ModelError>>,
}

/// The way to a model; clones lead to the same one. The thread ends when the last is dropped.
pub struct ModelHandle<M: Model> {
    jobs: mpsc::Sender<Job<M>>,
    counters: Arc<Counters>,
}

impl<M: Model> Clone for ModelHandle<M> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), counters: self.counters.clone() }
    }
}

impl<M: Model> fmt::Debug for ModelHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelHandle").field("stats", &self.stats()).finish()
    }
}

impl<M: Model> ModelHandle<M> {
    /// Starts the thread `name`, which loads the model and warms it up. The receiver hears how that went; requests
    /// may be submitted before, and are answered with [`ModelError::Stopped`] if it goes wrong.
    pub fn spawn(
        name: &str,
        load: impl FnOnce() -> Result<M, ModelError> + Send + 'static,
        limits: BatchLimits,
    ) -> (Self, oneshot::Receiver<Result<(), ModelError>>) {
        let (jobs, waiting) = mpsc::channel(limits.queue.max(1));
        let (tell, ready) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        let handle = Self { jobs, counters: counters.clone() };
        let work = move || match load().and_then(|mut model| model.warm_up().map(|()| model)) {
            Ok(model) => {
                tell.send(Ok(())).ok();
                ModelThread { model, waiting, limits, counters, next: None }.run();
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
        self.jobs.send(Job { request, answer }).await.map_err(|_| ModelError::Stopped)?;
        answered.await.map_err(|_| ModelError::Stopped)?
    }

    /// What the thread has done so far.
    pub fn stats(&self) -> ModelStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ModelStats {
            batches: read(&self.counters.batches),
            rows: read(&self.counters.rows),
            abandoned: read(&self.counters.abandoned),
            failed: read(&self.counters.failed),
            seconds: read(&self.counters.micros) as f64 / 1e6,
            waiting: (self.jobs.max_capacity() - self.jobs.capacity()) as u64,
        }
    }
}

struct ModelThread<M: Model> {
    model: M,
    waiting: mpsc::Receiver<Job<M>>,
    limits: BatchLimits,
    counters: Arc<Counters>,
    /// Taken from the queue, but too much for the last batch.
    next: Option<Job<M>>,
}

impl<M: Model> ModelThread<M> {
    fn run(mut self) {
        while let Some(first) = self.next.take().or_else(|| self.waiting.blocking_recv()) {
            let batch = self.collect(first);
            if !batch.is_empty() {
                self.answer(batch);
            }
        }
    }

    /// `first` and all that waits behind it, up to the limits, without those nobody waits for.
    fn collect(&mut self, first: Job<M>) -> Vec<Job<M>> {
        let mut batch = Vec::new();
        let mut cost = 0;
        let mut candidate = Some(first);
        while let Some(job) = candidate {
            if job.answer.is_closed() {
                add(&self.counters.abandoned, 1);
            } else {
                cost += M::cost(&job.request);
                if !batch.is_empty() && cost > self.limits.max_cost {
                    self.next = Some(job);
                    break;
                }
                batch.push(job);
            }
            if batch.len() >= self.limits.max_rows.max(1) {
                break;
            }
            candidate = self.waiting.try_recv().ok();
        }
        batch
    }

    fn answer(&mut self, batch: Vec<Job<M>>) {
        let (requests, callers): (Vec<_>, Vec<_>) = batch.into_iter().map(|job| (job.request, job.answer)).unzip();
        let started = Instant::now();
        let answers = match self.compute(&requests) {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if requests.len() == 1 => vec![Err(error)],
            Err(error) => {
                tracing::warn!(%error, rows = requests.len(), "a batch failed; running its requests one by one");
                requests.chunks(1).map(|alone| self.compute(alone).and_then(only)).collect::<Vec<_>>()
            }
        };
        add(&self.counters.batches, 1);
        add(&self.counters.rows, requests.len());
        add(&self.counters.failed, answers.iter().filter(|answer| answer.is_err()).count());
        add(&self.counters.micros, started.elapsed().as_micros() as usize);
        for (caller, answer) in callers.into_iter().zip(answers) {
            caller.send(answer).ok(); // The caller may have left meanwhile.
        }
    }

    /// Runs the model; a panic becomes an error, so that one bad request does not take the thread with it.
    fn compute(&mut self, requests: &[M::Request]) -> Result<Vec<M::Answer>, ModelError> {
        let answers = catch_unwind(AssertUnwindSafe(|| self.model.run(requests)))
            .unwrap_or_else(|_| Err(ModelError::Compute("the model panicked".to_owned())))?;
        if answers.len() != requests.len() {
            return Err(ModelError::Compute(format!("{} answers to {} requests", answers.len(), requests.len())));
        }
        Ok(answers)
    }
}

fn only<T>(answers: Vec<T>) -> Result<T, ModelError> {
    answers.into_iter().next().ok_or(ModelError::Stopped)
}

#[cfg(test)]
mod tests;
