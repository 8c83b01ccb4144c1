//! The bus: durable streams with consumer groups, small state keys and mailboxes.
//!
//! [`Bus`] has two implementations held to one contract (`tests/tests/bus_contract.rs`):
//! - [`RedisBus`]: Redis Streams, version 7.0 or later; several hosts, survives any process.
//! - [`MemoryBus`]: the same semantics inside one process, without persistence.
//!
//! Words are those of Redis Streams: a *group* of consumers shares a stream, an entry that was read and not yet
//! acknowledged is *pending*, entries not yet read are *lag*.

mod limits;
mod members;
mod memory;
mod reclaim;
mod redis;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::{
    limits::{Admission, Admit, Bucket, Ceiling, Held, LimitKind, Places},
    members::{Member, Usage},
    memory::MemoryBus,
    reclaim::{Reclaimed, Steady, Suspects, TakeOver},
    redis::{ENV_REDIS_TLS_CA, ENV_REDIS_TLS_CERT, ENV_REDIS_TLS_KEY, ENV_REDIS_URL, RedisBus, RedisSettings},
};

/// How long the bus remembers an idempotency key: longer than any producer goes on retrying.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(600);

/// Id of a stream entry: milliseconds since the Unix epoch on the bus's clock, and a sequence number. Ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// Counts entries of one millisecond.
    pub seq: u64,
}

impl EntryId {
    /// Before every entry.
    pub const START: Self = Self { ms: 0, seq: 0 };
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = BusError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BusError::Protocol(format!("`{text}` is not a stream entry id"));
        let (ms, seq) = text.split_once('-').ok_or_else(bad)?;
        Ok(Self { ms: ms.parse().map_err(|_| bad())?, seq: seq.parse().map_err(|_| bad())? })
    }
}

impl TryFrom<String> for EntryId {
    type Error = BusError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.to_string()
    }
}

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// What was appended.
    pub payload: Bytes,
}

/// An entry that a consumer of a group holds until it finishes it or loses its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Stream it came from.
    pub stream: Arc<str>,
    /// Group it was read for.
    pub group: Arc<str>,
    /// Its id.
    pub id: EntryId,
    /// What was appended.
    pub payload: Bytes,
    /// How often it was delivered, this time included (1 on the first read).
    pub deliveries: u32,
}

/// A job to append, at most once for each idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produce {
    /// Stream to append to.
    pub stream: String,
    /// The same key within [`IDEMPOTENCY_TTL`] appends nothing, so a retry after a lost reply is safe.
    pub idempotency_key: String,
    /// What to append.
    pub payload: Bytes,
    /// State to write in the same step (not written when the key was seen before).
    pub set: Option<StateWrite>,
}

/// A state key to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Key.
    pub key: String,
    /// Value.
    pub value: Bytes,
    /// Time to live from now.
    pub ttl: Duration,
}

/// What must hold for [`Bus::finish`], [`Bus::commit`] or [`Bus::append_if`] to do anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// State key.
    pub key: String,
    /// The value it must have (`None`: it must be absent).
    pub expected: Option<Bytes>,
}

/// What [`Bus::finish`] (besides acknowledging the job) and [`Bus::commit`] do in one atomic step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Nothing at all happens (no acknowledgement either) unless this holds.
    pub guard: Option<Guard>,
    /// Entries to append to event streams, each copied to the mailbox its stream is routed to.
    pub publish: Vec<Publish>,
    /// Jobs to append.
    pub produce: Vec<Produce>,
    /// State to write.
    pub set: Vec<StateWrite>,
}

/// An event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Event stream.
    pub stream: String,
    /// Event.
    pub payload: Bytes,
    /// Time to live of this event and, from now on, of the whole stream: a stream keeps what was published within it.
    pub ttl: Duration,
}

/// What became of [`Bus::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Acknowledged, and all effects took place.
    Done,
    /// Somebody else finished this job; nothing happened.
    LeaseLost,
    /// The guard did not hold; nothing happened and the job is still pending.
    GuardFailed,
}

/// How much waits in a stream for a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries not read yet.
    pub lag: u64,
    /// Entries read and not acknowledged.
    pub pending: u64,
    /// Age of the oldest of either; zero when there is none.
    pub oldest_age: Duration,
    /// Age of the oldest entry not read yet: how long what comes now has to wait. Zero when all are read.
    pub waiting: Duration,
}

/// A copy of an event in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Id within the mailbox, to go on reading from.
    pub id: EntryId,
    /// Event stream it was published to.
    pub stream: String,
    /// Id within that stream.
    pub entry: EntryId,
    /// Event.
    pub payload: Bytes,
}

