//! What Redis itself says: queues, who works on them, memory, dead letters. All by way of [`shared::bus`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::{
    bus::{Bus, BusError, Depth, EntryId, Member, RedisBus, RedisSettings, Usage},
    jobs::{AUDIO_JOBS, DEAD_LETTERS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS},
};
use tokio::time::timeout;

/// One look; beyond it Redis counts as away.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Dead letters that came within so long are told.
const RECENT: Duration = Duration::from_secs(3600);
/// Dead letters that are counted at most.
pub(super) const MAX_LETTERS: usize = 100;

/// A part of the pipeline with a queue before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stage {
    /// What people call it.
    pub(super) name: &'static str,
    pub(super) stream: &'static str,
    pub(super) group: &'static str,
}

/// All stages, in the order in which an utterance meets them.
pub(super) const STAGES: [Stage; 2] = [
    Stage { name: "speech", stream: AUDIO_JOBS, group: STT_GROUP },
    Stage { name: "translation", stream: TRANSLATION_JOBS, group: MT_GROUP },
];

/// What Redis said.
#[derive(Debug, Clone)]
pub(super) struct RedisAnswer {
    /// One for each of [`STAGES`].
    pub(super) queues: Vec<(Depth, Vec<Member>)>,
    pub(super) usage: Option<Usage>,
    /// Of the last hour, at most [`MAX_LETTERS`].
    pub(super) dead_letters: usize,
}

/// The way to Redis; connects when it is first asked, and again when that failed.
#[derive(Debug)]
pub(super) struct Redis {
    settings: RedisSettings,
    bus: Option<RedisBus>,
}

impl Redis {
    pub(super) fn new(settings: RedisSettings) -> Self {
        Self { settings, bus: None }
    }

    /// What it says, or why it says nothing.
    pub(super) async fn look(&mut self) -> Result<RedisAnswer, String> {
        match timeout(TIMEOUT, self.ask()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("Redis does not answer within {} s", TIMEOUT.as_secs())),
        }
    }

    async fn ask(&mut self) -> Result<RedisAnswer, BusError> {
        let bus = match self.bus.take() {
            Some(bus) => bus,
            None => RedisBus::open(&self.settings).await?,
        };
        let bus = &*self.bus.insert(bus);
        let mut queues = Vec::new();
        for stage in STAGES {
            queues
                .push(tokio::try_join!(bus.depth(stage.stream, stage.group), bus.members(stage.stream, stage.group))?);
        }
        let (usage, letters) =
            tokio::try_join!(bus.usage(), bus.range(DEAD_LETTERS, since(RECENT), LAST, MAX_LETTERS))?;
        Ok(RedisAnswer { queues, usage, dead_letters: letters.len() })
    }
}

/// After every entry.
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

fn since(ago: Duration) -> EntryId {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(ago);
    EntryId { ms: u64::try_from(at.as_millis()).unwrap_or(0), seq: 0 }
}
