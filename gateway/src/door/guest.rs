//! What a session holds of its client: who it is, and what it may still do.

use std::{future::pending, mem::take, net::IpAddr, sync::Arc, time::Duration};

use identity::{
    People, Principal, Refused, Scope,
    database::Transcript,
    revocation::{Revocation, Watch},
};
use shared::{bus::Held, ids::SessionId, wire::ErrorCode};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedSemaphorePermit},
};

use super::{
    Door, TurnedAway,
    limits::{address_name, quota_exceeded},
    live::{LiveSession, now},
    pace::Pace,
};

/// Why a session must end although the client did nothing wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expelled {
    /// `auth_error`, `forbidden`, `rate_limited`, `overloaded` or `quota_exceeded`.
    pub code: ErrorCode,
    /// What happened and what to do, for people.
    pub message: String,
}

impl From<TurnedAway> for Expelled {
    fn from(away: TurnedAway) -> Self {
        Self { code: away.code, message: away.message }
    }
}

/// A client that was let in. Dropping it gives its place to others.
#[derive(Debug)]
pub struct Guest {
    who: Principal,
    /// `None`: no limits.
    watched: Option<Watched>,
    _place: Option<OwnedSemaphorePermit>,
}

/// What is known of a client that was asked who it is.
#[derive(Debug)]
struct Watched {
    door: Arc<Door>,
    people: People,
    revoked: Mutex<Watch>,
    /// `None` with the scope `batch`.
    pace: Option<Pace>,
    held: Held,
    session: Option<LiveSession>,
    address: String,
    /// Heard and not yet written to the usage, milliseconds.
    unbooked_ms: u64,
    /// Written to the usage and not yet counted against the quota, likewise.
    uncounted_ms: u64,
}

/// Where a client stays.
#[derive(Debug)]
pub(super) struct Stay {
    pub(super) held: Held,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) address: IpAddr,
}

impl Guest {
    /// Somebody at the machine itself, whom nobody asks to sign in: without limits.
    #[must_use]
    pub fn local() -> Self {
        Self { who: Principal::local(), watched: None, _place: None }
    }

