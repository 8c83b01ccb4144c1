//! One stream of the in-process bus, with its consumer groups.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::bus::{Entry, EntryId, Member, TakeOver};

/// Entries in the order of their ids. Waiters are woken by each new entry, and when the stream goes away.
#[derive(Default)]
pub(super) struct Stream {
    /// Never, when `None`.
    pub(super) expires: Option<Instant>,
    pub(super) arrived: Arc<Notify>,
    entries: VecDeque<Entry>,
    groups: HashMap<Arc<str>, Group>,
}

/// What the consumers of one group were given.
#[derive(Default)]
struct Group {
    last_delivered: EntryId,
    pending: BTreeMap<EntryId, Lease>,
    /// When each consumer last asked for anything, or renewed a lease.
    seen: BTreeMap<Arc<str>, Instant>,
}

struct Lease {
    consumer: Arc<str>,
    /// `None`: it was let go of, and is anybody's.
    since: Option<Instant>,
    deliveries: u32,
}

impl Lease {
    fn is_idle(&self, now: Instant, min_idle: Duration) -> bool {
        self.since.is_none_or(|since| now.duration_since(since) >= min_idle)
    }
}

/// An entry taken over from another consumer.
pub(super) struct Claimed {
    pub(super) entry: Entry,
    pub(super) deliveries: u32,
}

