//! Wall clocks of gateways and workers that are set while somebody speaks. Redis's own, by which entries are named and leases
//! are counted, cannot be set here: its allocator and what sets clocks do not go together.

use std::{fs, path::Path, time::Duration};

use tests::chaos::town::{Shape, Town};
use tokio::time::sleep;

use super::{
    crowd::{Crowd, Manner},
    kills::nothing_lost,
};

/// The library of Debian's package `faketime`.
fn library() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH)
}

/// What a process must be told so that its wall clock, and no other, is what the file says.
fn settings(file: &Path) -> Vec<(String, String)> {
    let library = library();
    let pairs = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Whether clocks can be set here; says so where not.
fn can_be_set() -> bool {
    let there = Path::new(&library()).is_file();
    assert!(there || std::env::var_os("CI").is_none(), "{} is not here", library());
    if !there {
        eprintln!("skipped: clocks cannot be set here; install Debian's package `faketime`");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_set_cost_nobody_a_word() {
    if !can_be_set() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let clock = directory.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let town = Town::spawn(&Shape { env: settings(&clock), ..Shape::default() }).await;
    let manner = Manner { seed: 14, sessions: 4, utterances: 11, ..Manner::default() };
    let crowd = Crowd::speak(&town.urls(), &manner);
    // Forth and back by an hour, and by more than a lease.
    for offset in ["+5", "+3600", "-20", "-3600", "+0"] {
        sleep(Duration::from_secs(2)).await;
        fs::write(&clock, offset).unwrap();
    }
    let outcome = crowd.hear().await;
    nothing_lost(&outcome, 0);
    assert_eq!(outcome.broken(), 0);
}
