//! Something fetched that stays good for a while: fetched by one caller at a time, and used on while its source is away.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, MutexGuard};

use crate::Clock;

/// Least and most time that an answer is taken for fresh, whatever its headers say; and what counts without a header.
const FRESH_AT_LEAST: Duration = Duration::from_secs(5 * 60);
const FRESH_AT_MOST: Duration = Duration::from_secs(24 * 3600);
const FRESH_BY_DEFAULT: Duration = Duration::from_secs(3600);
/// How much longer it is used when no new one can be had (RFC 5861 §4, stale-if-error).
const USABLE_WITHOUT_SOURCE: Duration = Duration::from_secs(24 * 3600);
/// Between attempts that failed; after five of them the breaker makes it a minute.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Least time between two fetches that somebody's unknown key asked for.
pub(super) const BETWEEN_ASKED: Duration = Duration::from_secs(60);

/// An answer and how long it is good for.
#[derive(Debug)]
pub(super) struct Fetched<T> {
    pub(super) value: T,
    pub(super) fresh_for: Duration,
}

/// The source does not answer, and nothing usable is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Away;

#[derive(Debug)]
pub(super) struct Cached<T> {
    clock: Clock,
    held: RwLock<Option<Held<T>>>,
    flight: Mutex<Flight>,
    fetches: AtomicU64,
}

#[derive(Debug)]
struct Held<T> {
    value: Arc<T>,
    /// Seconds since the Unix epoch.
    fresh_until: u64,
    usable_until: u64,
}

/// What whoever fetches must know of those before.
#[derive(Debug, Default)]
struct Flight {
    last: Option<u64>,
    failed: bool,
}

impl Flight {
    fn within(&self, now: u64, time: Duration) -> bool {
        self.last.is_some_and(|last| now.saturating_sub(last) < time.as_secs())
    }
}

impl<T> Cached<T> {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, held: RwLock::new(None), flight: Mutex::default(), fetches: AtomicU64::new(0) }
    }

    /// How often the source was asked.
    pub(super) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Acquire)
    }

    /// What is held while it is fresh; else what `fetch` brings, or what is held while that is usable.
    pub(super) async fn get<E>(&self, fetch: impl AsyncFnOnce() -> Result<Fetched<T>, E>) -> Result<Arc<T>, Away> {
        let now = self.clock.now();
        if let Some(fresh) = self.held(|held| now < held.fresh_until) {
            return Ok(fresh);
        }
        let mut flight = match self.held(|held| now < held.usable_until) {
            // Somebody fetches already, and what is here will do: nobody waits for an issuer that hangs.
            Some(usable) => match self.flight.try_lock() {
                Ok(flight) => flight,
                Err(_) => return Ok(usable),
            },
            None => self.flight.lock().await,
        };
        let now = self.clock.now();
        if let Some(fresh) = self.held(|held| now < held.fresh_until) {
            return Ok(fresh);
        }
        if !(flight.failed && flight.within(now, RETRY_AFTER_FAILURE)) {
            self.fetch(&mut flight, fetch).await;
        }
        self.held(|held| now < held.usable_until).ok_or(Away)
    }

    /// Something newer than `seen`, which somebody missed something in; `None` when there is nothing newer, or the last
    /// attempt is less than [`BETWEEN_ASKED`] ago.
    pub(super) async fn newer<E>(
        &self,
        seen: &Arc<T>,
        fetch: impl AsyncFnOnce() -> Result<Fetched<T>, E>,
    ) -> Option<Arc<T>> {
        let mut flight = self.flight.lock().await;
        let other = |held: Option<Arc<T>>| held.filter(|held| !Arc::ptr_eq(held, seen));
        if let Some(newer) = other(self.held(|_| true)) {
            return Some(newer);
        }
        if flight.within(self.clock.now(), BETWEEN_ASKED) {
            return None;
        }
        self.fetch(&mut flight, fetch).await;
        other(self.held(|_| true))
    }

    async fn fetch<E>(&self, flight: &mut MutexGuard<'_, Flight>, fetch: impl AsyncFnOnce() -> Result<Fetched<T>, E>) {
        let now = self.clock.now();
        // Written first: a caller that is cancelled has asked as well.
        (flight.last, flight.failed) = (Some(now), true);
        self.fetches.fetch_add(1, Ordering::AcqRel);
        let Ok(Fetched { value, fresh_for }) = fetch().await else { return };
        flight.failed = false;
        let fresh_until = now + fresh_for.as_secs();
        let usable_until = fresh_until + USABLE_WITHOUT_SOURCE.as_secs();
        let held = Held { value: Arc::new(value), fresh_until, usable_until };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }

    fn held(&self, when: impl Fn(&Held<T>) -> bool) -> Option<Arc<T>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|held| when(held)).map(|held| Arc::clone(&held.value))
    }
}

