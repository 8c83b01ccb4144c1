//! A queue as Redis tells it with its own commands, and as a role tells it at `/metrics`.

use std::time::Duration;

use redis::{
    AsyncCommands as _,
    aio::MultiplexedConnection,
    streams::{StreamInfoGroupsReply, StreamInfoStreamReply, StreamPendingReply, StreamRangeReply},
};
use tests::stack::Process;
use tokio::time::{Instant, sleep};

use super::scrape::Scrape;

/// To find a moment in which nothing moves, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Stream and group.
pub(super) type Queue = (&'static str, &'static str);

/// What XINFO GROUPS, XINFO STREAM, XPENDING and XRANGE say of a group, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) lag: usize,
    pub(super) pending: usize,
    /// Of the oldest job that somebody holds or nobody has read: when it was added, milliseconds of Redis' clock.
    oldest_ms: Option<u64>,
    /// Likewise, of those that nobody has read.
    unread_ms: Option<u64>,
    delivered: String,
    generated: String,
}

/// A gauge, and what of a queue it must be equal to.
type Gauge<T> = (&'static str, fn(&State) -> T);
/// Gauges of one process for one stream.
const DEPTHS: [Gauge<usize>; 4] = [
    ("subtide_queue_lag", |state| state.lag),
    ("subtide_queue_pending", |state| state.pending),
    ("gateway_queue_waiting_jobs", |state| state.lag),
    ("gateway_queue_pending_jobs", |state| state.pending),
];
/// Likewise, ages.
const AGES: [Gauge<Option<u64>>; 3] = [
    ("subtide_queue_oldest_seconds", |state| state.oldest_ms),
    ("gateway_queue_oldest_seconds", |state| state.oldest_ms),
    ("gateway_queue_waiting_seconds", |state| state.unread_ms),
];

fn milliseconds(id: &str) -> Option<u64> {
    id.split('-').next()?.parse().ok()
}

async fn group(redis: &mut MultiplexedConnection, (stream, group): Queue) -> (usize, usize, String, String) {
    let groups: StreamInfoGroupsReply = redis.xinfo_groups(stream).await.unwrap();
    let info: StreamInfoStreamReply = redis.xinfo_stream(stream).await.unwrap();
    let found = groups.groups.into_iter().find(|found| found.name == group);
    let found = found.unwrap_or_else(|| panic!("{stream} has no group {group}"));
    (found.lag.unwrap(), found.pending, found.last_delivered_id, info.last_generated_id)
}

impl State {
    /// Asks until two looks in a row agree, so that what several commands say belongs together.
    pub(super) async fn of(redis: &mut MultiplexedConnection, queue: Queue) -> Self {
        loop {
            let before = group(redis, queue).await;
            let pending: StreamPendingReply = redis.xpending(queue.0, queue.1).await.unwrap();
            let unread: StreamRangeReply = redis.xrange_count(queue.0, format!("({}", before.2), "+", 1).await.unwrap();
            if group(redis, queue).await != before {
                continue;
            }
            let held = match &pending {
                StreamPendingReply::Data(data) if data.count > 0 => milliseconds(&data.start_id),
                _ => None,
            };
            let unread_ms = unread.ids.first().and_then(|entry| milliseconds(&entry.id));
            let (lag, pending, delivered, generated) = before;
            let oldest_ms = held.or(unread_ms);
            return Self { lag, pending, oldest_ms, unread_ms, delivered, generated };
        }
    }
}

/// Redis' clock, milliseconds.
async fn now(redis: &mut MultiplexedConnection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(redis).await.unwrap();
    seconds * 1000 + micros / 1000
}

/// A moment at which a process and Redis were compared.
#[derive(Debug)]
pub(super) struct Compared {
    /// As Redis told it, before and after.
    pub(super) state: State,
    /// Gauges that were looked at.
    pub(super) gauges: usize,
    /// Where they differed from it.
    pub(super) differences: Vec<String>,
}

/// Where `scrape` differs from `state`, which held from `since` to `until` (Redis' clock); and how many gauges there are.
pub(super) fn differences(
    scrape: &Scrape,
    stream: &str,
    state: &State,
    since: u64,
    until: u64,
) -> (usize, Vec<String>) {
    let (mut gauges, mut found) = (0, Vec::new());
    for (name, told) in DEPTHS {
        let Some(gauge) = scrape.gauge(name, stream) else { continue };
        gauges += 1;
        if (gauge - told(state) as f64).abs() > 1e-9 {
            found.push(format!("{name}{{stream={stream}}} {gauge}, and Redis says {}", told(state)));
        }
    }
    for (name, added) in AGES {
        let Some(gauge) = scrape.gauge(name, stream) else { continue };
        gauges += 1;
        let age = |now: u64| added(state).map_or(0.0, |added| now.saturating_sub(added) as f64 / 1000.0);
        // A millisecond: what is left of the clock when it is told in whole ones.
        if gauge < age(since) - 0.001 || gauge > age(until) + 0.001 {
            found.push(format!("{name}{{stream={stream}}} {gauge}, and Redis says {} to {}", age(since), age(until)));
        }
    }
    (gauges, found)
}

/// Finds a moment of the kind `wanted` in which nothing moves for as long as `process` needs to look at the queue again, and
/// compares what both say. The age tells that it has looked: it grows with each look.
pub(super) async fn compare(
    process: &Process,
    redis: &mut MultiplexedConnection,
    queue: Queue,
    wanted: fn(&State) -> bool,
) -> Compared {
    let deadline = Instant::now() + PATIENCE;
    let mut newest = None;
    while Instant::now() < deadline {
        let (state, since) = (State::of(redis, queue).await, now(redis).await);
        newest = Some(state.clone());
        if !wanted(&state) {
            sleep(PAUSE).await;
            continue;
        }
        while Instant::now() < deadline && State::of(redis, queue).await == state {
            let scrape = Scrape::of(process).await;
            if !has_looked(&scrape, queue.0, &state, since) {
                sleep(PAUSE).await;
                continue;
            }
            if State::of(redis, queue).await != state {
                break;
            }
            let (gauges, differences) = differences(&scrape, queue.0, &state, since, now(redis).await);
            return Compared { state, gauges, differences };
        }
    }
    panic!("{}: no still moment of that kind within {PATIENCE:?}; the last was {newest:?}", process.name)
}

/// Whether the gauges were set after `since`. Where nothing waits there is no age to tell it by: then they are asked until
/// they agree.
fn has_looked(scrape: &Scrape, stream: &str, state: &State, since: u64) -> bool {
    let mut ages = AGES.into_iter().filter_map(|(name, added)| Some((scrape.gauge(name, stream)?, added(state)?)));
    match ages.next() {
        Some((age, added)) => age * 1000.0 >= since.saturating_sub(added) as f64,
        None => differences(scrape, stream, state, 0, 0).1.is_empty(),
    }
}

#[test]
fn figures_that_are_not_those_of_redis_are_found() {
    let state = State {
        lag: 3,
        pending: 2,
        oldest_ms: Some(1_000),
        unread_ms: Some(2_000),
        delivered: "1500-0".to_owned(),
        generated: "2500-0".to_owned(),
    };
    let told = |lag: usize, pending: usize, age: f64| {
        Scrape::read(&format!(
            "subtide_queue_lag{{stream=\"x\"}} {lag}\nsubtide_queue_pending{{stream=\"x\"}} {pending}\n\
             subtide_queue_oldest_seconds{{stream=\"x\"}} {age}\nsubtide_queue_lag{{stream=\"y\"}} 9\n"
        ))
    };
    assert_eq!(differences(&told(3, 2, 1.5), "x", &state, 2_000, 3_000), (3, Vec::new()));
    for (lag, pending, age, word) in
        [(2, 2, 1.5, "lag"), (3, 0, 1.5, "pending"), (3, 2, 0.9, "oldest"), (3, 2, 2.1, "oldest")]
    {
        let (_, found) = differences(&told(lag, pending, age), "x", &state, 2_000, 3_000);
        assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
    }
}
