//! Which jobs a dead worker held, and when their utterances were captioned all the same.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{
    AsyncCommands as _,
    aio::MultiplexedConnection,
    streams::{StreamPendingCountReply, StreamRangeReply},
};
use shared::{
    ids::{SessionId, UtteranceId},
    jobs::{AUDIO_JOBS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS},
    wire::ServerMessage,
};
use tests::{chaos::plan::Whom, resuming::Journal};

/// An utterance that a worker held when it was killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    session: SessionId,
    utterance: UtteranceId,
    /// Whether the job was a translation.
    translation: bool,
    killed: Instant,
}

#[derive(serde::Deserialize)]
struct About {
    session: SessionId,
    utterance: UtteranceId,
}

pub(crate) async fn connection(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// What `dead`, who was `whom`, still holds.
pub(crate) async fn of(redis: &mut MultiplexedConnection, whom: Whom, dead: &str, killed: Instant) -> Vec<Held> {
    let (stream, group, translation) = match whom {
        Whom::Translation(_) => (TRANSLATION_JOBS, MT_GROUP, true),
        _ => (AUDIO_JOBS, STT_GROUP, false),
    };
    let pending: redis::RedisResult<StreamPendingCountReply> =
        redis.xpending_consumer_count(stream, group, "-", "+", 1000, dead).await;
    let mut held = Vec::new();
    for entry in pending.unwrap_or_default().ids {
        let found: StreamRangeReply = redis.xrange(stream, &entry.id, &entry.id).await.unwrap_or_default();
        for job in found.ids {
            let payloads = job.map.values().filter_map(|value| redis::from_redis_value::<Vec<u8>>(value.clone()).ok());
            let about = payloads.filter_map(|payload| serde_json::from_slice::<About>(&payload).ok());
            held.extend(about.map(|About { session, utterance }| Held { session, utterance, translation, killed }));
        }
    }
    held
}

/// Seconds from each kill (or from the end of the utterance, where that came later) to the final of what was held.
pub(crate) fn seconds_to_final(held: &[Held], journals: &[&Journal]) -> Vec<f64> {
    let by_session: HashMap<SessionId, &Journal> =
        journals.iter().filter_map(|journal| Some((journal.session?, *journal))).collect();
    let of = |held: &Held| -> Option<f64> {
        let journal = by_session.get(&held.session)?;
        let (mut ended, mut final_at) = (None, None);
        for (event, at) in journal.events.iter().zip(&journal.times) {
            match &event.message {
                ServerMessage::SpeechEnded { utterance, .. } if *utterance == held.utterance => ended = Some(*at),
                ServerMessage::Caption(c) if !held.translation && c.is_final && c.utterance == held.utterance => {
                    final_at = Some(*at);
                }
                ServerMessage::Translation(t) if held.translation && t.is_final && t.utterance == held.utterance => {
                    final_at = Some(*at);
                }
                _ => {}
            }
        }
        let from = ended?.max(held.killed);
        Some(final_at?.checked_duration_since(from).unwrap_or(Duration::ZERO).as_secs_f64())
    };
    held.iter().filter_map(of).collect()
}
