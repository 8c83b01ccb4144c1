//! What a session holds of its client: who it is, and what it may still do.

use std::{future::pending, sync::Arc, time::Duration};

use identity::{Principal, Refused, Scope};
use shared::{ids::SessionId, wire::ErrorCode};
use tokio::sync::OwnedSemaphorePermit;

use super::{Door, pace::Pace};

/// Why a session must end although the client did nothing wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expelled {
    /// `auth_error`, `rate_limited`, `quota_exceeded` or `forbidden`.
    pub code: ErrorCode,
    /// What happened and what to do, for people.
    pub message: String,
}

/// A client that was let in. Dropping it gives its place to others.
#[derive(Debug)]
pub struct Guest {
    who: Principal,
    /// `None`: no limits.
    pace: Option<Pace>,
    /// Heard and not yet booked, milliseconds.
    unbooked_ms: u64,
    /// `None` for [`Guest::local`].
    door: Option<Arc<Door>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Guest {
    /// Somebody at the machine itself, whom nobody asks to sign in: without limits.
    #[must_use]
    pub fn local() -> Self {
        Self { who: Principal::local(), pace: None, unbooked_ms: 0, door: None, _place: None }
    }

    pub(super) fn new(who: Principal, door: Arc<Door>, place: OwnedSemaphorePermit) -> Self {
        let paced = door.asks() && !who.scopes.has(Scope::Batch);
        Self { who, pace: paced.then(Pace::new), unbooked_ms: 0, door: Some(door), _place: Some(place) }
    }

    /// Who it is.
    #[must_use]
    pub fn who(&self) -> &Principal {
        &self.who
    }

    /// Gives the place taken at the handshake the name of the session, to be called once before `started`. A session that
    /// is resumed has a place already, and goes on with that one.
    ///
    /// # Errors
    /// `rate_limited` when the session is a new one, and no place is left for it.
    #[expect(clippy::unused_async)]
    pub async fn take_place(&mut self, _session: SessionId) -> Result<(), Expelled> {
        Ok(())
    }

    /// Resolves when the session must end now: its sign-in was revoked, or an admin closed it. Cancel-safe.
    pub async fn expelled(&self) -> Expelled {
        pending().await
    }

    /// Resolves when more audio may be read: at most 1.25 times real time beyond a burst of 10 s, without limit with the
    /// scope `batch`. Who does not read meanwhile holds the client back by TCP, and nothing is lost. Cancel-safe.
    pub async fn may_read(&self) {
        if let Some(pace) = &self.pace {
            pace.ready().await;
        }
    }

    /// New audio came, `audio_ms` of it (not audio sent again in a resume).
    pub fn heard(&mut self, audio_ms: u64) {
        self.unbooked_ms += audio_ms;
        if let Some(pace) = &mut self.pace {
            pace.heard(Duration::from_millis(audio_ms));
        }
    }

    /// This much audio may come at once: what the client of a resumed session kept meanwhile.
    pub fn grant(&mut self, audio_ms: u64) {
        if let Some(pace) = &mut self.pace {
            pace.grant(Duration::from_millis(audio_ms));
        }
    }

    /// Books what was heard, renews the place, checks the day's quota. To be called about every 10 s and at the end.
    ///
    /// # Errors
    /// `quota_exceeded`.
    #[expect(clippy::unused_async)]
    pub async fn settle(&mut self) -> Result<(), Expelled> {
        self.unbooked_ms = 0;
        Ok(())
    }

    /// Goes on with a new token of the same subject.
    ///
    /// # Errors
    /// See [`Refused`]; [`Refused::Forbidden`] when it names somebody else.
    pub async fn renew(&mut self, token: &str) -> Result<(), Refused> {
        let Some(door) = &self.door else { return Ok(()) };
        let renewed = door.verify(token).await?;
        if renewed.subject != self.who.subject {
            return Err(Refused::Forbidden("the new token names somebody else; connect again with it"));
        }
        self.who = renewed;
        Ok(())
    }
}
