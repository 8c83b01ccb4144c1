//! All that the in-process bus holds. Every method is one atomic step, taken under the bus's lock.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::{limits::Limits, stream::Stream};
use crate::bus::{
    Delivery, Depth, Effects, Entry, EntryId, Finished, Guard, IDEMPOTENCY_TTL, Mail, Produce, Publish, StateWrite,
};

/// Events a mailbox keeps; the oldest goes when another comes.
const MAILBOX_EVENTS: usize = 10_000;
/// Expired things are looked for at most this often, and only when something is written.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

pub(super) struct State {
    started: Instant,
    started_ms: u64,
    swept: Instant,
    /// Newest id of all streams, so that a stream that comes after a removed one of its name goes on above it.
    last_id: EntryId,
    streams: HashMap<String, Stream>,
    mailboxes: HashMap<String, Mailbox>,
    values: Expiring<Bytes>,
    routes: Expiring<String>,
    seen: Expiring<()>,
    limits: Limits,
}

/// When a thing goes away; never, when `None`.
type Expiry = Option<Instant>;
type Expiring<V> = HashMap<String, (V, Expiry)>;

#[derive(Default)]
struct Mailbox {
    mails: VecDeque<Mail>,
    arrived: Arc<Notify>,
    expires: Expiry,
}

impl Drop for Mailbox {
    /// Whoever waits on this mailbox must look for the one that takes its place.
    fn drop(&mut self) {
        self.arrived.notify_waiters();
    }
}

fn is_over(expiry: Expiry) -> bool {
    expiry.is_some_and(|expiry| expiry <= Instant::now())
}

fn in_time(ttl: Duration) -> Expiry {
    Instant::now().checked_add(ttl)
}

fn live<'a, V>(map: &'a Expiring<V>, key: &str) -> Option<&'a V> {
    map.get(key).filter(|(_, expiry)| !is_over(*expiry)).map(|(value, _)| value)
}

