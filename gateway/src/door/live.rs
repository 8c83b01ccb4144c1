//! The sessions of all gateways, as the bus has them: who holds a place, and what each gateway says of it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use shared::{
    bus::{Bus, BusError, StateWrite},
    jobs,
};
use utoipa::ToSchema;

use super::limits::{ALL_PLACES, LEASE};

/// Most sessions that one answer lists.
pub const MOST_LISTED: usize = 1000;

/// A session under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveSession {
    /// Its id, as in the logs: without hyphens.
    pub session: String,
    /// Whose it is.
    pub subject: String,
    /// Since when it is at this gateway, seconds since the Unix epoch.
    pub since: u64,
    /// The gateway's name; a new one at each start.
    pub gateway: String,
    /// A hash of the address it came from: the same for the same network, and no address.
    pub address: String,
    /// Audio heard at this gateway, milliseconds.
    pub audio_ms: u64,
}

/// The list, and this gateway's part in it.
#[derive(Debug)]
pub struct Live {
    bus: Arc<dyn Bus>,
    gateway: String,
}

fn key(session: &str) -> String {
    format!("live:{session}")
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Live {
    pub(super) fn new(bus: Arc<dyn Bus>, gateway: String) -> Self {
        Self { bus, gateway }
    }

    /// Says what this gateway knows of a session; it is forgotten with the lease of its place.
    pub(super) async fn tell(&self, mut session: LiveSession) {
        session.gateway.clone_from(&self.gateway);
        let Ok(value) = jobs::encode(&session) else { return };
        let write = StateWrite { key: key(&session.session), value, ttl: LEASE };
        if let Err(error) = self.bus.set(write).await {
            tracing::debug!(%error, "the list of sessions is not up to date");
        }
    }

    /// The sessions of all gateways, at most [`MOST_LISTED`], in the order of their ids, and how many there are.
    ///
    /// # Errors
    /// When the bus is away.
    pub async fn list(&self) -> Result<(Vec<LiveSession>, usize), BusError> {
        let mut holders = self.bus.holders(ALL_PLACES).await?;
        let count = holders.len();
        holders.sort();
        let mut sessions = Vec::new();
        for holder in holders.iter().take(MOST_LISTED) {
            // One that has only just knocked has a place and no session yet.
            let Some(value) = self.bus.get(&key(holder)).await? else { continue };
            sessions.extend(jobs::decode::<LiveSession>(&value).ok());
        }
        Ok((sessions, count))
    }
}