impl Stream {
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        self.arrived.notify_waiters();
    }

    /// Removes the entries older than `ms`, milliseconds since the Unix epoch.
    pub(super) fn forget_before(&mut self, ms: u64) {
        let keep = self.entries.partition_point(|entry| entry.id.ms < ms);
        self.entries.drain(..keep);
    }

    /// Index of the first entry after `id`.
    fn after(&self, id: EntryId) -> usize {
        self.entries.partition_point(|entry| entry.id <= id)
    }

    fn find(&self, id: EntryId) -> Option<&Entry> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok().and_then(|index| self.entries.get(index))
    }

    pub(super) fn range(&self, after: EntryId, last: EntryId, count: usize) -> Vec<Entry> {
        let entries = self.entries.range(self.after(after)..);
        entries.take_while(|entry| entry.id <= last).take(count).cloned().collect()
    }

    /// Creates `group`, from the first entry, when it is absent.
    pub(super) fn create_group(&mut self, group: &Arc<str>) {
        self.groups.entry(group.clone()).or_default();
    }

    /// Leases up to `count` entries that nobody of `group` was given yet to `consumer`.
    pub(super) fn take(&mut self, group: &Arc<str>, consumer: &Arc<str>, count: usize, now: Instant) -> Vec<Entry> {
        let last = self.groups.get(group).map_or(EntryId::START, |group| group.last_delivered);
        let taken: Vec<Entry> = self.entries.range(self.after(last)..).take(count).cloned().collect();
        let group = self.groups.entry(group.clone()).or_default();
        group.seen.insert(consumer.clone(), now);
        for entry in &taken {
            group.last_delivered = entry.id;
            group.pending.insert(entry.id, Lease { consumer: consumer.clone(), since: Some(now), deliveries: 1 });
        }
        taken
    }

    /// Leases the pending entries that are `wanted` to who wants them. The second list is of those that are gone from the
    /// stream.
    pub(super) fn take_over(&mut self, wanted: &TakeOver<'_>) -> (Vec<Claimed>, Vec<EntryId>) {
        let (now, consumer) = (Instant::now(), Arc::from(wanted.consumer));
        let (suspected, mut suspects) = wanted.suspects.map_or((0, 0), |suspects| (suspects.deliveries, suspects.most));
        let mut is_wanted = |lease: &Lease| {
            let is_suspect = lease.deliveries + 1 == suspected;
            let is_wanted = lease.is_idle(now, wanted.min_idle) && !(is_suspect && suspects == 0);
            suspects -= usize::from(is_wanted && is_suspect);
            is_wanted
        };
        let group = wanted.group;
        let idle: Vec<EntryId> = self.groups.get(group).map_or_else(Vec::new, |group| {
            let idle = group.pending.iter().filter(|(_, lease)| is_wanted(lease));
            idle.map(|(id, _)| *id).take(wanted.count).collect()
        });
        let (found, lost): (Vec<_>, Vec<_>) = idle.into_iter().partition(|id| self.find(*id).is_some());
        let entries: Vec<Entry> = found.into_iter().filter_map(|id| self.find(id).cloned()).collect();
        let Some(group) = self.groups.get_mut(group) else { return (Vec::new(), Vec::new()) };
        group.seen.insert(Arc::clone(&consumer), now);
        for id in &lost {
            group.pending.remove(id);
        }
        let claim = |entry: Entry| {
            let lease = group.pending.get_mut(&entry.id)?;
            let deliveries = lease.deliveries + 1;
            *lease = Lease { consumer: Arc::clone(&consumer), since: Some(now), deliveries };
            Some(Claimed { entry, deliveries: lease.deliveries })
        };
        (entries.into_iter().filter_map(claim).collect(), lost)
    }

    pub(super) fn renew(&mut self, group: &str, consumer: &str, ids: &[EntryId]) {
        let Some(group) = self.groups.get_mut(group) else { return };
        for id in ids {
            if let Some(lease) = group.pending.get_mut(id).filter(|lease| *lease.consumer == *consumer) {
                let now = Instant::now();
                lease.since = Some(now);
                group.seen.insert(Arc::clone(&lease.consumer), now);
            }
        }
    }

    /// Lets go of `jobs`, as far as `consumer` holds them; they then count as delivered as often as stands beside each.
    pub(super) fn hand_back(&mut self, group: &str, consumer: &str, jobs: &[(EntryId, u32)]) {
        let Some(group) = self.groups.get_mut(group) else { return };
        for (id, deliveries) in jobs {
            if let Some(lease) = group.pending.get_mut(id).filter(|lease| *lease.consumer == *consumer) {
                (lease.since, lease.deliveries) = (None, *deliveries);
            }
        }
    }

    /// Lets go of all that `consumer` holds, and of itself where that is nothing; says how much it was.
    pub(super) fn resign(&mut self, group: &str, consumer: &str) -> usize {
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        let mut held = 0;
        for lease in group.pending.values_mut().filter(|lease| *lease.consumer == *consumer) {
            lease.since = None;
            held += 1;
        }
        if held == 0 {
            group.seen.remove(consumer);
        }
        held
    }

    /// Whether this call is the one that acknowledged the entry.
    pub(super) fn acknowledge(&mut self, group: &str, id: EntryId) -> bool {
        self.groups.get_mut(group).is_some_and(|group| group.pending.remove(&id).is_some())
    }

    /// Lag, pending, the oldest id of either and of what is unread; `None` when there is no such group.
    pub(super) fn depth(&self, group: &str) -> Option<(usize, usize, Option<EntryId>, Option<EntryId>)> {
        let group = self.groups.get(group)?;
        let unread = self.after(group.last_delivered);
        let first_unread = self.entries.get(unread).map(|entry| entry.id);
        let oldest = group.pending.keys().next().copied().or(first_unread);
        Some((self.entries.len() - unread, group.pending.len(), oldest, first_unread))
    }

    /// Takes out of `group` what is not younger than `until_ms`, milliseconds since the Unix epoch, and is unread or held by
    /// somebody silent for `age`; says how much it was.
    pub(super) fn expire(&mut self, group: &str, until_ms: u64, age: Duration) -> usize {
        let (now, last) = (Instant::now(), EntryId { ms: until_ms, seq: u64::MAX });
        let old = self.after(last);
        let Some(read) = self.groups.get(group).map(|group| self.after(group.last_delivered)) else { return 0 };
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        let before = group.pending.len();
        group.pending.retain(|id, lease| *id > last || !lease.is_idle(now, age));
        if let Some(newest) = old.checked_sub(1).filter(|_| old > read).and_then(|index| self.entries.get(index)) {
            group.last_delivered = newest.id;
        }
        before - group.pending.len() + old.saturating_sub(read)
    }

    /// Who reads for `group`, by name.
    pub(super) fn members(&self, group: &str) -> Vec<Member> {
        let Some(group) = self.groups.get(group) else { return Vec::new() };
        let held = |name: &str| group.pending.values().filter(|lease| *lease.consumer == *name).count() as u64;
        let member = |(name, seen): (&Arc<str>, &Instant)| Member {
            name: name.to_string(),
            pending: held(name),
            idle: seen.elapsed(),
        };
        group.seen.iter().map(member).collect()
    }

    /// Removes what every group has read and acknowledged; without any group, nothing.
    pub(super) fn trim_acknowledged(&mut self) -> usize {
        let kept_from = |group: &Group| match group.pending.keys().next() {
            Some(oldest) => self.entries.partition_point(|entry| entry.id < *oldest),
            None => self.after(group.last_delivered),
        };
        let done = self.groups.values().map(kept_from).min().unwrap_or(0);
        self.entries.drain(..done);
        done
    }
}

impl Drop for Stream {
    /// Whoever waits on this stream must look for the one that takes its place.
    fn drop(&mut self) {
        self.arrived.notify_waiters();
    }
}
