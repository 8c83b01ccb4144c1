//! Listens for revocations of other gateways, and sends on what the bus did not take.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use shared::{backoff::Backoff, bus::EntryId};
use tokio::time::sleep;

use super::{Inner, Notice, REMEMBERED, STREAM, lock};
use crate::Refused;

/// A live socket hears of a revocation within this and the time of two calls.
const EVERY: Duration = Duration::from_millis(500);
/// After failures it waits longer, up to this.
const SLOWEST: Duration = Duration::from_secs(5);
/// Entries read in one call.
const PAGE: usize = 256;
/// Clocks of gateways may differ by so much, seconds: so far back the database is read again.
const OVERLAP: u64 = 5;
/// Times of what was heard of are looked through once in so many rounds.
const FORGET_EVERY: u32 = 120;
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

/// Runs until nobody asks for revocations any more.
pub(super) async fn run(inner: Weak<Inner>) {
    let mut backoff = Backoff::new(EVERY, SLOWEST);
    let mut round = 0_u32;
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let polled = poll(&inner).await;
        round = round.wrapping_add(1);
        if round.is_multiple_of(FORGET_EVERY) {
            forget(&inner);
        }
        drop(inner);
        let wait = if polled.is_ok() {
            backoff.reset();
            EVERY
        } else {
            // The refusal was logged where it came from.
            EVERY + backoff.next_delay()
        };
        sleep(wait).await;
    }
}

async fn poll(inner: &Arc<Inner>) -> Result<(), Refused> {
    if !inner.bus.outlives_process() {
        // Nobody else writes on this bus; `subtide admin` writes to the database.
        inner.read_database(inner.clock.now().saturating_sub(OVERLAP)).await?;
    }
    loop {
        let after = *lock(&inner.last);
        let entries = inner.ask(inner.bus.range(STREAM, after, LAST, PAGE)).await?;
        for entry in &entries {
            match serde_json::from_slice::<Notice>(&entry.payload) {
                Ok(notice) => inner.hear(notice.what, notice.at),
                Err(error) => tracing::warn!(%error, "an entry of the stream of revocations cannot be read"),
            }
            *lock(&inner.last) = entry.id;
        }
        if entries.len() < PAGE {
            break;
        }
    }
    send_waiting(inner).await
}

async fn send_waiting(inner: &Arc<Inner>) -> Result<(), Refused> {
    loop {
        let Some(notice) = lock(&inner.outbox).pop_front() else { return Ok(()) };
        if let Err(error) = inner.publish(&notice).await {
            lock(&inner.outbox).push_front(notice);
            return Err(error);
        }
    }
}

fn forget(inner: &Arc<Inner>) {
    let before = inner.clock.now().saturating_sub(REMEMBERED.as_secs());
    lock(&inner.heard).retain(|_, at| *at >= before);
}
