//! The limits that all gateways share by the bus, and what holds while the bus is away.
//!
//! The same questions then go to a bus inside this process: same figures, for this gateway alone. Only `/auth/` is closed
//! meanwhile, for guessing at sign-ins is what its limit is there to stop.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use shared::{
    bus::{Admission, Admit, Bucket, Bus, BusError, Ceiling, Held, LimitKind, MemoryBus, Places, StateWrite},
    wire::ErrorCode,
};
use tokio::time::{Instant, timeout};

use super::{metrics::DoorMetrics, settings::DoorSettings, turned_away::TurnedAway};

/// A place is held for so long unless it is renewed: three renewals, and well within the time a session can be resumed in.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// A bus that needs longer counts as away: who stands at the door shall not wait for it.
const BUS_PATIENCE: Duration = Duration::from_millis(500);
/// For so long nobody asks a bus that was away.
const LEAVE_ALONE: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// The set of all sessions.
pub(crate) const ALL_PLACES: &str = "places:all";
/// What is written to see whether the bus can be written to.
const WRITABLE: &str = "rate:writable";

/// Buckets, places and quotas.
#[derive(Debug)]
pub struct Limits {
    settings: DoorSettings,
    max_sessions: u32,
    bus: Arc<dyn Bus>,
    local: MemoryBus,
    away_until: Mutex<Option<Instant>>,
    metrics: DoorMetrics,
}

/// Name of an address in a key: not the address, and for IPv6 its network, as one customer has that many (RFC 6177).
pub(crate) fn address_name(address: IpAddr) -> String {
    let network = match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x}", address.to_bits() >> 64),
    };
    hash(&network)
}

/// 128 bits of SHA-256 in hexadecimal.
pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Day number since the Unix epoch, and the time until the next day begins (UTC).
fn today() -> (u64, Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let day = now.as_secs() / DAY.as_secs();
    (day, Duration::from_secs((day + 1) * DAY.as_secs()).saturating_sub(now))
}

fn usage_key(subject: &str) -> String {
    format!("usage:{subject}:{}", today().0)
}

