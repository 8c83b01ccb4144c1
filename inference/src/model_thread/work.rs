//! The thread's work: who joins the batch, who leaves it, and what happens when the device says no.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::observation::{Ledger, Occasion};
use super::{Answers, BatchLimits, Model, Ticket};
use crate::error::ModelError;

/// After so many steps at its reduced size a batch may have one more request again.
const STEPS_TO_GROW: usize = 500;

/// A request and who waits for its answer.
pub(super) struct Job<M: Model> {
    request: Arc<M::Request>,
    answer: oneshot::Sender<Result<M::Answer, ModelError>>,
    submitted: Instant,
    /// When it was first taken in.
    taken: Option<Instant>,
}

impl<M: Model> Job<M> {
    pub(super) fn new(request: M::Request, answer: oneshot::Sender<Result<M::Answer, ModelError>>) -> Self {
        Self { request: Arc::new(request), answer, submitted: Instant::now(), taken: None }
    }

    fn cost(&self) -> usize {
        M::cost(&self.request)
    }

    /// How long it has been under way.
    fn under_way(&self) -> Duration {
        self.taken.map(|taken| taken.elapsed()).unwrap_or_default()
    }
}

pub(super) struct ModelThread<M: Model> {
    model: M,
    waiting: mpsc::Receiver<Job<M>>,
    limits: BatchLimits,
    ledger: Ledger,
    under_way: HashMap<Ticket, Job<M>>,
    /// To be taken in before what waits: too much for the last time, or thrown out by a failure.
    again: VecDeque<Job<M>>,
    next_ticket: Ticket,
    /// Most requests under way, at present: less than the limit after the device ran out of memory.
    rows: usize,
    /// The same, as far as memory goes: less than the limit only after the device ran out of it.
    room: usize,
    /// Steps since that was last changed.
    steady: usize,
    /// A request failed in a way that may be the device's fault, and none was answered since.
    doubt: bool,
}

impl<M: Model> ModelThread<M> {
    pub(super) fn new(model: M, waiting: mpsc::Receiver<Job<M>>, limits: BatchLimits, ledger: Ledger) -> Self {
        let rows = limits.max_rows.max(1);
        Self {
            model,
            waiting,
            limits,
            ledger,
            under_way: HashMap::new(),
            again: VecDeque::new(),
            next_ticket: 0,
            rows,
            room: rows,
            steady: 0,
            doubt: false,
        }
    }

    /// Works until nobody can ask any more.
    ///
    /// # Errors
    /// When the model fails with good input, too.
    pub(super) fn run(mut self) -> Result<(), ModelError> {
        loop {
            self.settle_doubt()?;
            let first = if self.under_way.is_empty() && self.again.is_empty() {
                let Some(job) = self.waiting.blocking_recv() else { return Ok(()) };
                Some(job)
            } else {
                None
            };
            let started = Instant::now();
            let batch = self.collect(first);
            self.admit(batch);
            self.step();
            self.ledger.worked(started.elapsed());
        }
    }

    /// Whose fault was it? Good input tells; it needs the model for itself.
    fn settle_doubt(&mut self) -> Result<(), ModelError> {
        if !self.doubt || !self.under_way.is_empty() {
            return Ok(());
        }
        self.doubt = false;
        let one = BatchLimits { max_rows: 1, ..self.limits };
        let error = match guarded(|| self.model.warm_up(&one)) {
            Ok(()) => return Ok(()),
            Err(Failure::Error(error)) => error,
            Err(Failure::Panic) => panicked(),
        };
        tracing::error!(%error, "the model fails with good input, too: it or its device is broken");
        Err(error)
    }

    /// What waits, up to the limits, without those nobody waits for.
    fn collect(&mut self, first: Option<Job<M>>) -> Vec<Job<M>> {
        self.again.extend(first);
        let mut batch = Vec::new();
        let mut cost = 0;
        while self.under_way.len() + batch.len() < self.rows {
            let Some(mut job) = self.again.pop_front().or_else(|| self.waiting.try_recv().ok()) else { break };
            if job.answer.is_closed() {
                self.ledger.note(Occasion::Abandoned, 1, job.cost(), job.submitted.elapsed());
                continue;
            }
            cost += job.cost();
            if !batch.is_empty() && cost > self.limits.max_cost {
                self.again.push_front(job);
                break;
            }
            if job.taken.is_none() {
                job.taken = Some(Instant::now());
                self.ledger.note(Occasion::Waited, 1, job.cost(), job.submitted.elapsed());
            }
            batch.push(job);
        }
        batch
    }

