//! What a session keeps on the bus: its audio, its jobs, its events, and what is cleaned up behind it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::{
    audio::samples_to_ms,
    backoff::Backoff,
    bus::{BusError, EntryId, Produce, StateWrite},
    ids::SessionId,
    jobs::{self, SESSION_TTL, SpeechJob},
    wire::{ErrorCode, ServerMessage},
};
use tokio::time::{sleep, timeout};

use super::{
    Session,
    audio::Step,
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
struct Patience {
    session: SessionId,
    begun: Instant,
    backoff: Backoff,
}

impl Patience {
    fn new(session: SessionId) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        Self { session, begun: Instant::now(), backoff }
    }

    async fn wait(&mut self, error: BusError) -> Result<(), End> {
        if !error.retryable() || self.begun.elapsed() >= BUS_PATIENCE {
            return Err(unavailable(&error));
        }
        tracing::warn!(session = %self.session, %error, "the bus does not answer; trying again");
        sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

fn produce(job: &SpeechJob) -> Result<Produce, serde_json::Error> {
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
    /// Carries out what the audio led to, then asks for the decodes that are due.
    pub(super) async fn walk(&mut self, steps: Vec<Step>, outbox: &mut Outbox) -> Result<(), End> {
        for step in steps {
            match step {
                Step::Started { utterance, start_ms } => {
                    self.utterances += 1;
                    self.context.metrics.utterances.inc();
                    outbox.send(ServerMessage::SpeechStarted { utterance, start_ms }).await?;
                    if let Some(shown) = self.dispatch.opened(utterance, start_ms) {
                        outbox.send(shown).await?;
                    }
                }
                Step::Append { utterance, pcm, end_ms, speech_share } => {
                    self.context.metrics.speech_ms.inc_by(samples_to_ms(pcm.len() as u64 / 2));
                    let stream = jobs::audio_stream(self.id, utterance);
                    let mut patience = Patience::new(self.id);
                    let entry = loop {
                        match self.context.bus.append(&stream, pcm.clone(), SESSION_TTL).await {
                            Ok(entry) => break entry,
                            Err(error) => patience.wait(error).await?,
                        }
                    };
                    self.dispatch.appended(utterance, entry, end_ms);
                    self.dispatch.judged(utterance, speech_share);
                }
                Step::Ended { utterance, end_ms, complete } => {
                    if let Some(shown) = self.dispatch.ended(utterance, end_ms, complete) {
                        outbox.send(shown).await?;
                    }
                    outbox.send(ServerMessage::SpeechEnded { utterance, end_ms }).await?;
                }
                Step::Ack { audio_ms } => outbox.send(ServerMessage::Ack { audio_ms }).await?,
            }
        }
        self.ask().await
    }

    pub(super) async fn ask(&mut self) -> Result<(), End> {
        for job in self.dispatch.due(Instant::now()) {
            let produce = produce(&job).map_err(|e| End::Error(ErrorCode::Internal, e.to_string()))?;
            let mut patience = Patience::new(self.id);
            while let Err(error) = self.context.bus.produce(produce.clone()).await {
                patience.wait(error).await?;
            }
        }
        Ok(())
    }

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
