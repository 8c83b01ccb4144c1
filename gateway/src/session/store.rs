//! What a session keeps on the bus: its jobs, its events, and what is cleaned up behind it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::{
    backoff::Backoff,
    bus::{BusError, EntryId, Produce, StateWrite},
    ids::SessionId,
    jobs::{self, SESSION_TTL, SpeechJob},
};
use tokio::time::sleep;

use super::{
    Session,
    end::{End, unavailable},
};
use crate::{dispatch::Closed, socket::Outbox};

/// How long the bus may be away before a session with speech to store is given up.
const BUS_PATIENCE: Duration = Duration::from_secs(10);
/// Most events read at once in a replay.
const REPLAY: usize = 256;

/// Lets a session wait for a bus that is away, up to [`BUS_PATIENCE`]. Meanwhile nothing is read from the client, so
/// its audio waits in the client.
pub(super) struct Patience {
    session: SessionId,
    begun: Instant,
    backoff: Backoff,
}

impl Patience {
    pub(super) fn new(session: SessionId) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        Self { session, begun: Instant::now(), backoff }
    }

    pub(super) async fn wait(&mut self, error: BusError) -> Result<(), End> {
        if !error.retryable() || self.begun.elapsed() >= BUS_PATIENCE {
            return Err(unavailable(&error));
        }
        tracing::warn!(session = %self.session, %error, "the bus does not answer; trying again");
        sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

pub(super) fn produce(job: &SpeechJob) -> Result<Produce, serde_json::Error> {
    Ok(Produce {
        stream: jobs::AUDIO_JOBS.to_owned(),
        idempotency_key: format!("{}:{}:{}", job.session, job.utterance, job.revision),
        payload: jobs::encode(job)?,
        set: Some(StateWrite {
            key: jobs::revision_key(job.session, job.utterance),
            value: Bytes::from(job.revision.to_string()),
            ttl: SESSION_TTL,
        }),
    })
}

impl Session {
    /// Reads the session's event stream from the newest event seen: what the mailbox may have missed.
    pub(super) async fn replay(&mut self, outbox: &mut Outbox) -> Result<(), End> {
        let stream = jobs::event_stream(self.id);
        let last = EntryId { ms: u64::MAX, seq: u64::MAX };
        match self.context.bus.range(&stream, self.seen, last, REPLAY).await {
            Ok(entries) => {
                if entries.len() == REPLAY {
                    self.inbox.missed();
                }
                for entry in entries {
                    self.take_answer(entry, outbox).await?;
                }
            }
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "missed events cannot be read; trying again");
                self.inbox.missed();
            }
        }
        Ok(())
    }

    /// Removes what the bus holds of an utterance that nobody waits for.
    pub(super) async fn clean(&mut self, closed: &Closed) {
        let mut keys =
            vec![jobs::audio_stream(self.id, closed.utterance), jobs::revision_key(self.id, closed.utterance)];
        keys.extend(closed.targets.iter().map(|target| jobs::translation_key(self.id, closed.utterance, target)));
        if let Err(error) = self.context.bus.remove(&keys).await {
            tracing::debug!(session = %self.id, %error, "keys of a closed utterance stay until they expire");
        }
    }

    /// Removes everything the bus holds of this session; workers drop what they still have of it.
    pub(super) async fn forget(&mut self) {
        for open in self.dispatch.open() {
            self.clean(&open).await;
        }
        if let Err(error) = self.context.bus.remove(&[jobs::event_stream(self.id)]).await {
            tracing::debug!(session = %self.id, %error, "the event stream stays until it expires");
        }
    }
}