pub(crate) fn places_of(subject: &str) -> String {
    format!("places:{subject}")
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Limits {
    /// Limits on this bus.
    #[must_use]
    pub fn new(settings: DoorSettings, max_sessions: usize, bus: Arc<dyn Bus>, metrics: DoorMetrics) -> Self {
        let max_sessions = u32::try_from(max_sessions).unwrap_or(u32::MAX);
        Self { settings, max_sessions, bus, local: MemoryBus::new(), away_until: Mutex::new(None), metrics }
    }

    /// Counts a connection from `address`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub async fn connect(&self, address: IpAddr) -> Result<(), TurnedAway> {
        let key = format!("rate:address:{}", address_name(address));
        let wanted = one_of(key, self.settings.connections_per_minute);
        read(self.ask(&wanted).await?, "address_rate", "connections from this address come too fast").map(drop)
    }

    /// Counts a request from `address` that is neither a handshake nor sign-in.
    ///
    /// # Errors
    /// `rate_limited`.
    pub async fn request(&self, address: IpAddr) -> Result<(), TurnedAway> {
        let key = format!("rate:request:{}", address_name(address));
        let wanted = one_of(key, self.settings.connections_per_minute);
        read(self.ask(&wanted).await?, "address_rate", "requests from this address come too fast").map(drop)
    }

    /// Counts a request from `address` to `/auth/`.
    ///
    /// # Errors
    /// `rate_limited`; `unavailable` while the bus is away.
    pub async fn sign_in(&self, address: IpAddr) -> Result<(), TurnedAway> {
        let wanted = one_of(format!("rate:auth:{}", address_name(address)), self.settings.auth_per_minute);
        let admission = timeout(BUS_PATIENCE, self.bus.admit(&wanted)).await;
        let Ok(Ok(admission)) = admission else { return Err(TurnedAway::unavailable()) };
        read(admission, "auth_rate", "requests from this address come too fast").map(drop)
    }

    /// Takes a place for a session of `subject`, unless `resumed` has one already.
    ///
    /// # Errors
    /// `rate_limited`, `quota_exceeded`, `overloaded`.
    pub async fn take_place(&self, subject: &str, resumed: Option<String>) -> Result<Held, TurnedAway> {
        let rate =
            Bucket { key: format!("rate:subject:{subject}"), most: self.settings.connections_per_minute, per: MINUTE };
        let quota = self.settings.daily_quota.map(|quota| Ceiling { key: usage_key(subject), most: whole_ms(quota) });
        let places = vec![
            Places { key: places_of(subject), most: self.settings.sessions_per_user },
            Places { key: ALL_PLACES.to_owned(), most: self.max_sessions },
        ];
        let wanted = Admit {
            buckets: vec![rate],
            ceilings: quota.into_iter().collect(),
            places,
            holder: format!("arriving-{:032x}", rand::random::<u128>()),
            instead_of: resumed,
            lease: LEASE,
        };
        let stamp = read(self.ask(&wanted).await?, "subject_rate", "your connections come too fast")?;
        Ok(Held { places: wanted.places, holder: wanted.holder, stamp })
    }

    /// Renews places, under the name `to`.
    ///
    /// # Errors
    /// `rate_limited`, `overloaded`: only a new name can be refused. While the bus is away nobody is.
    pub async fn hold(&self, held: &mut Held, to: &str) -> Result<(), TurnedAway> {
        let answer = if self.bus_is_there() {
            self.heed(timeout(BUS_PATIENCE, self.bus.hold(held, to, LEASE)).await)?
        } else {
            None
        };
        match answer {
            Some(Some(admission)) => {
                held.stamp = read(admission, "subject_rate", "your connections come too fast")?;
                to.clone_into(&mut held.holder);
            }
            // The session goes on somewhere else, and its place with it.
            Some(None) => {}
            // Taken again as soon as the bus is back; until then this gateway counts it.
            None => {
                let here = Held { stamp: 0, ..held.clone() };
                drop(self.local.hold(&here, to, LEASE).await);
                to.clone_into(&mut held.holder);
            }
        }
        Ok(())
    }

    /// Gives places to others.
    pub async fn leave(&self, held: &Held) {
        if !matches!(timeout(BUS_PATIENCE, self.bus.leave(held)).await, Ok(Ok(()))) {
            tracing::debug!("a place was not given back; its lease ends soon");
        }
        drop(self.local.leave(held).await);
    }

    /// Books heard audio, and says how much `subject` was heard today; `None` while the bus is away: nothing was booked.
    pub async fn book(&self, subject: &str, audio_ms: u64) -> Option<u64> {
        let booked = timeout(BUS_PATIENCE, self.bus.count(&usage_key(subject), audio_ms, 2 * DAY)).await;
        booked.ok().and_then(Result::ok)
    }

    /// Audio of `subject` today, milliseconds.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn used_today(&self, subject: &str) -> Result<u64, TurnedAway> {
        self.book(subject, 0).await.ok_or_else(TurnedAway::unavailable)
    }

    /// Audio that one person may send in a day, milliseconds.
    #[must_use]
    pub fn quota_ms(&self) -> Option<u64> {
        self.settings.daily_quota.map(whole_ms)
    }

    /// Asks the bus, or, while that is away, the limiter of this process.
    async fn ask(&self, wanted: &Admit) -> Result<Admission, TurnedAway> {
        if self.bus_is_there()
            && let Some(admission) = self.heed(timeout(BUS_PATIENCE, self.bus.admit(wanted)).await)?
        {
            return Ok(admission);
        }
        self.local.admit(wanted).await.map_err(|_| TurnedAway::unavailable())
    }

    fn bus_is_there(&self) -> bool {
        let away_until = self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        away_until.is_none_or(|until| Instant::now() >= until)
    }

    /// What the bus said; `None` when it is away.
    fn heed<T>(&self, answer: Result<Result<T, BusError>, impl std::error::Error>) -> Result<Option<T>, TurnedAway> {
        let away = match &answer {
            Ok(Ok(_)) => false,
            Ok(Err(BusError::OutOfMemory)) => {
                let message = "no room is left for another session; try again soon";
                let away = TurnedAway::new(ErrorCode::Overloaded, "full", message);
                self.set_away(false);
                return Err(away.after(Duration::from_secs(10)));
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "limits are those of this gateway alone: the bus is away");
                true
            }
            Err(_) => {
                tracing::warn!("limits are those of this gateway alone: the bus does not answer");
                true
            }
        };
        self.set_away(away);
        Ok(answer.ok().and_then(Result::ok))
    }

    /// Takes note of whether the bus `answered` a question just now. One that was away is back once it can also be written to:
    /// limits are counted, and a replica or a full disk only lets itself be read.
    pub(super) async fn look(&self, answered: bool) {
        let was_away = self.away_until.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let back = answered && (!was_away || self.can_write().await);
        self.set_away(!back);
    }

    async fn can_write(&self) -> bool {
        let mark = StateWrite { key: WRITABLE.to_owned(), value: Bytes::new(), ttl: LEASE };
        matches!(timeout(BUS_PATIENCE, self.bus.set(mark)).await, Ok(Ok(()) | Err(BusError::OutOfMemory)))
    }

    fn set_away(&self, away: bool) {
        self.metrics.set_local(away);
        let leave_alone = away.then(|| Instant::now() + LEAVE_ALONE);
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = leave_alone;
    }
}

