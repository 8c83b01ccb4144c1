//! The calls of the shared limits.

use std::time::Duration;

use redis::ScriptInvocation;

use super::scripts::{ADMIT, COUNT, HOLD, HOLDERS, LEAVE, ttl_ms};
use crate::bus::{Admission, Admit, BusError, Held, LimitKind, Places};

/// What the scripts answer: a word, the index of what stood against it, and a stamp or milliseconds.
pub(super) type Answer = (String, usize, u64);

pub(super) fn admit(wanted: &Admit) -> ScriptInvocation<'static> {
    let mut call = ADMIT.prepare_invoke();
    call.arg(wanted.buckets.len());
    for bucket in &wanted.buckets {
        call.key(&bucket.key).arg(bucket.most.max(1)).arg(ttl_ms(bucket.per));
    }
    call.arg(wanted.ceilings.len());
    for ceiling in &wanted.ceilings {
        call.key(&ceiling.key).arg(ceiling.most);
    }
    call.arg(&wanted.holder).arg(wanted.instead_of.as_deref().unwrap_or_default()).arg(ttl_ms(wanted.lease));
    add_places(&mut call, &wanted.places);
    call
}

pub(super) fn hold(held: &Held, to: &str, lease: Duration) -> ScriptInvocation<'static> {
    let mut call = HOLD.prepare_invoke();
    call.arg(&held.holder).arg(to).arg(held.stamp).arg(ttl_ms(lease));
    add_places(&mut call, &held.places);
    call
}

pub(super) fn leave(held: &Held) -> ScriptInvocation<'static> {
    let mut call = LEAVE.prepare_invoke();
    call.arg(&held.holder).arg(held.stamp).arg(held.places.len());
    for places in &held.places {
        call.key(&places.key);
    }
    call
}

pub(super) fn holders(key: &str) -> ScriptInvocation<'static> {
    let mut call = HOLDERS.prepare_invoke();
    call.key(key);
    call
}

pub(super) fn count(key: &str, more: u64, ttl: Duration) -> ScriptInvocation<'static> {
    let mut call = COUNT.prepare_invoke();
    call.key(key).arg(more).arg(ttl_ms(ttl));
    call
}

fn add_places(call: &mut ScriptInvocation<'_>, places: &[Places]) {
    call.arg(places.len());
    for set in places {
        call.key(&set.key).arg(set.most);
    }
}

/// Reads an answer; `None`: somebody else holds the places now.
pub(super) fn read((word, index, number): Answer) -> Result<Option<Admission>, BusError> {
    let refused = |limit, ms| Some(Admission::Refused { limit, index, retry_after: Duration::from_millis(ms) });
    match word.as_str() {
        "admitted" => Ok(Some(Admission::Admitted { stamp: number })),
        "bucket" => Ok(refused(LimitKind::Bucket, number)),
        "ceiling" => Ok(refused(LimitKind::Ceiling, 0)),
        "places" => Ok(refused(LimitKind::Places, 0)),
        "lost" => Ok(None),
        _ => Err(BusError::Protocol("a limit says neither yes nor no".into())),
    }
}
