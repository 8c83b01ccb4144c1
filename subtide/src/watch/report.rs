//! The figures that `subtide top` shows and `subtide status --json` prints. What nobody tells is `null`, never 0.

use std::collections::BTreeMap;

use serde::Serialize;

/// One look at everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What rates and `recent` figures are of: the seconds before.
    pub over_seconds: f64,
    /// Whether it is well.
    pub verdict: Verdict,
    /// What is not, what is nearest to the cause first.
    pub faults: Vec<Fault>,
    /// Sessions at all gateways together.
    pub sessions: Sessions,
    /// By stage: `speech`, `translation`.
    pub queues: BTreeMap<&'static str, Queue>,
    /// By what is waited for; see `latency` of the names below.
    pub latencies: BTreeMap<&'static str, Latency>,
    /// What went wrong, by kind; only what ever happened.
    pub errors: BTreeMap<String, Count>,
    /// Every process that was looked for.
    pub processes: Vec<Process>,
    /// Redis.
    pub redis: Redis,
}

/// The whole in a word; the exit status of `subtide status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// 0: everything answers, and nobody waits long.
    Well,
    /// 1: see [`Report::faults`].
    Wrong,
    /// 2: nothing answers at all.
    Unreachable,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What.
    pub what: String,
    /// The heading in docs/OPERATIONS.md that says what to do.
    pub runbook: &'static str,
}

/// Sessions and their audio.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sessions {
    /// Open.
    pub open: Option<u64>,
    /// Opened in a second.
    pub opened_per_second: Option<f64>,
    /// Seconds of audio received in a second: how many people stream.
    pub audio_seconds_per_second: Option<f64>,
    /// Share of the audio that is speech, of the window.
    pub speech_share: Option<f64>,
    /// Utterances opened in a second.
    pub utterances_per_second: Option<f64>,
    /// Seconds of audio decoded in a second of decoding.
    pub decoded_times_real_time: Option<f64>,
}

/// Who tells the depth of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Redis, asked just now.
    Redis,
    /// The roles, up to a second old.
    Metrics,
}

/// A stage with its queue and those who work on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queue {
    /// Stream.
    pub stream: &'static str,
    /// Group.
    pub group: &'static str,
    /// Who tells lag, pending and ages.
    pub source: Source,
    /// Jobs that nobody has read.
    pub lag: Option<u64>,
    /// Jobs in the hands of workers.
    pub pending: Option<u64>,
    /// Both.
    pub depth: Option<u64>,
    /// Age of the oldest job of either.
    pub oldest_seconds: Option<f64>,
    /// Age of the oldest job that nobody has read: how long what comes now has to wait.
    pub waiting_seconds: Option<f64>,
    /// Workers that are ready; `null` where none was looked at.
    pub workers: Option<u64>,
    /// Jobs done in a second.
    pub jobs_per_second: Option<f64>,
    /// Rows of a batch of the model, mean of the window.
    pub batch_size: Option<f64>,
    /// Who reads, as Redis knows them; those long gone are left out.
    pub members: Vec<Member>,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Jobs in its hands.
    pub pending: u64,
    /// Since its last sign of life; before Redis 7.2 asking and getting nothing is none.
    pub idle_seconds: f64,
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// In the window.
    pub recent: Spread,
    /// Since the processes began.
    pub since_start: Spread,
}

/// Many durations as a few figures, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Half of them took at most this.
    pub p50: Option<f64>,
    /// Nineteen of twenty took at most this.
    pub p95: Option<f64>,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Count {
    /// In the window.
    pub recent: f64,
    /// Since the processes began.
    pub total: f64,
}

/// A process with a health port.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// What it says it is; `null` where nothing answers.
    pub role: Option<String>,
    /// Name it was found by.
    pub target: String,
    /// Address asked; `null` where the name stands for none.
    pub address: Option<String>,
    /// Whether it takes work.
    pub ready: bool,
    /// Why it says nothing.
    pub error: Option<String>,
    /// What it consists of, and whether each works.
    pub components: BTreeMap<String, bool>,
    /// Version.
    pub version: Option<String>,
    /// Seconds since it began.
    pub up_seconds: Option<f64>,
    /// Models it has loaded.
    pub models: Vec<String>,
    /// Sessions it holds, for a gateway.
    pub sessions: Option<u64>,
    /// Jobs in its hands, for a worker.
    pub jobs_in_flight: Option<u64>,
    /// Jobs done in a second.
    pub jobs_per_second: Option<f64>,
    /// Nineteen of twenty jobs of the window took at most so many seconds.
    pub job_p95_seconds: Option<f64>,
    /// Processor cores used, mean of the window.
    pub cores: Option<f64>,
    /// Memory, in bytes.
    pub resident_bytes: Option<u64>,
}

/// Redis, as far as it concerns the bus.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Redis {
    /// Whether it was asked: not where all roles are one process with a bus of its own.
    pub asked: bool,
    /// Whether it answered.
    pub reached: bool,
    /// Why it did not.
    pub error: Option<String>,
    /// Memory it holds.
    pub used_bytes: Option<u64>,
    /// Memory it may hold; `null`: as much as the machine has.
    pub limit_bytes: Option<u64>,
    /// Jobs given up within the last hour, at most 100.
    pub dead_letters_last_hour: Option<u64>,
}

impl Verdict {
    /// Exit status of `subtide status`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Wrong => 1,
            Self::Unreachable => 2,
        }
    }
}
