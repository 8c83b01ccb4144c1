//! The calls with which a consumer takes over what others held, and lets go of what it holds.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::ScriptInvocation;

use super::{
    scripts::{HAND_BACK, RECLAIM, RESIGN},
    whole_ms,
};
use crate::bus::{BusError, Delivery, EntryId, Reclaimed, TakeOver};

/// What was let go of has been silent for a day, in milliseconds: longer than anybody's lease.
const LET_GO_MS: u32 = 86_400_000;

/// What was taken over (id, payload and deliveries of each), the ids of what is lost, and the time in milliseconds.
type TakenOver = (Vec<(String, Bytes, u32)>, Vec<String>, String);

/// The call that takes over what is `wanted`.
pub(super) fn take_over(wanted: &TakeOver<'_>) -> ScriptInvocation<'static> {
    let mut call = RECLAIM.key(wanted.stream);
    call.arg(wanted.group).arg(wanted.consumer).arg(whole_ms(wanted.min_idle)).arg(wanted.count.max(1));
    let (answered, within) =
        wanted.steady.map_or((Duration::ZERO, Duration::MAX), |steady| (steady.answered, steady.within));
    let (deliveries, most) = wanted.suspects.map_or((0, 0), |suspects| (suspects.deliveries, suspects.most));
    call.arg(whole_ms(answered)).arg(whole_ms(within)).arg(deliveries).arg(most);
    call
}

/// What that call says.
pub(super) fn taken_over(wanted: &TakeOver<'_>, reply: TakenOver) -> Result<Reclaimed, BusError> {
    let (taken, lost, at) = reply;
    let (stream, group): (Arc<str>, Arc<str>) = (wanted.stream.into(), wanted.group.into());
    let delivery = |(id, payload, deliveries): (String, Bytes, u32)| {
        Ok(Delivery { stream: stream.clone(), group: group.clone(), id: id.parse()?, payload, deliveries })
    };
    let at = at.parse().map_err(|_| BusError::Protocol("the time is not a number".into()))?;
    Ok(Reclaimed {
        deliveries: taken.into_iter().map(delivery).collect::<Result<_, BusError>>()?,
        lost: lost.iter().map(|id| id.parse()).collect::<Result<_, _>>()?,
        at: Duration::from_millis(at),
    })
}

/// The call that lets go of `jobs`, each with how often it had been delivered before.
pub(super) fn hand_back(
    stream: &str,
    group: &str,
    consumer: &str,
    jobs: &[(EntryId, u32)],
) -> ScriptInvocation<'static> {
    let mut call = HAND_BACK.key(stream);
    call.arg(group).arg(consumer).arg(LET_GO_MS);
    for (id, deliveries) in jobs {
        call.arg(id.to_string()).arg(*deliveries);
    }
    call
}

/// The call that lets go of all that `consumer` holds, and of itself where that is nothing.
pub(super) fn resign(stream: &str, group: &str, consumer: &str) -> ScriptInvocation<'static> {
    let mut call = RESIGN.key(stream);
    call.arg(group).arg(consumer).arg(LET_GO_MS);
    call
}
