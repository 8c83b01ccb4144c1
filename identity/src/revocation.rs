//! Revocations: what reaches every gateway's live sockets.
//!
//! A revocation is written down in three places: in the database, for gateways that start later and for those that have no
//! bus in common with us; on the stream `revocations` of the bus, which every gateway polls twice a second, so that a live
//! socket hears of it within 2 s; and, as long as an access token may live, in a state key on the bus, so that a handshake
//! with a token that is still good is refused at once. Polling rather than subscribing: a broken connection loses nothing.

mod poller;
mod watch;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::bus::{Bus, Effects, EntryId, Publish, StateWrite};
use tokio::time::timeout;

pub use self::watch::Watch;
use self::watch::Watchers;
use crate::{
    Clock, Principal, Refused,
    access::{ACCESS_TTL, LEEWAY, MAX_TOKEN_LIFE},
    database::Database,
};

/// Stream of the bus.
pub const STREAM: &str = "revocations";
/// An entry is there for so long; a gateway that was away for longer reads the database.
const STREAM_TTL: Duration = Duration::from_secs(3600);
/// Every token of ours from before a revocation has ended after so long.
const REMEMBERED: Duration = Duration::from_secs(MAX_TOKEN_LIFE.as_secs() + LEEWAY.as_secs() + 30);
/// A handshake waits for the bus for so long.
const BUS_PATIENCE: Duration = Duration::from_secs(1);
/// Most revocations that wait for the bus to come back; they are in the database all the same.
const OUTBOX: usize = 1000;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// A sign-in: claim `sid`.
    Family(String),
    /// Everything that a subject has until now.
    Subject(String),
    /// One session, which is closed; its token stays good.
    Session(String),
}

impl Revocation {
    fn kind(&self) -> &'static str {
        match self {
            Self::Family(_) => "family",
            Self::Subject(_) => "subject",
            Self::Session(_) => "session",
        }
    }

    /// Name of what is revoked.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Family(id) | Self::Subject(id) | Self::Session(id) => id,
        }
    }

    fn from_parts(kind: &str, id: String) -> Option<Self> {
        match kind {
            "family" => Some(Self::Family(id)),
            "subject" => Some(Self::Subject(id)),
            "session" => Some(Self::Session(id)),
            _ => None,
        }
    }

    /// State key on the bus; a closed session has none.
    fn key(&self) -> Option<String> {
        (self.kind() != "session").then(|| format!("revoked:{}:{}", self.kind(), self.id()))
    }
}

/// What travels on the stream.
#[derive(Debug, Serialize, Deserialize)]
struct Notice {
    what: Revocation,
    /// Seconds since the Unix epoch, on the clock of who revoked it.
    at: u64,
}

/// Makes revocations known, and knows them. Clones share it.
#[derive(Debug, Clone)]
pub struct Revocations {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bus: Arc<dyn Bus>,
    database: Database,
    clock: Clock,
    watchers: Watchers,
    /// What was heard of, and when it was revoked, seconds since the Unix epoch.
    heard: Mutex<HashMap<Revocation, u64>>,
    /// What the bus has not taken yet.
    outbox: Mutex<VecDeque<Notice>>,
    /// Last entry of the stream that was read.
    last: Mutex<EntryId>,
}

