//! Tickets: how a page, which cannot send a header with its WebSocket, shows who it is (once, within half a minute).

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{Principal, Refused};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::{
    bus::{Bus, StateWrite},
    jobs,
};

/// A page connects right after it asked.
pub(crate) const TICKET_TTL: Duration = Duration::from_secs(30);
/// Bytes of chance in a ticket.
const BYTES: usize = 32;

/// What a ticket stands for.
#[derive(Serialize, Deserialize)]
struct Ticket {
    who: Principal,
    origin: String,
}

/// Gives tickets out and takes them in.
#[derive(Debug)]
pub struct Tickets {
    bus: Arc<dyn Bus>,
}

/// Only a hash of the secret is on the bus.
fn key(secret: &[u8]) -> String {
    format!("ticket:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(secret)))
}

impl Tickets {
    /// Tickets on this bus.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus }
    }

    /// A new ticket of `who`, good for pages of `origin`.
    ///
    /// # Errors
    /// [`Refused::Unavailable`].
    pub async fn issue(&self, who: Principal, origin: String) -> Result<String, Refused> {
        let secret: [u8; BYTES] = rand::random();
        let value = jobs::encode(&Ticket { who, origin }).map_err(|_| Refused::Unavailable)?;
        let write = StateWrite { key: key(&secret), value, ttl: TICKET_TTL };
        self.bus.set(write).await.map_err(|_| Refused::Unavailable)?;
        Ok(URL_SAFE_NO_PAD.encode(secret))
    }

    /// Whose ticket this is; it is used up by it, also by a page of another origin.
    ///
    /// # Errors
    /// [`Refused::Invalid`], [`Refused::Unavailable`].
    pub async fn redeem(&self, ticket: &str, origin: &str) -> Result<Principal, Refused> {
        let unknown = Refused::Invalid("the ticket is unknown, used or older than 30 s; get a new one");
        let secret = URL_SAFE_NO_PAD.decode(ticket).ok().filter(|secret| secret.len() == BYTES);
        let Some(secret) = secret else { return Err(unknown) };
        let value = self.bus.take(&key(&secret)).await.map_err(|_| Refused::Unavailable)?;
        let ticket: Ticket = value.and_then(|value| jobs::decode(&value).ok()).ok_or(unknown)?;
        if ticket.origin != origin {
            return Err(Refused::Invalid("the ticket was made for pages of another origin"));
        }
        if ticket.who.remaining().is_some_and(|left| left.is_zero()) {
            return Err(Refused::Expired);
        }
        Ok(ticket.who)
    }
}

#[cfg(test)]
mod tests {
    use shared::bus::MemoryBus;
    use tokio::time::advance;

    use super::*;

    const PAGE: &str = "https://captions.example";

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_for_its_page_and_for_half_a_minute() {
        let tickets = Tickets::new(Arc::new(MemoryBus::new()));
        let who = Principal { subject: "ana".into(), expires: None, ..Principal::local() };
        let issue = async || tickets.issue(who.clone(), PAGE.to_owned()).await.unwrap();
        let ticket = issue().await;
        assert_eq!(ticket.len(), 43);
        assert_eq!(tickets.redeem(&ticket, PAGE).await.unwrap(), who);
        assert!(matches!(tickets.redeem(&ticket, PAGE).await, Err(Refused::Invalid(_))), "twice");
        let ticket = issue().await;
        assert!(matches!(tickets.redeem(&ticket, "https://evil.example").await, Err(Refused::Invalid(_))));
        assert!(matches!(tickets.redeem(&ticket, PAGE).await, Err(Refused::Invalid(_))), "it was tried and is gone");
        let ticket = issue().await;
        advance(TICKET_TTL).await;
        assert!(matches!(tickets.redeem(&ticket, PAGE).await, Err(Refused::Invalid(_))), "too late");
        for nonsense in ["", "abc", "!", &"A".repeat(43), &"A".repeat(10_000)] {
            assert!(matches!(tickets.redeem(nonsense, PAGE).await, Err(Refused::Invalid(_))), "{nonsense}");
        }
        let ended = Principal { expires: Some(1), ..who.clone() };
        let ticket = tickets.issue(ended, PAGE.to_owned()).await.unwrap();
        assert_eq!(tickets.redeem(&ticket, PAGE).await, Err(Refused::Expired));
    }
}