    /// The same, with a place of this gateway.
    pub(super) fn unasked(place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..Self::local() }
    }

    pub(super) fn new(who: Principal, door: Arc<Door>, stay: Stay) -> Self {
        let Stay { held, place, address } = stay;
        let watched = door.people.clone().map(|people| Watched {
            revoked: Mutex::new(people.revocations().watch(who.family.as_deref(), &who.subject)),
            pace: (!who.scopes.has(Scope::Batch)).then(Pace::new),
            session: None,
            address: address_name(address),
            unbooked_ms: 0,
            uncounted_ms: 0,
            people,
            door,
            held,
        });
        Self { who, watched, _place: Some(place) }
    }

    /// Whether the session named at the handshake has a place, so that this guest took none.
    pub(super) fn goes_on(&self) -> bool {
        self.watched.as_ref().is_some_and(|watched| watched.held.stamp == 0)
    }

    /// Who it is.
    #[must_use]
    pub fn who(&self) -> &Principal {
        &self.who
    }

    /// Gives the place taken at the handshake the name of the session; to be called once, before `started`. A session that
    /// is resumed has a place already, and goes on with that one.
    ///
    /// # Errors
    /// `rate_limited` or `overloaded` when the session is a new one and no place is left for it, which is only possible
    /// where the handshake named another session to resume.
    pub async fn take_place(&mut self, session: SessionId) -> Result<(), Expelled> {
        let Some(watched) = &mut self.watched else { return Ok(()) };
        let session = session.to_string();
        watched.revoked.get_mut().session(&session);
        watched.door.limits.hold(&mut watched.held, &session).await.inspect_err(|away| {
            watched.door.metrics.count_expelled(away.code);
        })?;
        let (subject, address) = (self.who.subject.clone(), watched.address.clone());
        let live = LiveSession { session, subject, since: now(), gateway: String::new(), address, audio_ms: 0 };
        watched.session = Some(live.clone());
        watched.door.live.tell(live).await;
        Ok(())
    }

    /// Resolves when the session must end now: its sign-in was revoked, or an operator closed it. Cancel-safe.
    pub async fn expelled(&self) -> Expelled {
        let Some(watched) = &self.watched else { return pending().await };
        let (code, message) = match watched.revoked.lock().await.revoked().await {
            Revocation::Session(_) => (ErrorCode::Forbidden, "an operator closed this session"),
            Revocation::Family(_) | Revocation::Subject(_) => {
                (ErrorCode::AuthError, "this sign-in was ended; sign in again")
            }
        };
        watched.door.metrics.count_expelled(code);
        Expelled { code, message: message.to_owned() }
    }

    /// Resolves when more audio may be read: at most 1.25 times real time beyond a burst of 10 s, without limit with the
    /// scope `batch`. Who does not read meanwhile holds the client back by TCP, and nothing is lost. Cancel-safe.
    pub async fn may_read(&self) {
        if let Some(pace) = self.watched.as_ref().and_then(|watched| watched.pace.as_ref()) {
            pace.ready().await;
        }
    }

    /// New audio came, `audio_ms` of it (not audio sent again in a resume).
    pub fn heard(&mut self, audio_ms: u64) {
        let Some(watched) = &mut self.watched else { return };
        watched.unbooked_ms += audio_ms;
        if let Some(live) = &mut watched.session {
            live.audio_ms += audio_ms;
        }
        if let Some(pace) = &mut watched.pace {
            pace.heard(Duration::from_millis(audio_ms));
        }
    }

    /// Keeps a final text of `session` where the operator wants texts kept; nobody waits for it. `language` is what was
    /// spoken.
    pub fn keep_text(&self, session: SessionId, utterance: u32, language: &str, target: Option<&str>, text: &str) {
        let Some(people) = self.watched.as_ref().map(|watched| watched.people.clone()) else { return };
        if !people.keeps_transcripts() || text.is_empty() {
            return;
        }
        let (session, subject) = (session.to_string(), self.who.subject.clone());
        let (language, target, text) = (language.to_owned(), target.map(str::to_owned), text.to_owned());
        tokio::spawn(async move {
            let (session, subject, language) = (session.as_str(), subject.as_str(), language.as_str());
            let (utterance, target, text) = (u64::from(utterance), target.as_deref(), text.as_str());
            let said = Transcript { session, subject, utterance, language, target, text };
            if people.keep_transcript(said).await.is_err() {
                tracing::warn!(session, utterance, "a final text could not be kept in the database");
            }
        });
    }

    /// This much audio may come at once: what the client of a resumed session kept meanwhile.
    pub fn grant(&mut self, audio_ms: u64) {
        if let Some(pace) = self.watched.as_mut().and_then(|watched| watched.pace.as_mut()) {
            pace.grant(Duration::from_millis(audio_ms));
        }
    }

    /// Books what was heard, renews the place, checks the day's quota. To be called about every 10 s and at the end. While
    /// the bus is away it does what it can, and the rest next time.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub async fn settle(&mut self) -> Result<(), Expelled> {
        let (Some(watched), subject) = (&mut self.watched, &self.who.subject) else { return Ok(()) };
        let heard = take(&mut watched.unbooked_ms);
        watched.uncounted_ms += heard;
        if heard > 0 {
            // A database that is away must not hold up captions.
            let (people, subject) = (watched.people.clone(), subject.clone());
            tokio::spawn(async move { people.used(&subject, heard).await });
        }
        let limits = &watched.door.limits;
        let quota = limits.quota_ms();
        let mut used = 0;
        if watched.uncounted_ms > 0
            && let Some(sum) = limits.book(subject, watched.uncounted_ms).await
        {
            (watched.uncounted_ms, used) = (0, sum);
        }
        let name = watched.held.holder.clone();
        // Under its own name nobody is refused.
        drop(limits.hold(&mut watched.held, &name).await);
        if let Some(live) = watched.session.clone() {
            watched.door.live.tell(live).await;
        }
        if quota.is_some_and(|quota| used >= quota) {
            watched.door.metrics.count_expelled(ErrorCode::QuotaExceeded);
            return Err(quota_exceeded().into());
        }
        Ok(())
    }

    /// Goes on with a new token of the same subject.
    ///
    /// # Errors
    /// See [`Refused`]; [`Refused::Forbidden`] when it names somebody else, or does not allow sessions.
    pub async fn renew(&mut self, token: &str) -> Result<(), Refused> {
        let Some(watched) = &mut self.watched else { return Ok(()) };
        let renewed = watched.people.verify(token).await?;
        if renewed.subject != self.who.subject {
            return Err(Refused::Forbidden("the new token names somebody else; connect again with it"));
        }
        if !renewed.scopes.has(Scope::Stream) {
            return Err(Refused::Forbidden("the new token does not allow sessions"));
        }
        let mut revoked = watched.people.revocations().watch(renewed.family.as_deref(), &renewed.subject);
        if let Some(live) = &watched.session {
            revoked.session(&live.session);
        }
        watched.revoked = Mutex::new(revoked);
        watched.pace = match (renewed.scopes.has(Scope::Batch), watched.pace.take()) {
            (true, _) => None,
            (false, pace) => Some(pace.unwrap_or_else(Pace::new)),
        };
        self.who = renewed;
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (door, held) = (Arc::clone(&self.door), self.held.clone());
        // Without a runtime the process is at its end; the lease ends soon after it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { door.limits.leave(&held).await });
        }
    }
}
