//! Jobs of silent consumers, and who may take them over.

use std::time::Duration;

#[cfg(doc)]
use super::Bus;
use super::{Delivery, EntryId};

/// What [`Bus::take_over`] may take.
#[derive(Debug, Clone, Copy)]
pub struct TakeOver<'a> {
    /// Stream of jobs.
    pub stream: &'a str,
    /// Group that shares them.
    pub group: &'a str,
    /// Who takes them.
    pub consumer: &'a str,
    /// How long their holders must have been silent.
    pub min_idle: Duration,
    /// Most jobs taken.
    pub count: usize,
    /// Of which jobs there may not be many; `None`: all are alike.
    pub suspects: Option<Suspects>,
    /// How lately the caller must have been answered; `None`: that does not matter.
    pub steady: Option<Steady>,
}

/// Jobs that may be what kills their consumers.
#[derive(Debug, Clone, Copy)]
pub struct Suspects {
    /// Those that would be delivered for the so manieth time now.
    pub deliveries: u32,
    /// Most of them taken; others are left as they are, and do not hide what is behind them.
    pub most: usize,
}

/// A bus that stood still was deaf, and silence on it is nobody's fault: nothing is taken when the last answer is longer ago than
/// this. Counted on the bus, it holds for a request that lay there all the while, and for one that nobody waits for any more.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    /// [`Reclaimed::at`] of the last answer; zero before the first.
    pub answered: Duration,
    /// Longest time since then.
    pub within: Duration,
}

/// What [`Bus::reclaim`] or [`Bus::take_over`] took over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Jobs that now belong to the caller.
    pub deliveries: Vec<Delivery>,
    /// Pending jobs whose entry was deleted from the stream: lost, which must never happen and is worth an alarm.
    pub lost: Vec<EntryId>,
    /// When, on the bus's clock: since the Unix epoch.
    pub at: Duration,
}
