//! The calls with which a consumer lets go of what it holds.

use redis::ScriptInvocation;

use super::scripts::{HAND_BACK, RESIGN};
use crate::bus::EntryId;

/// What was let go of has been silent for a day, in milliseconds: longer than anybody's lease.
const LET_GO_MS: u32 = 86_400_000;

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
