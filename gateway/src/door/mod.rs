//! Who gets in: everything that is decided before the WebSocket handshake is answered, and what a session holds of it.
//!
//! - [`credentials`]: what a handshake shows; [`hs256`]: tokens minted elsewhere with a shared secret
//! - [`origin`]: which pages may connect
//! - [`guest`]: a client that was let in; `pace`: how fast its audio may come
//! - [`turned_away`]: why somebody did not get in

pub mod credentials;
pub mod guest;
pub mod hs256;
pub mod origin;
mod pace;
pub mod turned_away;

use std::{sync::Arc, time::Duration};

use axum::http::HeaderMap;
use identity::{Principal, Refused, Scope};
use shared::wire::ErrorCode;
use tokio::sync::Semaphore;

pub use self::{
    guest::{Expelled, Guest},
    turned_away::TurnedAway,
};
use self::{hs256::Hs256, origin::Origins};
use crate::config::{AuthMode, GatewayConfig};

/// What decides who gets in. One for each gateway.
#[derive(Debug)]
pub struct Door {
    tokens: Option<Hs256>,
    origins: Origins,
    places: Arc<Semaphore>,
}

impl Door {
    /// The door of a gateway with these settings.
    #[must_use]
    pub fn new(config: &GatewayConfig) -> Self {
        let tokens = match &config.auth {
            AuthMode::Off => None,
            AuthMode::Hs256(secret) => Some(Hs256::new(secret)),
        };
        let origins = Origins::new(config.allowed_origins.clone(), tokens.is_none());
        Self { tokens, origins, places: Arc::new(Semaphore::new(config.max_sessions)) }
    }

    /// Whether people are asked who they are.
    pub(crate) fn asks(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whose token this is.
    #[expect(clippy::unused_async)]
    pub(crate) async fn verify(&self, token: &str) -> Result<Principal, Refused> {
        match &self.tokens {
            Some(tokens) => tokens.verify(token),
            None => Ok(Principal::local()),
        }
    }

    /// Lets a handshake in or says why not.
    ///
    /// # Errors
    /// See [`TurnedAway`].
    pub async fn admit(self: &Arc<Self>, headers: &HeaderMap) -> Result<Guest, TurnedAway> {
        self.origins.check(headers)?;
        let who = if self.asks() { self.verify(credentials::bearer(headers)?).await? } else { Principal::local() };
        if !who.scopes.has(Scope::Stream) {
            let message = "this token does not allow sessions (scope stream)";
            return Err(TurnedAway::new(ErrorCode::Forbidden, "scope", message));
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let away = TurnedAway::new(ErrorCode::Overloaded, "full", "all sessions are taken; try again soon");
            return Err(away.after(Duration::from_secs(10)));
        };
        Ok(Guest::new(who, Arc::clone(self), place))
    }
}