    fn admit(&mut self, mut batch: Vec<Job<M>>) {
        if batch.is_empty() {
            return;
        }
        let first = self.next_ticket;
        self.next_ticket += batch.len() as Ticket;
        let tickets = (first..).zip(batch.iter().map(|job| job.request.clone())).collect();
        let started = Instant::now();
        match guarded(|| self.model.admit(tickets)) {
            Ok(()) => {
                let cost = batch.iter().map(Job::cost).sum();
                self.ledger.note(Occasion::Encoded, batch.len(), cost, started.elapsed());
                self.under_way.extend((first..).zip(batch));
            }
            Err(Failure::Panic) => {
                // What it left behind is not known: all begin anew, whoever came last in a smaller batch.
                self.model.reset();
                let mut jobs: Vec<(Ticket, Job<M>)> = self.under_way.drain().collect();
                jobs.sort_by_key(|(ticket, _)| *ticket);
                if let [_] = batch.as_slice() {
                    batch.drain(..).for_each(|job| self.fail(job, panicked()));
                } else {
                    self.shrink(batch.len());
                }
                batch.into_iter().rev().for_each(|job| self.again.push_front(job));
                jobs.into_iter().rev().for_each(|(_, job)| self.again.push_front(job));
            }
            Err(Failure::Error(ModelError::OutOfMemory(reason))) if batch.len() + self.under_way.len() > 1 => {
                self.halve(&reason, batch.len() + self.under_way.len());
                batch.into_iter().rev().for_each(|job| self.again.push_front(job));
            }
            Err(Failure::Error(error)) if batch.len() > 1 => {
                tracing::warn!(%error, rows = batch.len(), "a batch was refused; its requests go in one by one");
                for job in batch {
                    self.admit(vec![job]);
                }
            }
            Err(Failure::Error(error)) => batch.drain(..).for_each(|job| self.fail(job, error.clone())),
        }
    }

    fn step(&mut self) {
        let gone: Vec<Ticket> =
            self.under_way.iter().filter(|(_, job)| job.answer.is_closed()).map(|(ticket, _)| *ticket).collect();
        let rows = self.under_way.len() - gone.len();
        let started = Instant::now();
        let outcome = guarded(|| {
            gone.iter().try_for_each(|ticket| self.model.withdraw(*ticket))?;
            if rows == 0 { Ok(Vec::new()) } else { self.model.step() }
        });
        for job in gone.iter().filter_map(|ticket| self.under_way.remove(ticket)) {
            self.ledger.note(Occasion::Abandoned, 1, job.cost(), job.under_way());
        }
        match outcome {
            Ok(answers) => {
                if rows > 0 {
                    self.ledger.note(Occasion::Stepped, rows, 0, started.elapsed());
                }
                self.answer(answers);
            }
            Err(Failure::Error(error)) => self.start_over(&error),
            Err(Failure::Panic) => self.start_over(&panicked()),
        }
    }

    fn answer(&mut self, answers: Answers<M::Answer>) {
        for (ticket, answer) in answers {
            let Some(job) = self.under_way.remove(&ticket) else { continue };
            match answer {
                Ok(answer) => {
                    self.doubt = false;
                    self.ledger.note(Occasion::Answered, 1, job.cost(), job.under_way());
                    drop(job.answer.send(Ok(answer))); // The caller may have left meanwhile.
                }
                Err(error) => self.fail(job, error),
            }
        }
        self.steady += 1;
        if self.rows < self.limits.max_rows && self.steady >= STEPS_TO_GROW {
            self.rows += 1;
            self.room = self.room.max(self.rows);
            self.steady = 0;
        }
    }

    /// A step failed: whoever was under way begins anew, in a smaller batch; who was alone has failed.
    fn start_over(&mut self, error: &ModelError) {
        self.model.reset();
        let mut jobs: Vec<(Ticket, Job<M>)> = self.under_way.drain().collect();
        jobs.sort_by_key(|(ticket, _)| *ticket);
        if jobs.len() < 2 {
            jobs.drain(..).for_each(|(_, job)| self.fail(job, error.clone()));
            if !matches!(error, ModelError::OutOfMemory(_)) && self.room == self.limits.max_rows.max(1) {
                // The culprit is found, and memory was never short: batches may be whole again.
                self.rows = self.room;
            }
            return;
        }
        match error {
            ModelError::OutOfMemory(reason) => self.halve(reason, jobs.len()),
            error => {
                tracing::warn!(%error, rows = jobs.len(), "a step failed; its requests begin anew in a smaller batch");
                self.shrink(jobs.len());
            }
        }
        jobs.into_iter().rev().for_each(|(_, job)| self.again.push_front(job));
    }

    fn halve(&mut self, reason: &str, rows: usize) {
        self.shrink(rows);
        self.room = self.rows;
        self.ledger.note(Occasion::Halved, rows, 0, Duration::ZERO);
        tracing::warn!(reason, rows, now = self.rows, "the device is out of memory; going on with smaller batches");
    }

    fn shrink(&mut self, rows: usize) {
        self.rows = (rows / 2).clamp(1, self.rows);
        self.steady = 0;
    }

    fn fail(&mut self, job: Job<M>, error: ModelError) {
        self.doubt |= error.casts_doubt();
        self.ledger.note(Occasion::Failed, 1, job.cost(), job.under_way());
        job.answer.send(Err(error)).ok(); // The caller may have left meanwhile.
    }
}

/// Why the model did not do what it was asked.
enum Failure {
    Error(ModelError),
    Panic,
}

fn panicked() -> ModelError {
    ModelError::Compute("the model panicked".to_owned())
}

/// Runs the model; a panic is told apart, so that one bad request does not take the thread with it.
fn guarded<T>(work: impl FnOnce() -> Result<T, ModelError>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(Failure::Error),
        Err(_) => Err(Failure::Panic),
    }
}
