//! How long checking a token and refreshing take, with everything that belongs to it: SQLite in a temporary directory, the
//! bus in memory. `cargo run --release -p identity --example measure`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on ends")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use identity::{Clock, IdentityConfig, People, ProviderIdentity};
use shared::bus::MemoryBus;

const REPETITIONS: usize = 5000;

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let config = IdentityConfig::at(&format!("sqlite:{}", directory.path().join("people.db").display()));
    let people = People::open(&config, Vec::new(), Arc::new(MemoryBus::default()), Clock::default()).await.unwrap();
    let who = ProviderIdentity {
        issuer: "https://id.example".to_owned(),
        subject: "1".to_owned(),
        verified_email: None,
        name: None,
    };
    let tokens = people.sign_in(&who, "laptop", "192.0.2.7").await.unwrap();

    let mut verify = Vec::new();
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        people.verify(&tokens.access_token).await.unwrap();
        verify.push(start.elapsed());
    }
    tell("verify an EdDSA token, revocation included", verify);

    let mut refresh = Vec::new();
    let mut token = tokens.refresh_token;
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        token = people.refresh(&token, "192.0.2.7").await.unwrap().refresh_token;
        refresh.push(start.elapsed());
    }
    tell("refresh", refresh);
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        times[((times.len() - 1) as f64 * share) as usize]
    };
    println!("{what}: p50 {:?}, p99 {:?}, least {:?} of {}", at(0.5), at(0.99), at(0.0), times.len());
}
