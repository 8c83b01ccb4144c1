//! What a session does because time passes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use identity::Refused;
use shared::{
    jobs::SESSION_TTL,
    wire::{ErrorCode, ServerMessage},
};

use super::{MAX_OWED, Session, end::End};
use crate::{dispatch::millis, socket::Outbox};

/// Cloudflare closes silent connections after about 100 s; a ping every 20 s keeps them.
pub(super) const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that gave no sign of life for so long is gone: two pings and a reserve, and noticed before 45 s are over.
const DEAD_AFTER: Duration = Duration::from_secs(43);
/// Decodes older than this, and captions less frequent, are worth telling the client.
const LAG_AFTER: Duration = Duration::from_secs(2);
/// The route of the event stream is renewed well within its time to live.
const RENEW_EVERY: Duration = Duration::from_secs(200);
/// How often usage is booked.
const SETTLE_EVERY: Duration = Duration::from_secs(10);
/// A session lasts no longer, so that nothing is kept for ever for a client that forgot it.
const MAX_SESSION: Duration = Duration::from_secs(12 * 3600);
/// The client is told so long before its session reaches [`MAX_SESSION`].
const LENGTH_WARNING: Duration = Duration::from_secs(60);
/// An answer that is not there after so long may have gone elsewhere.
const OVERDUE: Duration = Duration::from_secs(5);
/// The client is told so long before its token ends.
const TOKEN_WARNING: Duration = Duration::from_secs(60);
/// A token is good for so long after its end, in a session that is under way.
const TOKEN_GRACE: Duration = Duration::from_secs(30);

impl Session {
    pub(super) async fn look_at_clocks(&mut self, outbox: &Outbox) -> Result<(), End> {
        let (now, idle) = (Instant::now(), self.context.config.idle_timeout);
        if self.inbox.take_missed() {
            self.replay().await?;
        }
        let mut messages = Vec::new();
        self.dispatch.expire(now, &mut messages);
        messages.into_iter().for_each(|message| self.say(message));
        if self.dispatch.owed() >= MAX_OWED {
            // Nothing is read from the client, so its signs of life cannot be seen, nor a new token.
            (self.last_sign, self.last_audio, self.last_behind) = (now, now, now);
        }
        if now.duration_since(self.last_sign) > DEAD_AFTER {
            return Err(End::Silent);
        }
        if now.duration_since(self.last_audio) > idle && !self.stopping {
            let message = format!("no audio came for {} s; connect again when there is some", idle.as_secs());
            return Err(End::Error(ErrorCode::Timeout, message));
        }
        if now.duration_since(self.last_ping) > PING_EVERY {
            self.last_ping = now;
            outbox.ping().await?;
        }
        self.renew(now).await?;
        if now.duration_since(self.last_settlement) > SETTLE_EVERY {
            self.last_settlement = now;
            self.guest.settle().await.map_err(|expelled| End::Error(expelled.code, expelled.message))?;
        }
        self.tell_lag(now);
        self.look_at_length()?;
        self.look_at_token()
    }

    /// Keeps what the bus holds of the session alive, and the answers on their way to this gateway: also where they may have
    /// been led away by somebody who had the session before and did not know it yet.
    async fn renew(&mut self, now: Instant) -> Result<(), End> {
        let since = now.duration_since(self.last_renewal);
        let overdue = self.dispatch.behind(now).is_some_and(|behind| behind > OVERDUE);
        if since <= RENEW_EVERY && !(overdue && since > OVERDUE) {
            return Ok(());
        }
        // First as the owner, which tells whether we still are.
        self.keep(SESSION_TTL).await?;
        if self.inbox.renew().await.is_ok() {
            self.last_renewal = now;
            self.inbox.missed();
        }
        Ok(())
    }

    /// Tells every [`LAG_AFTER`] how far captions are behind while they are, and once that they no longer are.
    fn tell_lag(&mut self, now: Instant) {
        let update_interval_ms = self.dispatch.update_interval_ms();
        let oldest = self.dispatch.behind(now).unwrap_or_default();
        let rare = update_interval_ms > millis(LAG_AFTER) && !self.dispatch.idle();
        let lags = oldest > LAG_AFTER || rare;
        let due = self.last_lag.is_none_or(|told| now.duration_since(told) > LAG_AFTER);
        if lags && due {
            self.last_lag = Some(now);
            let behind_ms = millis(oldest).max(update_interval_ms);
            self.say(ServerMessage::Lag { behind_ms, update_interval_ms });
        } else if !lags && self.last_lag.take().is_some() {
            self.say(ServerMessage::Lag { behind_ms: 0, update_interval_ms });
        }
    }

    fn look_at_length(&mut self) -> Result<(), End> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let lived = now.saturating_sub(Duration::from_secs(self.founding.began));
        let left = MAX_SESSION.saturating_sub(lived);
        if left.is_zero() {
            let message = format!("a session lasts {} hours at most; begin a new one", MAX_SESSION.as_secs() / 3600);
            return Err(End::Error(ErrorCode::SessionTooLong, message));
        }
        if left <= LENGTH_WARNING && !self.warned_of_length {
            self.warned_of_length = true;
            let message = format!("the session ends in {} s; begin a new one", left.as_secs());
            self.say(ServerMessage::Warning { code: "session_ending".to_owned(), message });
        }
        Ok(())
    }

    fn look_at_token(&mut self) -> Result<(), End> {
        let who = self.guest.who();
        let Some(remaining) = who.remaining() else { return Ok(()) };
        // A new one may wait among what has not been read yet.
        if remaining.is_zero() && who.expired_for() > TOKEN_GRACE && self.last_behind.elapsed() > TOKEN_GRACE {
            let message = "the token has expired; get a new one and connect again".to_owned();
            return Err(End::Error(ErrorCode::AuthError, message));
        }
        if remaining <= TOKEN_WARNING && !self.warned_of_token {
            self.warned_of_token = true;
            let message = format!("the token ends in {} s; send `auth` with a new one", remaining.as_secs());
            self.say(ServerMessage::Warning { code: "token_expiring".to_owned(), message });
        }
        Ok(())
    }

    pub(super) async fn renew_token(&mut self, token: &str) -> Result<(), End> {
        match self.guest.renew(token).await {
            Ok(()) => self.warned_of_token = false,
            // The old one is still good, or nearly.
            Err(refused @ Refused::Unavailable) => {
                self.say(ServerMessage::Warning { code: "token_expiring".to_owned(), message: refused.to_string() });
            }
            Err(refused) => return Err(End::Error(ErrorCode::AuthError, refused.to_string())),
        }
        Ok(())
    }
}
