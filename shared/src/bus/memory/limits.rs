//! The shared limits inside one process.

use std::{collections::HashMap, time::Duration};

use crate::bus::{Admission, Admit, Held, LimitKind, Places};

/// Buckets, counters and places. All times are microseconds since the Unix epoch.
#[derive(Default)]
pub(super) struct Limits {
    /// When each is full again.
    buckets: HashMap<String, u64>,
    /// Value, and when it goes away.
    counters: HashMap<String, (u64, u64)>,
    /// Holders of each set with their stamps, which are when their leases end.
    places: HashMap<String, HashMap<String, u64>>,
    /// Tells two stamps of one microsecond apart.
    turn: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Limits {
    /// Holders of a set whose leases have not ended.
    fn set(&mut self, key: &str, now: u64) -> &mut HashMap<String, u64> {
        let set = self.places.entry(key.to_owned()).or_default();
        set.retain(|_, stamp| *stamp > now);
        set
    }

    fn stamp(&mut self, now: u64, lease: Duration) -> u64 {
        self.turn = (self.turn + 1) % 1000;
        now.saturating_add(micros(lease)).saturating_add(self.turn)
    }

    pub(super) fn admit(&mut self, wanted: &Admit, now: u64) -> Admission {
        let refused = |limit, index, wait| {
            let retry_after = Duration::from_micros(wait);
            Admission::Refused { limit, index, retry_after }
        };
        let mut full_again = Vec::new();
        for (index, bucket) in wanted.buckets.iter().enumerate() {
            let per = micros(bucket.per);
            let full =
                self.buckets.get(&bucket.key).copied().unwrap_or(0).max(now) + per / u64::from(bucket.most.max(1));
            if full > now + per {
                return refused(LimitKind::Bucket, index, full - per - now);
            }
            full_again.push((bucket.key.clone(), full));
        }
        for (index, ceiling) in wanted.ceilings.iter().enumerate() {
            if self.counter(&ceiling.key, now) >= ceiling.most {
                return refused(LimitKind::Ceiling, index, 0);
            }
        }
        let has_one = match (&wanted.instead_of, wanted.places.first()) {
            (Some(other), Some(first)) => self.set(&first.key, now).contains_key(other),
            _ => false,
        };
        if !has_one {
            for (index, places) in wanted.places.iter().enumerate() {
                if self.set(&places.key, now).len() >= places.most as usize {
                    return refused(LimitKind::Places, index, 0);
                }
            }
        }
        self.buckets.extend(full_again);
        if has_one || wanted.places.is_empty() {
            return Admission::Admitted { stamp: 0 };
        }
        Admission::Admitted { stamp: self.take(&wanted.places, &wanted.holder, now, wanted.lease) }
    }

    fn take(&mut self, places: &[Places], holder: &str, now: u64, lease: Duration) -> u64 {
        let stamp = self.stamp(now, lease);
        for places in places {
            self.set(&places.key, now).insert(holder.to_owned(), stamp);
        }
        stamp
    }

    pub(super) fn hold(&mut self, held: &Held, to: &str, now: u64, lease: Duration) -> Option<Admission> {
        for (index, places) in held.places.iter().enumerate() {
            let set = self.set(&places.key, now);
            let theirs = set.get(to).copied();
            if held.holder == to {
                if theirs.is_some_and(|stamp| held.stamp != 0 && stamp != held.stamp) {
                    return None;
                }
            } else if theirs.is_none()
                && set.get(&held.holder) != Some(&held.stamp)
                && set.len() >= places.most as usize
            {
                return Some(Admission::Refused { limit: LimitKind::Places, index, retry_after: Duration::ZERO });
            }
        }
        if held.holder != to {
            self.leave(held);
        }
        Some(Admission::Admitted { stamp: self.take(&held.places, to, now, lease) })
    }

    pub(super) fn leave(&mut self, held: &Held) {
        for places in &held.places {
            if let Some(set) = self.places.get_mut(&places.key)
                && set.get(&held.holder) == Some(&held.stamp)
            {
                set.remove(&held.holder);
            }
        }
    }

    pub(super) fn holders(&mut self, key: &str, now: u64) -> Vec<String> {
        self.set(key, now).keys().cloned().collect()
    }

    fn counter(&self, key: &str, now: u64) -> u64 {
        self.counters.get(key).filter(|(_, ends)| *ends > now).map_or(0, |(value, _)| *value)
    }

    pub(super) fn count(&mut self, key: &str, more: u64, now: u64, ttl: Duration) -> u64 {
        let sum = self.counter(key, now).saturating_add(more);
        self.counters.insert(key.to_owned(), (sum, now.saturating_add(micros(ttl))));
        sum
    }

    /// Frees what is over.
    pub(super) fn sweep(&mut self, now: u64) {
        self.buckets.retain(|_, full| *full > now);
        self.counters.retain(|_, (_, ends)| *ends > now);
        self.places.values_mut().for_each(|set| set.retain(|_, stamp| *stamp > now));
        self.places.retain(|_, set| !set.is_empty());
    }
}
