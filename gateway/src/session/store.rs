//! What a session keeps on the bus: its jobs, its events, and what is cleaned up behind it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::{
    backoff::Backoff,
    bus::{BusError, EntryId, Produce, StateWrite},
    ids::SessionId,
    jobs::{self, SESSION_TTL, SpeechJob},
};
use tokio::time::{sleep, timeout};

use super::{
    Session,
    end::{End, unavailable},
};
use crate::{dispatch::Closed, socket::Outbox};

/// How long the bus may be away before a session with speech to store is given up.
const BUS_PATIENCE: Duration = Duration::from_secs(10);
/// Cleaning up may not hold up a session longer than this; what stays expires by itself.
const CLEAN_PATIENCE: Duration = Duration::from_secs(2);
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
        loop {
            match self.context.bus.range(&stream, self.seen, last, REPLAY).await {
                Ok(entries) => {
                    let more = entries.len() == REPLAY;
                    for entry in entries {
                        self.take_answer(entry, outbox).await?;
                    }
                    if !more {
                        return Ok(());
                    }
                }
                Err(error) => {
                    tracing::warn!(session = %self.id, %error, "missed events cannot be read; trying again");
                    self.inbox.missed();
                    return Ok(());
                }
            }
        }
    }

    /// Removes what the bus holds of utterances that nobody waits for, and `more`.
    pub(super) async fn clean(&mut self, closed: &[Closed], more: Vec<String>) {
        let id = self.id;
        let mut keys = more;
        for Closed { utterance, targets } in closed {
            keys.extend([jobs::audio_stream(id, *utterance), jobs::revision_key(id, *utterance)]);
            keys.extend(targets.iter().map(|target| jobs::translation_key(id, *utterance, target)));
        }
        match timeout(CLEAN_PATIENCE, self.context.bus.remove(&keys)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(session = %id, %error, "keys nobody needs stay until they expire"),
            Err(_) => tracing::debug!(session = %id, "keys nobody needs stay until they expire"),
        }
    }

    /// Removes everything the bus holds of this session; workers drop what they still have of it.
    pub(super) async fn forget(&mut self) {
        let mut gone = self.dispatch.take_closed();
        gone.extend(self.dispatch.open());
        self.clean(&gone, vec![jobs::event_stream(self.id)]).await;
    }
}