/// What can go wrong on the bus.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// The URL cannot be used.
    #[error("REDIS_URL `{url}` cannot be used: {reason}")]
    Url {
        /// The URL without its password.
        url: String,
        /// Why.
        reason: String,
    },
    /// Redis cannot be reached or broke off.
    #[error("Redis at {url} cannot be reached: {reason}")]
    Unreachable {
        /// The URL without its password.
        url: String,
        /// Why.
        reason: String,
    },
    /// Redis is too old.
    #[error("Redis at {url} is version {version}; Subtide needs 7.0 or later")]
    TooOld {
        /// The URL without its password.
        url: String,
        /// Version found.
        version: String,
    },
    /// Redis is full (`maxmemory`, policy `noeviction`).
    #[error("Redis is out of memory; raise maxmemory or reduce the load")]
    OutOfMemory,
    /// A reply that cannot be.
    #[error("unexpected reply from the bus: {0}")]
    Protocol(String),
}

impl BusError {
    /// Whether trying again later can help.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::OutOfMemory)
    }
}

/// Durable streams with consumer groups. All methods are safe to retry after [`BusError::Unreachable`].
///
/// No method is cancel-safe in the sense that a cancelled call did nothing: it may have happened. Each is written so
/// that calling it again is harmless ([`Bus::append`] excepted: a repeated append appends twice).
#[async_trait]
pub trait Bus: fmt::Debug + Send + Sync {
    /// Whether the bus answers.
    async fn ping(&self) -> Result<(), BusError>;

    /// Whether what is on the bus survives this process, so that another can go on with it.
    fn outlives_process(&self) -> bool;

    /// Appends `payload` to `stream` and lets the stream live for `ttl` from now. For audio: one producer a stream.
    async fn append(&self, stream: &str, payload: Bytes, ttl: Duration) -> Result<EntryId, BusError> {
        let appended = self.append_if(stream, payload, ttl, None, rand::random()).await?;
        appended.ok_or_else(|| BusError::Protocol("nothing was appended, and nothing stood against it".to_owned()))
    }

    /// As [`Bus::append`], if `guard` holds; `None`, and nothing happened, when it does not. Repeated with the same `token`
    /// while nothing else was appended, it appends once.
    async fn append_if(
        &self,
        stream: &str,
        payload: Bytes,
        ttl: Duration,
        guard: Option<&Guard>,
        token: u64,
    ) -> Result<Option<EntryId>, BusError>;

    /// Entries of `stream` after `after` (exclusive) up to and including `last`, oldest first, at most `count`.
    /// An absent stream is an empty one.
    async fn range(&self, stream: &str, after: EntryId, last: EntryId, count: usize) -> Result<Vec<Entry>, BusError>;

    /// Appends a job unless its idempotency key was seen; `None` when it was.
    async fn produce(&self, job: Produce) -> Result<Option<EntryId>, BusError>;

    /// A reader of `stream` for `group` under the name `consumer`, with a connection of its own. Creates stream and
    /// group (from the first entry) when absent.
    async fn group_reader(&self, stream: &str, group: &str, consumer: &str) -> Result<Box<dyn GroupReader>, BusError>;

    /// Takes over, for `consumer`, at most `count` pending jobs whose holder was silent for `min_idle`.
    async fn reclaim(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        min_idle: Duration,
        count: usize,
    ) -> Result<Reclaimed, BusError> {
        self.take_over(&TakeOver { stream, group, consumer, min_idle, count, suspects: None, steady: None }).await
    }