impl Revocations {
    /// Begins to listen, until the last clone is dropped. What was revoked before is known when this returns.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn start(bus: Arc<dyn Bus>, database: Database, clock: Clock) -> Result<Self, Refused> {
        let inner = Arc::new(Inner {
            bus,
            database,
            clock,
            watchers: Watchers::default(),
            heard: Mutex::default(),
            outbox: Mutex::default(),
            last: Mutex::new(EntryId::START),
        });
        inner.read_database(inner.clock.now().saturating_sub(REMEMBERED.as_secs())).await?;
        tokio::spawn(poller::run(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Ends a sign-in everywhere: no token and no live socket of it is good any more.
    ///
    /// # Errors
    /// [`Refused::Unavailable`] when other gateways may not have heard of it; they will when the bus is back, and calling
    /// again is harmless.
    pub async fn revoke_family(&self, family: &str) -> Result<(), Refused> {
        self.inner.revoke(Revocation::Family(family.to_owned())).await
    }

    /// Ends everything that a subject has until now; what is given out later is good.
    ///
    /// # Errors
    /// As [`Revocations::revoke_family`].
    pub async fn revoke_subject(&self, subject: &str) -> Result<(), Refused> {
        self.inner.revoke(Revocation::Subject(subject.to_owned())).await
    }

    /// Closes a session wherever it is; its token stays good.
    ///
    /// # Errors
    /// As [`Revocations::revoke_family`].
    pub async fn close_session(&self, session: &str) -> Result<(), Refused> {
        self.inner.revoke(Revocation::Session(session.to_owned())).await
    }

    /// Whether what this principal has was revoked, as far as its own times tell; to be asked at a handshake.
    ///
    /// # Errors
    /// [`Refused::Unavailable`] when the bus is away and the principal descends from a sign-in: nobody gets in unchecked.
    pub async fn is_revoked(&self, principal: &Principal) -> Result<bool, Refused> {
        // The latest that a token of a person can have been minted.
        let issued = principal.family.as_ref().and(principal.expires).map(|at| at.saturating_sub(ACCESS_TTL.as_secs()));
        self.is_revoked_since(principal, issued).await
    }

    /// As [`Revocations::is_revoked`], for a token minted at `issued`, seconds since the Unix epoch.
    ///
    /// # Errors
    /// As [`Revocations::is_revoked`].
    pub async fn is_revoked_since(&self, principal: &Principal, issued: Option<u64>) -> Result<bool, Refused> {
        let subject = Revocation::Subject(principal.subject.clone());
        let covers = |at: u64| issued.is_none_or(|issued| issued <= at);
        if self.inner.heard_at(&subject).is_some_and(covers) {
            return Ok(true);
        }
        let Some(family) = principal.family.clone().map(Revocation::Family) else {
            // Whatever else was revoked for a machine or by another issuer is in the database, or not ours to know.
            let at = self.inner.on_the_bus(&subject).await.unwrap_or(None);
            return Ok(at.is_some_and(covers));
        };
        if self.inner.heard_at(&family).is_some() {
            return Ok(true);
        }
        let (family, subject) = tokio::join!(self.inner.on_the_bus(&family), self.inner.on_the_bus(&subject));
        Ok(family?.is_some() || subject?.is_some_and(covers))
    }

    /// Hears of what is revoked from now on, and of the family if it was revoked before.
    #[must_use]
    pub fn watch(&self, family: Option<&str>, subject: &str) -> Watch {
        let watch = self.inner.watchers.watch(family, subject);
        if let Some(family) = family.map(|id| Revocation::Family(id.to_owned()))
            && self.inner.heard_at(&family).is_some()
        {
            self.inner.watchers.tell(&family);
        }
        watch
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    async fn revoke(&self, what: Revocation) -> Result<(), Refused> {
        let now = self.clock.now();
        self.hear(what.clone(), now);
        let written = self.database.add_revocation(what.kind(), what.id(), now).await;
        let notice = Notice { what, at: now };
        let published = self.publish(&notice).await;
        if published.is_err() {
            let mut outbox = lock(&self.outbox);
            if outbox.len() < OUTBOX {
                outbox.push_back(notice);
            }
        }
        written?;
        published
    }

    async fn publish(&self, notice: &Notice) -> Result<(), Refused> {
        let payload = serde_json::to_vec(notice).map_err(|_| Refused::Unavailable)?;
        let value = Bytes::from(notice.at.to_string());
        let effects = Effects {
            set: notice.what.key().map(|key| StateWrite { key, value, ttl: REMEMBERED }).into_iter().collect(),
            publish: vec![Publish { stream: STREAM.to_owned(), payload: payload.into(), ttl: STREAM_TTL }],
            ..Effects::default()
        };
        self.ask(self.bus.commit(effects)).await.map(drop)
    }

    /// When `what` was revoked, as the bus has it.
    async fn on_the_bus(&self, what: &Revocation) -> Result<Option<u64>, Refused> {
        let Some(key) = what.key() else { return Ok(None) };
        let value = self.ask(self.bus.get(&key)).await?;
        // A value that cannot be read revokes everything.
        Ok(value.map(|value| std::str::from_utf8(&value).ok().and_then(|at| at.parse().ok()).unwrap_or(u64::MAX)))
    }

    async fn ask<T>(&self, question: impl Future<Output = Result<T, shared::bus::BusError>>) -> Result<T, Refused> {
        match timeout(BUS_PATIENCE, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::warn!(%error, "revocations cannot be checked");
                Err(Refused::Unavailable)
            }
            Err(_) => {
                tracing::warn!("the bus is too slow: revocations cannot be checked");
                Err(Refused::Unavailable)
            }
        }
    }

    fn heard_at(&self, what: &Revocation) -> Option<u64> {
        lock(&self.heard).get(what).copied()
    }

    /// Takes note of a revocation, and tells whom it concerns unless they were told before.
    fn hear(&self, what: Revocation, at: u64) {
        let news = {
            let mut heard = lock(&self.heard);
            let news = heard.get(&what).is_none_or(|before| *before < at);
            if news {
                heard.insert(what.clone(), at);
            }
            news
        };
        if news {
            self.watchers.tell(&what);
        }
    }

    /// What the database has since `since`.
    async fn read_database(&self, since: u64) -> Result<(), Refused> {
        for (kind, id, at) in self.database.revocations_since(since).await? {
            if let Some(what) = Revocation::from_parts(&kind, id) {
                self.hear(what, crate::database::seconds(at));
            }
        }
        Ok(())
    }
}
