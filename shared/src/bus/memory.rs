//! The bus inside one process: the semantics of Redis Streams, without persistence.
//!
//! One mutex guards all of it; it is held for single steps, never over an await. Readers sleep until an entry
//! arrives. Streams of jobs are as long as what is produced and not yet acknowledged and trimmed.

mod limits;
mod state;
mod stream;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use self::state::State;
use super::{
    Admission, Admit, Bus, BusError, Delivery, Depth, Effects, Entry, EntryId, Finished, GroupReader, Guard, Held,
    Mail, MailboxReader, Member, Produce, Publish, Reclaimed, StateWrite, TakeOver, Usage,
};

/// Longest wait of a reader, for durations too long for the clock.
const LONGEST_BLOCK: Duration = Duration::from_secs(86_400);

/// A [`Bus`] for one process. Clones are the same bus.
#[derive(Clone)]
pub struct MemoryBus {
    state: Arc<Mutex<State>>,
}

impl MemoryBus {
    /// An empty bus.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State::new())) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A step that panicked is over; what it left is still a valid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBus {
    /// Sizes only: payloads hold what people said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (streams, mailboxes, values) = self.state().sizes();
        let mut debug = f.debug_struct("MemoryBus");
        debug.field("streams", &streams).field("mailboxes", &mailboxes).field("values", &values).finish()
    }
}

#[async_trait]
impl Bus for MemoryBus {
    fn outlives_process(&self) -> bool {
        false
    }

