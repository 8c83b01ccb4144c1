//! The audio of utterances: read from the bus, kept between the decodes of one utterance.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use shared::{
    audio::s16le_to_f32,
    bus::{Bus, EntryId},
    consumer::JobError,
    ids::{SessionId, UtteranceId},
    jobs::{SpeechJob, audio_stream},
};

/// Bytes of PCM kept: 2000 seconds of speech, some hundred utterances. When full, the utterance that was not asked for
/// the longest is dropped; it is read again from the bus when it is wanted.
pub(crate) const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Entries read at once, 200-500 ms each.
const PAGE: usize = 64;

type Key = (SessionId, UtteranceId);

/// A soft cache of PCM in front of the bus. Losing it costs a read, nothing more.
pub(crate) struct AudioReader {
    bus: Arc<dyn Bus>,
    capacity_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    utterances: HashMap<Key, Utterance>,
    bytes: usize,
    /// Counts uses, to tell which is the oldest.
    clock: u64,
}

#[derive(Clone, Default)]
struct Utterance {
    /// The payloads are shared with no one else, so their sum is what they cost.
    entries: Vec<(EntryId, Bytes)>,
    used: u64,
}

impl fmt::Debug for AudioReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioReader").field("bytes", &self.kept().bytes).finish_non_exhaustive()
    }
}

impl AudioReader {
    pub(crate) fn new(bus: Arc<dyn Bus>, capacity_bytes: usize) -> Self {
        Self { bus, capacity_bytes, kept: Mutex::default() }
    }

    /// The samples of the job's utterance up to its last entry.
    pub(crate) async fn read(&self, job: &SpeechJob) -> Result<Vec<f32>, JobError> {
        let key = (job.session, job.utterance);
        let mut entries = self.kept().take_entries(key);
        let known = entries.len();
        let mut after = entries.last().map_or(EntryId::START, |(id, _)| *id);
        let stream = audio_stream(job.session, job.utterance);
        while after < job.last_entry {
            let page = self.bus.range(&stream, after, job.last_entry, PAGE).await?;
            let Some(last) = page.last() else {
                // Not there although the job came after it: it expired, or somebody removed it.
                return Err(JobError::Hopeless("the audio of the job is no longer on the bus".to_owned()));
            };
            after = last.id;
            entries.extend(page.into_iter().map(|entry| (entry.id, entry.payload)));
        }
        if entries.len() > known {
            self.kept().put(key, entries.clone(), self.capacity_bytes);
        }
        let wanted = entries.iter().take_while(|(id, _)| *id <= job.last_entry);
        Ok(wanted.flat_map(|(_, pcm)| s16le_to_f32(pcm)).collect())
    }

    /// Forgets an utterance that is over.
    pub(crate) fn forget(&self, session: SessionId, utterance: UtteranceId) {
        self.kept().remove((session, utterance));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take_entries(&mut self, key: Key) -> Vec<(EntryId, Bytes)> {
        self.clock += 1;
        let Some(found) = self.utterances.get_mut(&key) else { return Vec::new() };
        found.used = self.clock;
        found.entries.clone()
    }

    fn put(&mut self, key: Key, entries: Vec<(EntryId, Bytes)>, capacity: usize) {
        self.remove(key);
        self.bytes += size(&entries);
        self.utterances.insert(key, Utterance { entries, used: self.clock });
        while self.bytes > capacity {
            let Some(oldest) = self.utterances.iter().min_by_key(|(_, u)| u.used).map(|(key, _)| *key) else { return };
            self.remove(oldest);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(gone) = self.utterances.remove(&key) {
            self.bytes -= size(&gone.entries);
        }
    }
}

fn size(entries: &[(EntryId, Bytes)]) -> usize {
    entries.iter().map(|(_, pcm)| pcm.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::{
        bus::MemoryBus,
        ids::Revision,
        jobs::{JobKind, SESSION_TTL},
        language::Source,
    };

    use super::*;

    fn job(session: SessionId, utterance: u32, last_entry: EntryId) -> SpeechJob {
        SpeechJob {
            session,
            utterance: UtteranceId(utterance),
            revision: Revision(1),
            kind: JobKind::Partial,
            last_entry,
            start_ms: 0,
            end_ms: 0,
            source: Source::Auto,
            expected_language: None,
            targets: Vec::new(),
            words: false,
            locate: false,
            complete: false,
            speech_share: 1.0,
            committed: String::new(),
            tail: String::new(),
            hidden: String::new(),
            context: String::new(),
            glossary: Vec::new(),
            trace_parent: String::new(),
        }
    }

    async fn speak(bus: &MemoryBus, session: SessionId, utterance: u32, entries: usize) -> Vec<EntryId> {
        let stream = audio_stream(session, UtteranceId(utterance));
        let mut ids = Vec::new();
        for _ in 0..entries {
            ids.push(bus.append(&stream, Bytes::from(vec![0; 200]), SESSION_TTL).await.unwrap());
        }
        ids
    }

    #[tokio::test]
    async fn only_new_entries_are_read_again_and_none_beyond_the_job() {
        let (bus, session) = (MemoryBus::new(), SessionId::random());
        let ids = speak(&bus, session, 1, 150).await;
        let reader = AudioReader::new(Arc::new(bus.clone()), CACHE_BYTES);
        assert_eq!(reader.read(&job(session, 1, ids[99])).await.unwrap().len(), 100 * 100);
        assert_eq!(reader.read(&job(session, 1, ids[149])).await.unwrap().len(), 150 * 100);
        // Now all of it is kept: the bus is not needed, and an older job still gets no more than its own.
        bus.remove(&[audio_stream(session, UtteranceId(1))]).await.unwrap();
        assert_eq!(reader.read(&job(session, 1, ids[4])).await.unwrap().len(), 5 * 100);
        reader.forget(session, UtteranceId(1));
        let gone = reader.read(&job(session, 1, ids[4])).await;
        assert!(matches!(gone, Err(JobError::Hopeless(_))), "{gone:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn expired_audio_is_hopeless() {
        let (bus, session) = (MemoryBus::new(), SessionId::random());
        let ids = speak(&bus, session, 1, 2).await;
        tokio::time::advance(SESSION_TTL + Duration::from_secs(1)).await;
        let gone = AudioReader::new(Arc::new(bus), CACHE_BYTES).read(&job(session, 1, ids[1])).await;
        assert!(matches!(gone, Err(JobError::Hopeless(_))), "{gone:?}");
    }

    #[tokio::test]
    async fn the_cache_stays_within_its_bound() {
        let (bus, session) = (MemoryBus::new(), SessionId::random());
        let reader = AudioReader::new(Arc::new(bus.clone()), 1000);
        for utterance in 1..=9 {
            let ids = speak(&bus, session, utterance, 2).await;
            reader.read(&job(session, utterance, ids[1])).await.unwrap();
            assert!(reader.kept().bytes <= 1000);
        }
        assert_eq!(reader.kept().utterances.len(), 2);
        assert!(reader.kept().utterances.contains_key(&(session, UtteranceId(9))));
    }
}
