//! How the workers do, as the queues tell it.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{
    bus::{Bus, BusError, EntryId},
    jobs::{AUDIO_JOBS, DEAD_LETTERS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS},
};
use utoipa::ToSchema;

use super::{super::openapi::RefusalBody, Admin};
use crate::door::TurnedAway;

/// Most dead letters that are counted.
const MOST_DEAD: usize = 1000;
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

/// One queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queue {
    /// Its stream on the bus.
    stream: &'static str,
    /// The group of workers that empties it.
    group: &'static str,
    /// Jobs that no worker has taken.
    waiting: u64,
    /// Age of the oldest of them, milliseconds: how long a newcomer waits.
    waiting_ms: u64,
    /// Jobs in the hands of workers.
    in_work: u64,
    /// Age of the oldest job of either kind, milliseconds.
    oldest_ms: u64,
}

/// How the workers do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Queues {
    /// Each queue.
    queues: Vec<Queue>,
    /// Jobs that were given up, up to a thousand: each is a visible gap in somebody's captions.
    dead_letters: usize,
    /// Whether the database of people answers.
    database: bool,
}

/// How the workers do.
#[utoipa::path(
    get, path = "/admin/health", tag = "admin", security(("bearer" = [])),
    responses(
        (status = 200, body = Queues), (status = 401, body = RefusalBody), (status = 403, body = RefusalBody),
        (status = 503, body = RefusalBody),
    )
)]
pub(crate) async fn health(State(admin): State<Admin>) -> Response {
    let database = admin.people.ping().await.is_ok();
    match look(&*admin.bus).await {
        Ok((queues, dead_letters)) => Json(Queues { queues, dead_letters, database }).into_response(),
        Err(_) => TurnedAway::unavailable().into_response(),
    }
}

async fn look(bus: &dyn Bus) -> Result<(Vec<Queue>, usize), BusError> {
    let mut queues = Vec::new();
    for (stream, group) in [(AUDIO_JOBS, STT_GROUP), (TRANSLATION_JOBS, MT_GROUP)] {
        let depth = bus.depth(stream, group).await?;
        let ms = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let (waiting_ms, oldest_ms) = (ms(depth.waiting), ms(depth.oldest_age));
        queues.push(Queue { stream, group, waiting: depth.lag, waiting_ms, in_work: depth.pending, oldest_ms });
    }
    let dead = bus.range(DEAD_LETTERS, EntryId::START, LAST, MOST_DEAD).await?;
    Ok((queues, dead.len()))
}