    async fn ping(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn append_if(
        &self,
        stream: &str,
        payload: Bytes,
        ttl: Duration,
        guard: Option<&Guard>,
        _token: u64,
    ) -> Result<Option<EntryId>, BusError> {
        let mut state = self.state();
        Ok(state.holds(guard).then(|| state.append(stream, payload, Some(ttl))))
    }

    async fn range(&self, stream: &str, after: EntryId, last: EntryId, count: usize) -> Result<Vec<Entry>, BusError> {
        Ok(self.state().stream(stream).map_or_else(Vec::new, |stream| stream.range(after, last, count)))
    }

    async fn produce(&self, job: Produce) -> Result<Option<EntryId>, BusError> {
        Ok(self.state().produce(job))
    }

    async fn group_reader(&self, stream: &str, group: &str, consumer: &str) -> Result<Box<dyn GroupReader>, BusError> {
        let reader = MemoryGroupReader {
            bus: self.clone(),
            stream: stream.into(),
            group: group.into(),
            consumer: consumer.into(),
        };
        self.state().open(stream).create_group(&reader.group);
        Ok(Box::new(reader))
    }

    async fn take_over(&self, wanted: &TakeOver<'_>) -> Result<Reclaimed, BusError> {
        let mut state = self.state();
        let at = Duration::from_millis(state.now_ms());
        let is_steady = wanted.steady.is_none_or(|steady| at.abs_diff(steady.answered) <= steady.within);
        let found = state.stream_mut(wanted.stream).filter(|_| is_steady);
        let Some(found) = found else { return Ok(Reclaimed { at, ..Reclaimed::default() }) };
        let (claimed, lost) = found.take_over(wanted);
        let (stream, group): (Arc<str>, Arc<str>) = (wanted.stream.into(), wanted.group.into());
        let delivery = |claimed: stream::Claimed| Delivery {
            stream: stream.clone(),
            group: group.clone(),
            id: claimed.entry.id,
            payload: claimed.entry.payload,
            deliveries: claimed.deliveries,
        };
        Ok(Reclaimed { deliveries: claimed.into_iter().map(delivery).collect(), lost, at })
    }

    async fn renew_lease(&self, stream: &str, group: &str, consumer: &str, ids: &[EntryId]) -> Result<(), BusError> {
        if let Some(stream) = self.state().stream_mut(stream) {
            stream.renew(group, consumer, ids);
        }
        Ok(())
    }

    async fn hand_back(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        jobs: &[(EntryId, u32)],
    ) -> Result<(), BusError> {
        if let Some(stream) = self.state().stream_mut(stream) {
            stream.hand_back(group, consumer, jobs);
        }
        Ok(())
    }

    async fn resign(&self, stream: &str, group: &str, consumer: &str) -> Result<u64, BusError> {
        Ok(self.state().stream_mut(stream).map_or(0, |stream| stream.resign(group, consumer) as u64))
    }

    async fn finish(&self, job: &Delivery, effects: Effects) -> Result<Finished, BusError> {
        Ok(self.state().finish(job, effects))
    }

    async fn commit(&self, effects: Effects) -> Result<bool, BusError> {
        Ok(self.state().commit(effects))
    }

    async fn publish(&self, event: Publish) -> Result<EntryId, BusError> {
        Ok(self.state().publish(event))
    }

    async fn depth(&self, stream: &str, group: &str) -> Result<Depth, BusError> {
        Ok(self.state().depth(stream, group))
    }

    async fn expire(&self, stream: &str, group: &str, age: Duration) -> Result<u64, BusError> {
        Ok(self.state().expire(stream, group, age))
    }

    async fn members(&self, stream: &str, group: &str) -> Result<Vec<Member>, BusError> {
        Ok(self.state().stream(stream).map_or_else(Vec::new, |stream| stream.members(group)))
    }

    async fn usage(&self) -> Result<Option<Usage>, BusError> {
        Ok(None)
    }

    async fn trim_acknowledged(&self, stream: &str) -> Result<u64, BusError> {
        Ok(self.state().stream_mut(stream).map_or(0, |stream| stream.trim_acknowledged() as u64))
    }

    async fn route(&self, stream: &str, mailbox: &str, ttl: Duration) -> Result<(), BusError> {
        self.state().route(stream, mailbox, ttl);
        Ok(())
    }

    async fn mailbox(&self, mailbox: &str) -> Result<Box<dyn MailboxReader>, BusError> {
        let last = self.state().last_mail(mailbox);
        Ok(Box::new(MemoryMailboxReader { bus: self.clone(), mailbox: mailbox.to_owned(), last }))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BusError> {
        Ok(self.state().get(key))
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, BusError> {
        Ok(self.state().take(key))
    }

    async fn set(&self, write: StateWrite) -> Result<(), BusError> {
        self.state().set(write);
        Ok(())
    }

    async fn admit(&self, wanted: &Admit) -> Result<Admission, BusError> {
        Ok(self.state().limits(|limits, now| limits.admit(wanted, now)))
    }

    async fn hold(&self, held: &Held, to: &str, lease: Duration) -> Result<Option<Admission>, BusError> {
        Ok(self.state().limits(|limits, now| limits.hold(held, to, now, lease)))
    }

    async fn leave(&self, held: &Held) -> Result<(), BusError> {
        self.state().limits(|limits, _| limits.leave(held));
        Ok(())
    }

    async fn holders(&self, key: &str) -> Result<Vec<String>, BusError> {
        Ok(self.state().limits(|limits, now| limits.holders(key, now)))
    }

    async fn count(&self, key: &str, more: u64, ttl: Duration) -> Result<u64, BusError> {
        Ok(self.state().limits(|limits, now| limits.count(key, more, now, ttl)))
    }

    async fn remove(&self, keys: &[String]) -> Result<(), BusError> {
        let mut state = self.state();
        keys.iter().for_each(|key| state.remove(key));
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryGroupReader {
    bus: MemoryBus,
    stream: Arc<str>,
    group: Arc<str>,
    consumer: Arc<str>,
}

#[async_trait]
impl GroupReader for MemoryGroupReader {
    async fn next(&mut self, count: usize, block: Duration) -> Result<Vec<Delivery>, BusError> {
        let deadline = Instant::now() + block.min(LONGEST_BLOCK);
        loop {
            // Made before the lock is let go, so an entry that arrives in between wakes it.
            let arrival = {
                let mut state = self.bus.state();
                let stream = state.open(&self.stream);
                let entries = stream.take(&self.group, &self.consumer, count.max(1), Instant::now());
                if !entries.is_empty() {
                    return Ok(entries.into_iter().map(|entry| self.delivery(entry)).collect());
                }
                stream.arrived.clone().notified_owned()
            };
            if timeout_at(deadline, arrival).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
}

impl MemoryGroupReader {
    fn delivery(&self, entry: Entry) -> Delivery {
        let (stream, group) = (self.stream.clone(), self.group.clone());
        Delivery { stream, group, id: entry.id, payload: entry.payload, deliveries: 1 }
    }
}

#[derive(Debug)]
struct MemoryMailboxReader {
    bus: MemoryBus,
    mailbox: String,
    last: EntryId,
}

#[async_trait]
impl MailboxReader for MemoryMailboxReader {
    async fn next(&mut self, block: Duration) -> Result<Vec<Mail>, BusError> {
        let deadline = Instant::now() + block.min(LONGEST_BLOCK);
        loop {
            let arrival = {
                let (mails, arrived) = self.bus.state().mails(&self.mailbox, self.last);
                if let Some(newest) = mails.last() {
                    self.last = newest.id;
                    return Ok(mails);
                }
                arrived.notified_owned()
            };
            if timeout_at(deadline, arrival).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }
}