    /// As [`Bus::reclaim`], with more conditions.
    async fn take_over(&self, wanted: &TakeOver<'_>) -> Result<Reclaimed, BusError>;

    /// Renews the lease of jobs that `consumer` holds. Jobs it no longer holds are left alone.
    async fn renew_lease(&self, stream: &str, group: &str, consumer: &str, ids: &[EntryId]) -> Result<(), BusError>;

    /// Lets go of jobs that `consumer` holds: whoever reclaims next takes them at once, and this delivery does not count.
    /// Beside each stands how often it had been delivered before. Jobs it no longer holds are left alone.
    async fn hand_back(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        jobs: &[(EntryId, u32)],
    ) -> Result<(), BusError>;

    /// `consumer` stops for good: whoever reclaims next takes at once what it still holds, and where that is nothing the
    /// group forgets it. Says how many jobs it held.
    async fn resign(&self, stream: &str, group: &str, consumer: &str) -> Result<u64, BusError>;

    /// Acknowledges a job and, only if this call was the one that acknowledged it, carries out `effects`; one atomic
    /// step.
    async fn finish(&self, job: &Delivery, effects: Effects) -> Result<Finished, BusError>;

    /// Carries out `effects` in one atomic step; `false`, and nothing happened, when their guard does not hold. After a
    /// lost reply the events of `publish` may be there twice.
    async fn commit(&self, effects: Effects) -> Result<bool, BusError>;

    /// Publishes one event outside of any job (the gateway's own), copied to its mailbox like those of [`Effects`].
    async fn publish(&self, event: Publish) -> Result<EntryId, BusError>;

    /// How much waits in `stream` for `group`. An absent stream or group has depth zero.
    async fn depth(&self, stream: &str, group: &str) -> Result<Depth, BusError>;

    /// Takes the jobs out of `stream`, for `group`, that are older than `age` on the bus's clock and that nobody is at work on:
    /// those not read yet, and those of consumers that were silent for as long. Nobody is given them any more, and whoever
    /// finishes one has lost its lease. Says how many it was; what is beyond a thousand of either waits for the next call.
    async fn expire(&self, stream: &str, group: &str, age: Duration) -> Result<u64, BusError>;

    /// Who reads `stream` for `group`, in the order of their names. An absent stream or group has nobody.
    async fn members(&self, stream: &str, group: &str) -> Result<Vec<Member>, BusError>;

    /// Memory of the bus; `None` where it is only a part of this process.
    async fn usage(&self) -> Result<Option<Usage>, BusError>;

    /// Removes the entries that every group of `stream` has read and acknowledged; says how many. Unacknowledged and
    /// unread entries stay, whatever their age.
    async fn trim_acknowledged(&self, stream: &str) -> Result<u64, BusError>;

    /// From now on, for `ttl`, events published to `stream` are copied to `mailbox`. A later route replaces it.
    async fn route(&self, stream: &str, mailbox: &str, ttl: Duration) -> Result<(), BusError>;

    /// A reader of `mailbox`, starting after what it holds now, with a connection of its own. A mailbox keeps about
    /// the newest 10,000 events; a reader that falls further behind must replay the event streams.
    async fn mailbox(&self, mailbox: &str) -> Result<Box<dyn MailboxReader>, BusError>;

    /// Value of a state key.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BusError>;

    /// Value of a state key, which is removed in the same step: of all who ask for it, one gets it.
    async fn take(&self, key: &str) -> Result<Option<Bytes>, BusError>;

    /// Writes a state key.
    async fn set(&self, write: StateWrite) -> Result<(), BusError>;

    /// Takes one out of each bucket and a place in each set, all or nothing, in one atomic step. After a lost reply it may
    /// have happened; what was taken then comes back by itself.
    async fn admit(&self, wanted: &Admit) -> Result<Admission, BusError>;

    /// Renews the lease of places under the name `to`. Where `held` bears another name, that one's places are given up for
    /// those of `to`: those it has already, or else these. `None`, and nothing happened: somebody else holds them under the
    /// same name. Places whose lease has ended are taken again; only a new name can be refused.
    async fn hold(&self, held: &Held, to: &str, lease: Duration) -> Result<Option<Admission>, BusError>;

    /// Gives up places, unless somebody else holds them under the same name by now.
    async fn leave(&self, held: &Held) -> Result<(), BusError>;

    /// Who holds places in a set, in no order.
    async fn holders(&self, key: &str) -> Result<Vec<String>, BusError>;

    /// Adds `more` to a counter that lives for `ttl` from now, and says the sum. After a lost reply it may be added twice.
    async fn count(&self, key: &str, more: u64, ttl: Duration) -> Result<u64, BusError>;

    /// Removes streams and state keys; absent ones are no error.
    async fn remove(&self, keys: &[String]) -> Result<(), BusError>;
}

/// Reads jobs for one consumer of a group.
#[async_trait]
pub trait GroupReader: fmt::Debug + Send {
    /// Up to `count` jobs nobody was given yet, waiting up to `block` for the first; empty when none came.
    /// On an error the reader reconnects at the next call. Not cancel-safe: a job delivered to a cancelled call stays
    /// pending until it is reclaimed.
    async fn next(&mut self, count: usize, block: Duration) -> Result<Vec<Delivery>, BusError>;
}

/// Reads one mailbox.
#[async_trait]
pub trait MailboxReader: fmt::Debug + Send {
    /// The next events, waiting up to `block` for the first; empty when none came. Cancel-safe: an event not
    /// returned is returned by the next call.
    async fn next(&mut self, block: Duration) -> Result<Vec<Mail>, BusError>;
}