/// How long an answer with these `Cache-Control` and `Age` headers is fresh (RFC 9111 §4.2), within our own bounds.
pub(super) fn fresh_for(cache_control: Option<&str>, age: Option<&str>) -> Duration {
    let seconds = |text: &str| text.trim().trim_matches('"').parse::<u64>().ok();
    let directives = || cache_control.unwrap_or_default().split(',').map(|part| part.trim().to_ascii_lowercase());
    if directives().any(|directive| ["no-store", "no-cache"].contains(&directive.as_str())) {
        return FRESH_AT_LEAST;
    }
    let max_age = directives().find_map(|directive| seconds(directive.strip_prefix("max-age=")?));
    let Some(max_age) = max_age else { return FRESH_BY_DEFAULT };
    let left = max_age.saturating_sub(age.and_then(seconds).unwrap_or_default());
    Duration::from_secs(left).clamp(FRESH_AT_LEAST, FRESH_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_how_long_within_our_bounds() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        assert_eq!(fresh_for(Some("public, max-age=19845, must-revalidate"), None), Duration::from_secs(19_845));
        assert_eq!(fresh_for(Some("Max-Age=7200"), Some("3600")), hours(1));
        assert_eq!(fresh_for(Some("max-age=1"), None), FRESH_AT_LEAST);
        assert_eq!(fresh_for(Some("max-age=99999999999"), None), hours(24));
        assert_eq!(fresh_for(Some("no-store, max-age=9999"), None), FRESH_AT_LEAST);
        assert_eq!(fresh_for(None, None), hours(1));
        assert_eq!(fresh_for(Some("max-age=soon"), None), hours(1));
    }

    fn ok(value: u32) -> Result<Fetched<u32>, ()> {
        Ok(Fetched { value, fresh_for: Duration::from_secs(600) })
    }

    #[tokio::test]
    async fn is_used_on_for_a_day_when_the_source_is_away_and_then_no_longer() {
        let clock = Clock::default();
        let cached = Cached::new(clock.clone());
        assert_eq!(cached.get(async || Err(())).await, Err(Away));
        clock.advance(RETRY_AFTER_FAILURE);
        assert_eq!(cached.get(async || ok(1)).await.as_deref(), Ok(&1));
        clock.advance(Duration::from_secs(601));
        assert_eq!(cached.get(async || Err(())).await.as_deref(), Ok(&1));
        let asked = cached.fetches();
        assert_eq!(cached.get(async || Err(())).await.as_deref(), Ok(&1));
        assert_eq!(cached.fetches(), asked, "not again within seconds");
        clock.advance(USABLE_WITHOUT_SOURCE);
        assert_eq!(cached.get(async || Err(())).await, Err(Away));
    }

    #[tokio::test]
    async fn is_fetched_once_by_many_and_anew_at_most_once_a_minute() {
        let clock = Clock::default();
        let cached = Arc::new(Cached::new(clock.clone()));
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ok(1)
        };
        let (a, b) = tokio::join!(cached.get(slow), cached.get(slow));
        assert_eq!((a.as_deref(), b.as_deref(), cached.fetches()), (Ok(&1), Ok(&1), 1));
        let seen = a.unwrap();
        assert_eq!(cached.newer(&seen, async || ok(2)).await, None, "fetched just now");
        clock.advance(BETWEEN_ASKED);
        assert_eq!(cached.newer(&seen, async || ok(2)).await.as_deref(), Some(&2));
        assert_eq!(cached.newer(&seen, async || ok(3)).await.as_deref(), Some(&2), "somebody else had it fetched");
        assert_eq!(cached.fetches(), 2);
    }

    #[tokio::test]
    async fn whoever_has_something_usable_does_not_wait_for_a_source_that_hangs() {
        let clock = Clock::default();
        let cached = Cached::new(clock.clone());
        cached.get(async || ok(1)).await.unwrap();
        clock.advance(Duration::from_secs(601));
        let hanging = cached.get(async || std::future::pending::<Result<Fetched<u32>, ()>>().await);
        tokio::pin!(hanging);
        assert!(futures_util::poll!(&mut hanging).is_pending());
        assert_eq!(cached.get(async || ok(2)).await.as_deref(), Ok(&1));
    }
}
