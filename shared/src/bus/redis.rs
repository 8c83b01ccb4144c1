//! The bus on Redis Streams, version 7.0 or later.
//!
//! An entry holds its payload in the field `d`. Besides the names that callers choose there are `seen:{key}` for
//! idempotency keys and `route:{stream}` for the mailbox of an event stream.

mod breaker;
mod error;
mod leases;
mod limits;
mod link;
mod readers;
mod replicas;
mod route;
mod scripts;
mod settings;

use std::{fmt, time::Duration};

use ::redis::cmd;
use async_trait::async_trait;
use bytes::Bytes;

pub use self::settings::{ENV_REDIS_TLS_CA, ENV_REDIS_TLS_CERT, ENV_REDIS_TLS_KEY, ENV_REDIS_URL, RedisSettings};
use self::{
    link::Link,
    readers::{RawEntries, RedisGroupReader, RedisMailboxReader, entry},
    scripts::{
        APPEND, DEPTH, EXPIRE, MEMBERS, PRODUCE, PUBLISH, RENEW, TRIM, add_guard, add_produce, add_publish, route_key,
        ttl_ms,
    },
};
use super::{
    Admission, Admit, Bus, BusError, Delivery, Depth, Effects, Entry, EntryId, Finished, GroupReader, Guard, Held,
    MailboxReader, Member, Produce, Publish, Reclaimed, StateWrite, TakeOver, Usage,
};

/// Oldest version whose streams tell their lag.
const OLDEST_MAJOR: u32 = 7;
/// Most jobs that one call takes out unread, and as many that are held: so long nobody else is answered.
const EXPIRED_AT_ONCE: usize = 1000;
/// Consumers that hold nothing and were silent this long are removed: each start of a worker adds one.
const CONSUMER_GONE_AFTER: Duration = Duration::from_secs(3600);

/// A [`Bus`] on a Redis server. Clones share one connection for commands.
///
/// A command is tried three times before [`BusError::Unreachable`]. Two things follow when a reply was lost:
/// [`Bus::finish`] may say [`Finished::LeaseLost`] of a job that this very call finished, and [`Bus::publish`] may
/// publish twice.
#[derive(Clone)]
pub struct RedisBus {
    link: Link,
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus").field("url", &self.link.url()).finish()
    }
}

impl RedisBus {
    /// Connects to `url`: `redis://[user][:password]@host[:port][/database]`, or `rediss://…` for TLS, or
    /// `redis+sentinel://[user:password@]host[:port],…/name[/database][?sentinel_username=…&sentinel_password=…]` (or
    /// `rediss+sentinel://…`) for the primary that these sentinels call `name`.
    ///
    /// # Errors
    /// When the URL cannot be used, nothing answers there, or what answers is older than Redis 7.0.
    pub async fn connect(url: &str) -> Result<Self, BusError> {
        Self::open(&RedisSettings::of(url)).await
    }

    /// As [`RedisBus::connect`], with certificates.
    ///
    /// # Errors
    /// As there.
    pub async fn open(settings: &RedisSettings) -> Result<Self, BusError> {
        let link = Link::new(settings)?;
        let info: String = link.query(cmd("INFO").arg("server")).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST_MAJOR) {
            return Err(BusError::TooOld { url: link.url().to_owned(), version: version.to_owned() });
        }
        Ok(Self { link })
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Bus for RedisBus {
    fn outlives_process(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.link.query::<String>(&cmd("PING")).await.map(drop)
    }

    async fn append_if(
        &self,
        stream: &str,
        payload: Bytes,
        ttl: Duration,
        guard: Option<&Guard>,
        token: u64,
    ) -> Result<Option<EntryId>, BusError> {
        let mut call = APPEND.key(stream);
        call.arg(&*payload).arg(&token.to_le_bytes()[..]).arg(ttl_ms(ttl));
        add_guard(&mut call, guard);
        self.link.invoke_lasting::<Option<String>>(&call).await?.map(|id| id.parse()).transpose()
    }

    async fn range(&self, stream: &str, after: EntryId, last: EntryId, count: usize) -> Result<Vec<Entry>, BusError> {
        if count == 0 || after >= last {
            return Ok(Vec::new());
        }
        let mut range = cmd("XRANGE");
        range.arg(stream).arg(format!("({after}")).arg(last.to_string()).arg("COUNT").arg(count);
        let entries: RawEntries = self.link.query(&range).await?;
        entries.into_iter().map(entry).collect()
    }

    async fn produce(&self, job: Produce) -> Result<Option<EntryId>, BusError> {
        let mut call = PRODUCE.prepare_invoke();
        add_produce(&mut call, &job);
        self.link.invoke_lasting::<Option<String>>(&call).await?.map(|id| id.parse()).transpose()
    }

    async fn group_reader(&self, stream: &str, group: &str, consumer: &str) -> Result<Box<dyn GroupReader>, BusError> {
        Ok(Box::new(RedisGroupReader::open(self.link.clone(), stream, group, consumer).await?))
    }

    async fn take_over(&self, wanted: &TakeOver<'_>) -> Result<Reclaimed, BusError> {
        leases::taken_over(wanted, self.link.invoke(&leases::take_over(wanted)).await?)
    }

    async fn renew_lease(&self, stream: &str, group: &str, consumer: &str, ids: &[EntryId]) -> Result<(), BusError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut call = RENEW.key(stream);
        call.arg(group).arg(consumer);
        for id in ids {
            call.arg(id.to_string());
        }
        self.link.invoke(&call).await
    }

