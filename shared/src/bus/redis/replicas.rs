//! What a primary took in is not safe before a replica has it: a failover forgets the rest.
//!
//! Many writes share one question (`WAIT`), as many transactions share one write to a disk: who comes while it is being
//! asked waits for the next, and that covers all who came meanwhile.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult, aio::MultiplexedConnection, cmd};
use tokio::{sync::Mutex, time::Instant};

/// A replica in a data centre confirms within a millisecond. All commands of the connection wait meanwhile, and the most
/// impatient of them gives up after 500 ms.
const WAIT_MS: u64 = 150;
/// Questions for one write, before its caller hears that it is not safe: 1.5 s.
const QUESTIONS: u32 = 10;
/// A replica that said nothing for longer does not count any more: `min-replicas-max-lag`, which a primary goes by when it
/// decides whether to take in anything at all.
const MAX_LAG_SECONDS: u64 = 10;
/// How often a primary without replicas is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// All sentinels name another primary so soon after a replica was made one: they tell each other every 2 s.
const DEPOSED_WITHIN: Duration = Duration::from_secs(5);

/// Who asks the primary of a link whether its replicas follow.
#[derive(Default)]
pub(super) struct Replicas {
    /// Counts the writes that want to be safe.
    wanted: AtomicU64,
    known: Mutex<Known>,
}

/// A connection, and which primary it leads to: the numbers that the link counts them by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Leads {
    pub(super) generation: u64,
    pub(super) moves: u64,
}

/// Why a write is not known to be safe.
#[derive(Debug)]
pub(super) enum InDoubt {
    /// The connection broke, or the server refused the question.
    Error(RedisError),
    /// The connection is sound, and no replica has it; why.
    Unconfirmed(&'static str),
}

impl From<RedisError> for InDoubt {
    fn from(error: RedisError) -> Self {
        Self::Error(error)
    }
}

/// What is known of a primary.
#[derive(Default)]
struct Known {
    of: Leads,
    /// All writes up to this one are safe.
    safe: u64,
    /// For all writes up to this one there was no answer, or none that would do.
    asked_in_vain: u64,
    /// Whether it had a replica since it became the primary.
    followed: bool,
    /// Since when it has none, and when that was looked at last.
    alone: Option<(Instant, Instant)>,
}

impl Known {
    /// What stays true when a connection is followed by another one.
    fn of(&self, leads: Leads) -> Self {
        // What was written before a connection broke says nothing of this one.
        let fresh = Self { of: leads, ..Self::default() };
        if self.of.moves == leads.moves { Self { followed: self.followed, alone: self.alone, ..fresh } } else { fresh }
    }

    /// Whether its being alone need not be looked at again yet.
    fn goes_on_alone(&self) -> bool {
        self.alone.is_some_and(|(since, looked)| self.may_be_alone(since) && looked.elapsed() < LOOK_AGAIN)
    }

    /// Whether a primary that is alone since then may take in what only it has. One that just became the primary may: who
    /// followed it before is not there yet. One that lost its replica may have lost its office to it, and hears of that last.
    fn may_be_alone(&self, since: Instant) -> bool {
        !self.followed || since.elapsed() >= DEPOSED_WITHIN
    }

    /// Asks until a replica has everything, or there is none that could.
    async fn ask(&mut self, connection: &mut MultiplexedConnection) -> Result<(), InDoubt> {
        for question in 0..QUESTIONS {
            // Nobody would answer the question to a primary without replicas, and all would wait for that.
            let in_doubt = question > 0 || !self.followed || self.alone.is_some();
            if in_doubt && !is_followed(connection).await? {
                let now = Instant::now();
                let since = self.alone.map_or(now, |(since, _)| since);
                if self.alone.replace((since, now)).is_none() {
                    tracing::warn!("no replica follows the primary of Redis: what it takes in now is lost if it dies");
                }
                let may = self.may_be_alone(since);
                return if may { Ok(()) } else { Err(InDoubt::Unconfirmed("its replica just went away")) };
            }
            (self.followed, self.alone) = (true, None);
            if ask(connection).await? > 0 {
                return Ok(());
            }
        }
        Err(InDoubt::Unconfirmed("no replica confirms what it took in"))
    }
}

impl Replicas {
    /// Waits until a replica has what that connection has written so far. A primary without a replica has nowhere to fail
    /// over to, and need not wait; whether it may take in anything at all, `min-replicas-to-write` says.
    ///
    /// # Errors
    /// When a replica follows and does not confirm in time, the last one went away just now, or the connection breaks.
    pub(super) async fn have(&self, leads: Leads, connection: &mut MultiplexedConnection) -> Result<(), InDoubt> {
        let write = self.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        let mut known = self.known.lock().await;
        if leads.generation < known.of.generation {
            // Nobody need ask there again, and those who wait for the newer one need not wait for that.
            return Err(InDoubt::Unconfirmed("the connection was given up"));
        }
        if known.of != leads {
            *known = known.of(leads);
        }
        if known.safe >= write || known.goes_on_alone() {
            return Ok(());
        }
        if known.asked_in_vain >= write {
            return Err(InDoubt::Unconfirmed("no replica confirms what it took in"));
        }
        let covered = self.wanted.load(Ordering::SeqCst);
        let answer = known.ask(connection).await;
        match answer {
            // To go on alone is looked at again; what is safe stays so.
            Ok(()) if known.alone.is_none() => known.safe = covered,
            Ok(()) => {}
            Err(_) => known.asked_in_vain = covered,
        }
        answer
    }
}

/// How many replicas have what the connection has written.
async fn ask(connection: &mut MultiplexedConnection) -> RedisResult<u64> {
    let answer = cmd("WAIT").arg(1).arg(WAIT_MS).query_async(connection).await;
    // It says so without a code of its own.
    answer.map_err(|error: RedisError| match error.code() {
        Some("ERR") => RedisError::from((ErrorKind::Io, "it is no primary any more")),
        _ => error,
    })
}

/// Whether a replica is in step with the primary behind the connection.
async fn is_followed(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    let info: String = cmd("INFO").arg("replication").query_async(connection).await?;
    Ok(follows(&info))
}

/// Likewise, by what `INFO replication` says: `slave0:ip=…,port=…,state=online,offset=…,lag=1`.
fn follows(info: &str) -> bool {
    info.lines().filter(|line| line.starts_with("slave")).any(|line| {
        let field = |name: &str| line.split([',', ':']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let lag = field("lag").and_then(|lag| lag.trim().parse::<u64>().ok());
        field("state") == Some("online") && lag.is_some_and(|lag| lag <= MAX_LAG_SECONDS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_follows_when_it_is_online_and_was_heard_of() {
        let row =
            |state, lag| format!("role:master\r\nslave0:ip=10.0.0.2,port=6379,state={state},offset=7,lag={lag}\r\n");
        assert!(follows(&row("online", 0)));
        assert!(follows(&row("online", 10)));
        assert!(!follows(&row("online", 11)));
        assert!(!follows(&row("wait_bgsave", 0)));
        assert!(!follows("role:master\r\nconnected_slaves:0\r\n"));
        assert!(!follows("role:slave\r\nslave_read_only:1\r\nslave_priority:100\r\n"));
    }
}
