//! What a session keeps on the bus: its audio, its jobs, its events, and what is cleaned up behind it.

use std::time::{Duration, Instant};

use shared::{
    audio::samples_to_ms,
    backoff::Backoff,
    bus::{BusError, Effects, EntryId},
    ids::SessionId,
    jobs,
    wire::ServerMessage,
};
use tokio::time::{sleep, timeout};

use super::{
    Session,
    audio::Step,
    end::{End, replaced, unavailable},
};
use crate::dispatch::{Closed, millis};

/// How long the bus may be away before a session with something to store is given up. Longer than a failover (5 s), a
/// restart, or what is held of the client (10 s; it holds the rest itself): all gateways have the same bus, so who is sent
/// away sooner gains nothing. Shorter than the 45 s in which a client, or another gateway, takes us for dead.
const BUS_PATIENCE: Duration = Duration::from_secs(30);
/// Cleaning up may not hold up a session longer than this; what stays expires by itself.
const CLEAN_PATIENCE: Duration = Duration::from_secs(2);
/// Most events read at once in a replay.
const REPLAY: usize = 256;

/// Lets a session wait for a bus that is away, up to [`BUS_PATIENCE`]. Meanwhile what its client sends is held here, as far as
/// there is room, and waits in the client beyond that.
pub(super) struct Patience {
    session: SessionId,
    begun: Instant,
    backoff: Backoff,
    waited: bool,
}

impl Patience {
    pub(super) fn new(session: SessionId) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        Self { session, begun: Instant::now(), backoff, waited: false }
    }

    pub(super) async fn wait(&mut self, error: BusError) -> Result<(), End> {
        if !error.retryable() || self.begun.elapsed() >= BUS_PATIENCE {
            return Err(unavailable(&error));
        }
        // Each session says it once: a thousand of them would fill the disk that Redis writes to.
        if self.waited {
            tracing::debug!(session = %self.session, %error, "the bus still does not answer");
        } else {
            tracing::warn!(session = %self.session, %error, "the bus does not answer; trying again");
        }
        self.waited = true;
        sleep(self.backoff.next_delay()).await;
        Ok(())
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        if self.waited {
            let waited_ms = millis(self.begun.elapsed());
            tracing::info!(session = %self.session, waited_ms, "the session waits for the bus no longer");
        }
    }
}

impl Session {
    /// Carries out what the audio led to.
    pub(super) async fn walk(&mut self, steps: Vec<Step>) -> Result<(), End> {
        self.torn = true;
        for step in steps {
            match step {
                Step::Started { utterance, start_ms, speech_ms } => {
                    self.utterances += 1;
                    self.context.metrics.utterances.inc();
                    self.traces.opened(utterance);
                    self.say(ServerMessage::SpeechStarted { utterance, start_ms });
                    if let Some(shown) = self.dispatch.opened(utterance, start_ms, speech_ms) {
                        self.say(shown);
                    }
                }
                Step::Append { utterance, pcm, end_ms, speech_share } => {
                    self.count_speech(end_ms, samples_to_ms(pcm.len() as u64 / 2));
                    let entry = self.append(&jobs::audio_stream(self.id, utterance), pcm).await?;
                    self.traces.appended(utterance);
                    self.dispatch.appended(utterance, entry, end_ms);
                    self.dispatch.judged(utterance, speech_share);
                }
                Step::Ended { utterance, end_ms, complete } => {
                    if let Some(shown) = self.dispatch.ended(utterance, end_ms, complete) {
                        self.say(shown);
                    }
                    self.say(ServerMessage::SpeechEnded { utterance, end_ms });
                }
                Step::Ack { audio_ms } => self.say(ServerMessage::Ack { audio_ms }),
            }
        }
        self.torn = false;
        Ok(())
    }

    /// Counts the stretch of speech that ends at `end_ms`, but for what of it was counted before: behind a split, audio is
    /// handed out again.
    fn count_speech(&mut self, end_ms: u64, length_ms: u64) {
        let from_ms = end_ms.saturating_sub(length_ms).max(self.counted_ms);
        self.context.metrics.speech_ms.inc_by(end_ms.saturating_sub(from_ms));
        self.counted_ms = self.counted_ms.max(end_ms);
    }

    /// Reads the session's event stream from the newest event seen: what the mailbox may have missed.
    pub(super) async fn replay(&mut self) -> Result<(), End> {
        let stream = jobs::event_stream(self.id);
        let last = EntryId { ms: u64::MAX, seq: u64::MAX };
        loop {
            match self.context.bus.range(&stream, self.seen, last, REPLAY).await {
                Ok(entries) => {
                    self.replay_fails = false;
                    let more = entries.len() == REPLAY;
                    for entry in entries {
                        self.take_answer(entry).await?;
                    }
                    if !more {
                        return Ok(());
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.replay_fails, true) {
                        tracing::warn!(session = %self.id, %error, "missed events cannot be read; trying again");
                    }
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

    /// Somebody resumed the session; it is not ours any more unless that was us.
    pub(super) async fn look_who_owns(&mut self, owner: &str) -> Result<(), End> {
        if owner.as_bytes() == self.owner {
            return Ok(());
        }
        // It may be an old story, of those who had the session before us. When the bus does not answer, the next write will
        // tell.
        match self.context.bus.get(&jobs::owner_key(self.id)).await {
            Ok(Some(now)) if now != self.owner => Err(replaced()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Writes the session down once more, to be kept for `ttl`.
    pub(super) async fn keep(&mut self, ttl: Duration) -> Result<(), End> {
        let set = self.state(ttl)?;
        self.commit(Effects { set, ..Effects::default() }).await
    }

    /// Removes everything the bus holds of this session, if it is still ours; workers drop what they still have of it.
    pub(super) async fn forget(&mut self) {
        let ours = Effects { guard: Some(self.guard()), ..Effects::default() };
        if !matches!(timeout(CLEAN_PATIENCE, self.context.bus.commit(ours)).await, Ok(Ok(true))) {
            return;
        }
        let mut gone = self.dispatch.take_closed();
        gone.extend(self.dispatch.open());
        let id = self.id;
        let keys = [jobs::event_stream(id), jobs::log_stream(id), jobs::session_key(id), jobs::settings_key(id)];
        self.clean(&gone, [&keys[..], &[jobs::owner_key(id)]].concat()).await;
    }
}
