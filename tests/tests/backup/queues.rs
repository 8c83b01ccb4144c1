//! What is in a Redis, to be compared before and after.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use redis::{Value, aio::MultiplexedConnection, cmd};
use shared::jobs::{AUDIO_JOBS, STT_GROUP};
use tests::redis_server::RedisServer;
use tokio::time::sleep;

/// Keys that end sooner, in milliseconds, may be gone before they are looked at again.
const LASTING: i64 = 120_000;
/// Keys that the test itself goes on writing.
pub(super) const OURS: &str = "drill:";

pub(super) async fn connect(redis: &RedisServer) -> MultiplexedConnection {
    redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// Where it keeps its append-only file.
pub(super) async fn directory(redis: &RedisServer) -> PathBuf {
    let found: Vec<String> = cmd("CONFIG").arg(&["GET", "dir"]).query_async(&mut connect(redis).await).await.unwrap();
    PathBuf::from(&found[1])
}

/// Until all that it was told before is in its file: while the disk is slow, it keeps it back for up to two seconds.
pub(super) async fn written(redis: &mut MultiplexedConnection) {
    loop {
        let info: String = cmd("INFO").arg("persistence").query_async(redis).await.unwrap();
        if info.lines().any(|line| line.trim_end() == "aof_buffer_length:0") {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// `XINFO GROUPS` of the speech jobs, as an operator sees it.
async fn info(redis: &mut MultiplexedConnection) -> Vec<BTreeMap<String, Value>> {
    cmd("XINFO").arg(&["GROUPS", AUDIO_JOBS]).query_async(redis).await.unwrap_or_default()
}

/// The same without two figures that Redis 7.0 itself forgets when it reads its file again: they are empty then, until workers
/// have read on. [`depth`] counts.
pub(super) async fn groups(redis: &mut MultiplexedConnection) -> Vec<BTreeMap<String, Value>> {
    let mut groups = info(redis).await;
    for group in &mut groups {
        group.retain(|name, _| name != "entries-read" && name != "lag");
    }
    groups
}

/// Speech jobs that nobody has taken, and that somebody has in hand.
pub(super) async fn depth(redis: &mut MultiplexedConnection) -> (usize, usize) {
    let groups = info(redis).await;
    let Some(group) = groups.iter().find(|group| group["name"] == Value::BulkString(STT_GROUP.into())) else {
        return (0, 0);
    };
    let (Value::Int(pending), Value::BulkString(last)) = (&group["pending"], &group["last-delivered-id"]) else {
        panic!("{group:?}");
    };
    let after = format!("({}", String::from_utf8_lossy(last));
    let unread: Vec<Value> = cmd("XRANGE").arg(&[AUDIO_JOBS, &after, "+"]).query_async(redis).await.unwrap();
    (unread.len(), usize::try_from(*pending).unwrap())
}

/// Who has which job in hand, and how often it was delivered.
pub(super) async fn in_hand(redis: &mut MultiplexedConnection) -> Vec<(String, String, u64)> {
    type Row = (String, String, u64, u64);
    let rows: Vec<Row> =
        cmd("XPENDING").arg(&[AUDIO_JOBS, STT_GROUP, "-", "+", "1000"]).query_async(redis).await.unwrap();
    rows.into_iter().map(|(id, consumer, _, deliveries)| (id, consumer, deliveries)).collect()
}

/// Every key that lasts, and what is in it.
pub(super) async fn everything(redis: &mut MultiplexedConnection) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(redis).await.unwrap();
    for key in keys.into_iter().filter(|key| !key.starts_with(OURS)) {
        let left: i64 = cmd("PTTL").arg(&key).query_async(redis).await.unwrap();
        if (0..LASTING).contains(&left) {
            continue;
        }
        let kind: String = cmd("TYPE").arg(&key).query_async(redis).await.unwrap();
        let read: &[&str] = match kind.as_str() {
            "string" => &["GET", &key],
            "stream" => &["XRANGE", &key, "-", "+"],
            "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            "hash" => &["HGETALL", &key],
            "set" => &["SMEMBERS", &key],
            _ => panic!("{key} is a {kind}"),
        };
        let value = cmd(read[0]).arg(&read[1..]).query_async(redis).await.unwrap();
        all.insert(key, value);
    }
    all
}