/// One out of a bucket of so many a minute.
fn one_of(key: String, most: u32) -> Admit {
    let buckets = vec![Bucket { key, most, per: MINUTE }];
    let (ceilings, places, holder) = (Vec::new(), Vec::new(), String::new());
    Admit { buckets, ceilings, places, holder, instead_of: None, lease: LEASE }
}

/// The stamp of what was given. `rate` and `too_fast` tell of an empty bucket.
fn read(admission: Admission, rate: &'static str, too_fast: &str) -> Result<u64, TurnedAway> {
    let (limit, index, retry_after) = match admission {
        Admission::Admitted { stamp } => return Ok(stamp),
        Admission::Refused { limit, index, retry_after } => (limit, index, retry_after),
    };
    Err(match (limit, index) {
        (LimitKind::Bucket, _) => {
            let message = format!("{too_fast}; wait a moment");
            TurnedAway::new(ErrorCode::RateLimited, rate, message).after(retry_after)
        }
        (LimitKind::Ceiling, _) => quota_exceeded(),
        (LimitKind::Places, 0) => {
            let message = "too many of your sessions are open; close one, or wait until it has ended";
            TurnedAway::new(ErrorCode::RateLimited, "sessions", message).after(Duration::from_secs(10))
        }
        (LimitKind::Places, _) => full(),
    })
}

pub(super) fn full() -> TurnedAway {
    TurnedAway::new(ErrorCode::Overloaded, "full", "all sessions are taken; try again soon")
        .after(Duration::from_secs(10))
}

pub(super) fn quota_exceeded() -> TurnedAway {
    let message = "the audio of today is used up; it begins anew at midnight UTC";
    TurnedAway::new(ErrorCode::QuotaExceeded, "quota", message).after(today().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_network_and_not_readable() {
        let name = |address: &str| address_name(address.parse().unwrap());
        assert_eq!(name("2001:db8::1"), name("2001:db8::ffff:1"));
        assert_ne!(name("2001:db8::1"), name("2001:db8:0:1::1"));
        assert_eq!(name("::ffff:192.0.2.1"), name("192.0.2.1"));
        assert_ne!(name("192.0.2.1"), name("192.0.2.2"));
        assert!(!name("192.0.2.1").contains("192"));
    }
}
