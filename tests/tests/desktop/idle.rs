//! What the client costs while nobody speaks.

use std::{fs, path::Path, time::Duration};

use tests::{
    desk::{Desk, processes},
    figure::figure,
};
use tokio::time::{Instant, sleep};

use super::client::{choose, phase, start, what_is_played};

/// Long enough for what happens every few seconds to count as it should.
const MEASURED: Duration = Duration::from_secs(60);
/// For starting to be over.
const SETTLING: Duration = Duration::from_secs(10);
/// `USER_HZ` of Linux on every machine that Rust runs on: proc(5), `/proc/PID/stat`.
const TICKS_A_SECOND: f64 = 100.0;

/// CPU time of all processes of the client (its own and its pages'), seconds.
fn cpu_seconds(home: &Path) -> f64 {
    let ticks: u64 = processes(home).iter().map(|process| ticks(process)).sum();
    ticks as f64 / TICKS_A_SECOND
}

/// `utime` and `stime`, the 14th and 15th fields; the name, in brackets before them, may have blanks.
fn ticks(process: &Path) -> u64 {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].into_iter().filter_map(|at| fields.get(at)?.parse::<u64>().ok()).sum()
}

#[tokio::test]
#[ignore = "measures a minute; `cargo xtask prove clients` runs it on the release build"]
async fn an_idle_minute_costs_little() {
    let Some(mut desk) = Desk::spawn().await else { return };
    desk.sound().await;
    let home = desk.home.path().to_owned();
    // Nobody speaks at a server either: what is measured is the client.
    let port = tests::stack::free_addr().port().to_string();
    let mut roles = tests::stack::Process::spawn("subtide serve", "server", &[("GATEWAY_PORT", &port)]);
    roles.ready().await;
    let driven = start(&desk, &["--server", &format!("http://127.0.0.1:{port}")]).await;
    choose(&driven, what_is_played()).await;
    driven.click("#toggle").await;
    phase(&driven, &["open"]).await;
    sleep(SETTLING).await;
    let (began, before) = (Instant::now(), cpu_seconds(&home));
    sleep(MEASURED).await;
    let percent = 100.0 * (cpu_seconds(&home) - before) / began.elapsed().as_secs_f64();
    figure("idle_percent", percent);
    assert!(before > 0.0, "the client's processes were found");
    driven.end().await;
    roles.kill();
}
