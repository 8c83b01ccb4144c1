//! Tests of the rooms together: People on a SQLite file and a bus in memory. `tests/tests/people.rs` has those for which
//! PostgreSQL and Redis matter.

use std::{sync::Arc, time::Duration};

use shared::bus::{Bus, MemoryBus};
use tempfile::TempDir;

use crate::{Clock, IdentityConfig, People, ProviderIdentity, access::SharedSecret, access::Trust};

mod external;
mod keys;
mod machines;
mod revoked;
mod tokens;

const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";
const ADDRESS: &str = "192.0.2.7";
const EMAIL: &str = "ana@example.com";

/// A database, a clock and a bus of a test's own.
struct Place {
    directory: TempDir,
    clock: Clock,
    bus: Arc<dyn Bus>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, clock: Clock::default(), bus: Arc::new(MemoryBus::default()) }
    }

    fn config(&self) -> IdentityConfig {
        let mut config = IdentityConfig::at(&format!("sqlite:{}/people.db", self.directory.path().display()));
        config.shared_secret = Some(SharedSecret { secret: JWT_SECRET.into(), audience: None });
        config
    }

    async fn people(&self) -> People {
        self.people_trusting(Vec::new()).await
    }

    async fn people_trusting(&self, trusted: Vec<Trust>) -> People {
        People::open(&self.config(), trusted, self.bus.clone(), self.clock.clone()).await.unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn ana() -> ProviderIdentity {
    ProviderIdentity {
        issuer: "https://id.example".to_owned(),
        subject: "1234".to_owned(),
        verified_email: Some(EMAIL.to_owned()),
        name: Some("Ana".to_owned()),
    }
}
