//! What happens on a model thread, as it happens: for whoever measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Counters;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A request came out of the queue; it had waited there.
    Waited,
    /// Requests were taken in together: encoded, and their forced tokens run.
    Encoded,
    /// Requests moved on together by one step.
    Stepped,
    /// A request was answered; the time is from the moment it was taken in.
    Answered,
    /// A request was answered with an error; the time is likewise.
    Failed,
    /// A request was dropped because nobody waited for its answer any more.
    Abandoned,
    /// The device ran out of memory, and the batch was halved.
    Halved,
}

impl Occasion {
    /// A word for it, for those who do not know this type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waited => "waited",
            Self::Encoded => "encoded",
            Self::Stepped => "stepped",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Halved => "halved",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// What.
    pub occasion: Occasion,
    /// To how many requests.
    pub rows: usize,
    /// What they weigh together, in the model's unit (samples of audio, bytes of text).
    pub cost: usize,
    /// How long it took.
    pub time: Duration,
}

/// Hears of every [`Observation`], on the model's thread: it must be quick, and must not wait.
pub type Observer = Arc<dyn Fn(Observation) + Send + Sync>;

/// For those who do not want to know.
#[must_use]
pub fn unobserved() -> Observer {
    Arc::new(|_| ())
}

/// Where a model thread writes down what it does.
pub(super) struct Ledger {
    counters: Arc<Counters>,
    observer: Observer,
}

impl Ledger {
    pub(super) fn new(counters: Arc<Counters>, observer: Observer) -> Self {
        Self { counters, observer }
    }

    /// Counts, and tells the observer.
    pub(super) fn note(&self, occasion: Occasion, rows: usize, cost: usize, time: Duration) {
        let Counters { batches, rows: taken, steps, stepped_rows, abandoned, failed, halved, .. } = &*self.counters;
        match occasion {
            Occasion::Encoded => {
                add(batches, 1);
                add(taken, rows);
            }
            Occasion::Stepped => {
                add(steps, 1);
                add(stepped_rows, rows);
            }
            Occasion::Failed => add(failed, rows),
            Occasion::Abandoned => add(abandoned, rows),
            Occasion::Halved => add(halved, 1),
            Occasion::Waited | Occasion::Answered => {}
        }
        (self.observer)(Observation { occasion, rows, cost, time });
    }

    /// Time spent computing.
    pub(super) fn worked(&self, time: Duration) {
        add(&self.counters.micros, time.as_micros() as usize);
    }
}

fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}