    async fn hand_back(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        jobs: &[(EntryId, u32)],
    ) -> Result<(), BusError> {
        self.link.invoke(&leases::hand_back(stream, group, consumer, jobs)).await
    }

    async fn resign(&self, stream: &str, group: &str, consumer: &str) -> Result<u64, BusError> {
        self.link.invoke(&leases::resign(stream, group, consumer)).await
    }

    async fn finish(&self, job: &Delivery, effects: Effects) -> Result<Finished, BusError> {
        match self.link.invoke::<String>(&scripts::finish(job, &effects)).await?.as_str() {
            "done" => Ok(Finished::Done),
            "lease_lost" => Ok(Finished::LeaseLost),
            "guard_failed" => Ok(Finished::GuardFailed),
            _ => Err(BusError::Protocol("finish says neither done nor why not".into())),
        }
    }

    async fn commit(&self, effects: Effects) -> Result<bool, BusError> {
        self.link.invoke_lasting(&scripts::commit(&effects)).await
    }

    async fn publish(&self, event: Publish) -> Result<EntryId, BusError> {
        let mut call = PUBLISH.prepare_invoke();
        add_publish(&mut call, &event);
        self.link.invoke::<String>(&call).await?.parse()
    }

    async fn depth(&self, stream: &str, group: &str) -> Result<Depth, BusError> {
        let depth: (u64, u64, u64, u64) = self.link.invoke(DEPTH.key(stream).arg(group)).await?;
        let (lag, pending, oldest_age, waiting) = depth;
        let (oldest_age, waiting) = (Duration::from_millis(oldest_age), Duration::from_millis(waiting));
        Ok(Depth { lag, pending, oldest_age, waiting })
    }

    async fn expire(&self, stream: &str, group: &str, age: Duration) -> Result<u64, BusError> {
        self.link.invoke(EXPIRE.key(stream).arg(group).arg(whole_ms(age)).arg(EXPIRED_AT_ONCE)).await
    }

    async fn members(&self, stream: &str, group: &str) -> Result<Vec<Member>, BusError> {
        let found: Vec<(String, u64, u64)> = self.link.invoke(MEMBERS.key(stream).arg(group)).await?;
        let member = |(name, pending, idle)| Member { name, pending, idle: Duration::from_millis(idle) };
        let mut members: Vec<_> = found.into_iter().map(member).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(members)
    }

    async fn usage(&self) -> Result<Option<Usage>, BusError> {
        let info: String = self.link.query(cmd("INFO").arg("memory")).await?;
        let bytes = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let used = bytes("used_memory").ok_or_else(|| BusError::Protocol("INFO tells no used_memory".into()))?;
        let used = used.saturating_sub(bytes("mem_not_counted_for_evict").unwrap_or_default());
        Ok(Some(Usage { used, limit: bytes("maxmemory").filter(|limit| *limit > 0) }))
    }

    async fn trim_acknowledged(&self, stream: &str) -> Result<u64, BusError> {
        self.link.invoke(TRIM.key(stream).arg(whole_ms(CONSUMER_GONE_AFTER))).await
    }

    async fn route(&self, stream: &str, mailbox: &str, ttl: Duration) -> Result<(), BusError> {
        let mut set = cmd("SET");
        set.arg(route_key(stream)).arg(mailbox).arg("PX").arg(ttl_ms(ttl));
        self.link.query(&set).await
    }

    async fn mailbox(&self, mailbox: &str) -> Result<Box<dyn MailboxReader>, BusError> {
        Ok(Box::new(RedisMailboxReader::open(self.link.clone(), mailbox).await?))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BusError> {
        self.link.query(cmd("GET").arg(key)).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, BusError> {
        self.link.query(cmd("GETDEL").arg(key)).await
    }

    async fn set(&self, write: StateWrite) -> Result<(), BusError> {
        let mut set = cmd("SET");
        set.arg(write.key).arg(&*write.value).arg("PX").arg(ttl_ms(write.ttl));
        self.link.query(&set).await
    }

    async fn admit(&self, wanted: &Admit) -> Result<Admission, BusError> {
        let answer = limits::read(self.link.invoke(&limits::admit(wanted)).await?)?;
        answer.ok_or_else(|| BusError::Protocol("places that nobody held were lost".into()))
    }

    async fn hold(&self, held: &Held, to: &str, lease: Duration) -> Result<Option<Admission>, BusError> {
        limits::read(self.link.invoke(&limits::hold(held, to, lease)).await?)
    }

    async fn leave(&self, held: &Held) -> Result<(), BusError> {
        self.link.invoke(&limits::leave(held)).await
    }

    async fn holders(&self, key: &str) -> Result<Vec<String>, BusError> {
        self.link.invoke(&limits::holders(key)).await
    }

    async fn count(&self, key: &str, more: u64, ttl: Duration) -> Result<u64, BusError> {
        self.link.invoke(&limits::count(key, more, ttl)).await
    }

    async fn remove(&self, keys: &[String]) -> Result<(), BusError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.link.query(cmd("UNLINK").arg(keys)).await
    }
}