impl State {
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            swept: Instant::now(),
            last_id: EntryId::START,
            streams: HashMap::new(),
            mailboxes: HashMap::new(),
            values: HashMap::new(),
            routes: HashMap::new(),
            seen: HashMap::new(),
            limits: Limits::default(),
        }
    }

    /// Streams, mailboxes and state keys held, expired ones not yet swept included.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.streams.len(), self.mailboxes.len(), self.values.len())
    }

    /// Microseconds since the Unix epoch.
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        (self.started_ms * 1000).saturating_add(elapsed)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now() / 1000
    }

    fn next_id(&mut self) -> EntryId {
        let now = EntryId { ms: self.now_ms(), seq: 0 };
        let next = EntryId { ms: self.last_id.ms, seq: self.last_id.seq + 1 };
        self.last_id = now.max(next);
        self.last_id
    }

    pub(super) fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(name).filter(|stream| !is_over(stream.expires))
    }

    pub(super) fn stream_mut(&mut self, name: &str) -> Option<&mut Stream> {
        self.streams.get_mut(name).filter(|stream| !is_over(stream.expires))
    }

    /// The stream of that name, created when it is absent.
    pub(super) fn open(&mut self, name: &str) -> &mut Stream {
        if self.stream(name).is_none() {
            self.streams.insert(name.to_owned(), Stream::default());
        }
        self.streams.entry(name.to_owned()).or_default()
    }

    pub(super) fn append(&mut self, name: &str, payload: Bytes, ttl: Option<Duration>) -> EntryId {
        self.sweep();
        let id = self.next_id();
        let stream = self.open(name);
        if let Some(ttl) = ttl {
            stream.expires = in_time(ttl);
        }
        stream.push(Entry { id, payload });
        id
    }

    pub(super) fn publish(&mut self, event: Publish) -> EntryId {
        let entry = self.append(&event.stream, event.payload.clone(), Some(event.ttl));
        let oldest = self.now_ms().saturating_sub(u64::try_from(event.ttl.as_millis()).unwrap_or(u64::MAX));
        self.open(&event.stream).forget_before(oldest);
        if let Some(mailbox) = live(&self.routes, &event.stream).cloned() {
            let id = self.next_id();
            let mailbox = self.open_mailbox(&mailbox);
            mailbox.expires = in_time(event.ttl);
            if mailbox.mails.len() == MAILBOX_EVENTS {
                mailbox.mails.pop_front();
            }
            mailbox.mails.push_back(Mail { id, stream: event.stream, entry, payload: event.payload });
            mailbox.arrived.notify_waiters();
        }
        entry
    }

    pub(super) fn produce(&mut self, job: Produce) -> Option<EntryId> {
        if live(&self.seen, &job.idempotency_key).is_some() {
            return None;
        }
        self.seen.insert(job.idempotency_key, ((), in_time(IDEMPOTENCY_TTL)));
        let id = self.append(&job.stream, job.payload, None);
        if let Some(write) = job.set {
            self.set(write);
        }
        Some(id)
    }

    pub(super) fn holds(&self, guard: Option<&Guard>) -> bool {
        guard.is_none_or(|guard| live(&self.values, &guard.key) == guard.expected.as_ref())
    }

    pub(super) fn finish(&mut self, job: &Delivery, effects: Effects) -> Finished {
        if !self.holds(effects.guard.as_ref()) {
            return Finished::GuardFailed;
        }
        let acknowledged = self.stream_mut(&job.stream).is_some_and(|stream| stream.acknowledge(&job.group, job.id));
        if !acknowledged {
            return Finished::LeaseLost;
        }
        self.take_effect(effects);
        Finished::Done
    }

    pub(super) fn commit(&mut self, effects: Effects) -> bool {
        let holds = self.holds(effects.guard.as_ref());
        if holds {
            self.take_effect(effects);
        }
        holds
    }

    fn take_effect(&mut self, effects: Effects) {
        for event in effects.publish {
            self.publish(event);
        }
        for job in effects.produce {
            self.produce(job);
        }
        for write in effects.set {
            self.set(write);
        }
    }

    pub(super) fn depth(&self, stream: &str, group: &str) -> Depth {
        let Some((lag, pending, oldest, unread)) = self.stream(stream).and_then(|stream| stream.depth(group)) else {
            return Depth::default();
        };
        let age =
            |id: Option<EntryId>| Duration::from_millis(self.now_ms().saturating_sub(id.map_or(u64::MAX, |id| id.ms)));
        Depth { lag: lag as u64, pending: pending as u64, oldest_age: age(oldest), waiting: age(unread) }
    }

    pub(super) fn expire(&mut self, stream: &str, group: &str, age: Duration) -> u64 {
        let until_ms = self.now_ms().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self.stream_mut(stream).map_or(0, |stream| stream.expire(group, until_ms, age) as u64)
    }

    pub(super) fn route(&mut self, stream: &str, mailbox: &str, ttl: Duration) {
        self.sweep();
        self.routes.insert(stream.to_owned(), (mailbox.to_owned(), in_time(ttl)));
    }

    fn open_mailbox(&mut self, name: &str) -> &mut Mailbox {
        if self.mailboxes.get(name).is_some_and(|mailbox| is_over(mailbox.expires)) {
            self.mailboxes.remove(name);
        }
        self.mailboxes.entry(name.to_owned()).or_default()
    }

    /// Newest id in a mailbox.
    pub(super) fn last_mail(&mut self, mailbox: &str) -> EntryId {
        self.open_mailbox(mailbox).mails.back().map_or(EntryId::START, |mail| mail.id)
    }

    /// Events of a mailbox after `after`, and what to wait on when there is none.
    pub(super) fn mails(&mut self, mailbox: &str, after: EntryId) -> (Vec<Mail>, Arc<Notify>) {
        let mailbox = self.open_mailbox(mailbox);
        let first = mailbox.mails.partition_point(|mail| mail.id <= after);
        (mailbox.mails.range(first..).cloned().collect(), mailbox.arrived.clone())
    }

    pub(super) fn get(&self, key: &str) -> Option<Bytes> {
        live(&self.values, key).cloned()
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Bytes> {
        let (value, expiry) = self.values.remove(key)?;
        (!is_over(expiry)).then_some(value)
    }

    pub(super) fn set(&mut self, write: StateWrite) {
        self.sweep();
        self.values.insert(write.key, (write.value, in_time(write.ttl)));
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.streams.remove(key);
        self.mailboxes.remove(key);
        self.values.remove(key);
    }

    /// One step on the shared limits, at the present time in microseconds.
    pub(super) fn limits<T>(&mut self, step: impl FnOnce(&mut Limits, u64) -> T) -> T {
        self.sweep();
        let now = self.now();
        step(&mut self.limits, now)
    }

    /// Frees what expired.
    fn sweep(&mut self) {
        if self.swept.elapsed() < SWEEP_EVERY {
            return;
        }
        self.swept = Instant::now();
        self.streams.retain(|_, stream| !is_over(stream.expires));
        self.mailboxes.retain(|_, mailbox| !is_over(mailbox.expires));
        self.values.retain(|_, (_, expiry)| !is_over(*expiry));
        self.routes.retain(|_, (_, expiry)| !is_over(*expiry));
        self.seen.retain(|_, (_, expiry)| !is_over(*expiry));
        let now = self.now();
        self.limits.sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn event(n: usize) -> Publish {
        Publish { stream: "events".into(), payload: Bytes::from(n.to_string()), ttl: TTL }
    }

    #[tokio::test(start_paused = true)]
    async fn what_expired_is_freed_by_a_later_write() {
        let mut state = State::new();
        state.route("events", "box", TTL);
        state.publish(event(0));
        state.set(StateWrite { key: "key".into(), value: Bytes::new(), ttl: TTL });
        let job = Produce { stream: "jobs".into(), idempotency_key: "1".into(), payload: Bytes::new(), set: None };
        state.produce(job);
        assert_eq!(state.sizes(), (2, 1, 1));
        advance(IDEMPOTENCY_TTL).await;
        assert_eq!(state.get("key"), None);
        state.route("other", "box", TTL);
        assert_eq!(state.sizes(), (1, 0, 0), "the stream of jobs has no end");
        assert_eq!((state.routes.len(), state.seen.len()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mailbox_keeps_the_newest_events() {
        let mut state = State::new();
        state.route("events", "box", TTL);
        for n in 0..MAILBOX_EVENTS + 5 {
            state.publish(event(n));
        }
        let (mails, _) = state.mails("box", EntryId::START);
        assert_eq!(mails.len(), MAILBOX_EVENTS);
        assert_eq!(mails[0].payload, "5");
    }

    #[tokio::test(start_paused = true)]
    async fn ids_go_on_above_those_of_a_removed_stream() {
        let mut state = State::new();
        let before = state.append("audio", Bytes::new(), Some(TTL));
        state.remove("audio");
        assert!(state.append("audio", Bytes::new(), Some(TTL)) > before);
    }
}
