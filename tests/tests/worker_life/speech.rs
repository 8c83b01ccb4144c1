//! Speech jobs made by hand, as a gateway makes them, and what the workers say to each.

use std::{fs, path::PathBuf, time::Duration};

use bytes::Bytes;
use shared::{
    bus::{Bus, EntryId, Produce, RedisBus, StateWrite},
    ids::{Revision, SessionId, UtteranceId},
    jobs::{
        self, AUDIO_JOBS, JobKind, Published, SESSION_TTL, STT_GROUP, SessionEvent, SpeechJob, audio_stream,
        event_stream, revision_key,
    },
    language::Source,
};
use tests::{
    redis_server::RedisServer,
    speech::{demo, pcm},
    stack::Process,
};
use tokio::time::{Instant, sleep};

/// For what must come; never waited out by a test that passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Speech in one job: so much that a worker is seen with it in hand.
const SECONDS: usize = 24;
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

/// A session on a Redis of its own.
pub(crate) struct Speaker {
    pub(crate) redis: RedisServer,
    pub(crate) bus: RedisBus,
    session: SessionId,
    pcm: Vec<u8>,
}

impl Speaker {
    pub(crate) async fn new(redis: RedisServer) -> Self {
        let bus = RedisBus::connect(&redis.url()).await.unwrap();
        let mut pcm = pcm(&demo().0);
        pcm.truncate(SECONDS * 2 * 16_000);
        Self { redis, bus, session: SessionId::random(), pcm }
    }

    pub(crate) fn worker(&self, name: &str) -> Process {
        Process::spawn("stt-worker", name, &[("REDIS_URL", &self.redis.url()), ("CPU_THREADS", "1")])
    }

    /// Says utterance `number`, and asks for its final.
    pub(crate) async fn speak(&self, number: u32) {
        let utterance = UtteranceId(number);
        let stream = audio_stream(self.session, utterance);
        let last_entry = self.bus.append(&stream, Bytes::copy_from_slice(&self.pcm), SESSION_TTL).await.unwrap();
        let job = SpeechJob {
            session: self.session,
            utterance,
            revision: Revision(1),
            kind: JobKind::Final,
            last_entry,
            start_ms: 0,
            end_ms: self.pcm.len() as u64 / 32,
            source: Source::Language("en".parse().unwrap()),
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
        };
        let key = revision_key(self.session, utterance);
        let newest = StateWrite { key, value: Bytes::from_static(b"1"), ttl: SESSION_TTL };
        let job = Produce {
            stream: AUDIO_JOBS.to_owned(),
            idempotency_key: format!("{}:{number}", self.session),
            payload: jobs::encode(&job).unwrap(),
            set: Some(newest),
        };
        self.bus.produce(job).await.unwrap().unwrap();
    }

    /// All that was said to the session: of each answer the utterance, and whether it is a gap.
    pub(crate) async fn answers(&self) -> Vec<(u32, bool)> {
        let entries = self.bus.range(&event_stream(self.session), EntryId::START, LAST, 100_000).await.unwrap();
        let answer = |event: Published| match event.event {
            SessionEvent::Caption { caption, .. } => Some((caption.utterance.0, false)),
            SessionEvent::Gap { utterance, .. } => Some((utterance.0, true)),
            _ => None,
        };
        entries.iter().filter_map(|entry| answer(jobs::decode(&entry.payload).unwrap())).collect()
    }

    /// Waits for the answer to utterance `number`; `true`: it is a gap.
    pub(crate) async fn answer(&self, number: u32) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((_, gap)) = self.answers().await.into_iter().find(|(utterance, _)| *utterance == number) {
                return gap;
            }
            assert!(Instant::now() < deadline, "no answer to utterance {number}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether the worker `name` holds a job now.
    pub(crate) async fn holds(&self, name: &str) -> bool {
        let members = self.bus.members(AUDIO_JOBS, STT_GROUP).await.unwrap();
        members.iter().any(|member| member.pending > 0 && member.name == name)
    }

    /// Which of `workers` holds a job now.
    async fn holder(&self, workers: &[Process]) -> Option<usize> {
        let members = self.bus.members(AUDIO_JOBS, STT_GROUP).await.unwrap();
        let holds = |worker: &Process| members.iter().any(|member| member.pending > 0 && member.name == worker.name);
        workers.iter().position(holds)
    }

    /// Kills the one of `workers` that is seen with a job in hand, in the middle of it. `None`: the job was done before.
    pub(crate) async fn kill_holder(&self, workers: &mut [Process], number: u32) -> Option<usize> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(index) = self.holder(workers).await {
                workers[index].signal("STOP");
                stands_still(workers[index].id()).await;
                // What it sent before was there when the first of these was asked, and is done when the second is answered;
                // what it still holds then, it holds until it dies.
                for _ in 0..2 {
                    self.bus.ping().await.unwrap();
                }
                if self.holds(&workers[index].name).await {
                    workers[index].kill();
                    return Some(index);
                }
                workers[index].signal("CONT");
            }
            if self.answers().await.iter().any(|(utterance, _)| *utterance == number) {
                return None;
            }
        }
        panic!("no worker was ever seen with utterance {number}");
    }
}

/// Waits until no thread of a process that was sent SIGSTOP runs any more.
async fn stands_still(process: u32) {
    let deadline = Instant::now() + PATIENCE;
    let runs = |thread: PathBuf| {
        let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses and may hold anything.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('T'))
    };
    let threads = || fs::read_dir(format!("/proc/{process}/task")).unwrap();
    while threads().any(|thread| runs(thread.unwrap().path())) {
        assert!(Instant::now() < deadline, "it was stopped and goes on");
        sleep(Duration::from_millis(1)).await;
    }
}
