//! Many hostile clients at once, and what they cost honest ones: nothing.

use std::{fs, net::SocketAddr, time::Duration};

use tests::{
    cost::{cpu_seconds, resident_mib},
    figure::figure,
    hostile::{
        Attack, Horde,
        honest::{Told, p95, speak},
        parrot,
    },
    redis_server::RedisServer,
    stack::{Process, free_addr},
};
use tokio::time::{Instant, sleep};

use crate::{bus, house::PATIENCE, open, speech, url};

/// `count` honest clients, each with another part of the recording.
async fn honest(url: &str, count: usize, seconds: usize) -> Vec<Told> {
    let pcm = speech(seconds);
    let clients: Vec<_> = (0..count)
        .map(|n| {
            let (url, mut pcm) = (url.to_owned(), pcm.clone());
            let at = (n * 48_000) % pcm.len();
            pcm.rotate_left(at);
            tokio::spawn(async move {
                // Not all frames of all clients at the same moment.
                sleep(Duration::from_millis(u64::try_from(n * 13 % 100).unwrap())).await;
                speak(&url, &pcm).await
            })
        })
        .collect();
    let mut told = Vec::new();
    for client in clients {
        told.push(client.await.unwrap());
    }
    told
}

/// Sessions that broke, or in which something is missing.
fn harmed(told: &[Told]) -> usize {
    let harmed = |told: &&Told| {
        let (opened, _) = told.utterances();
        told.broken || opened == 0 || told.gaps() > 0 || !told.miscounted().is_empty()
    };
    told.iter().filter(harmed).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_hundred_hostile_clients_harm_nobody() {
    let redis = RedisServer::spawn().await;
    let (gateway, worker) = open(&redis).await;
    let kinds = [
        (Attack::Idle, 200),
        (Attack::SlowHead, 20),
        (Attack::Oversize, 2),
        (Attack::Garbage, 2),
        (Attack::Fragments, 1),
        (Attack::Pings, 2),
        (Attack::HalfClosed, 2),
        (Attack::NoStart, 5),
    ];
    let horde = Horde::raise(gateway.addr, &kinds);
    sleep(Duration::from_secs(1)).await;
    let told = honest(&url(&gateway), 3, 8).await;
    assert_eq!(harmed(&told), 0, "{told:#?}");
    figure("hostile_short_p95_seconds", p95(&told));
    horde.disperse().await;
    worker.abort();
    gateway.stop().await;
}

/// What each round of honest clients was like.
#[derive(Default)]
struct Rounds {
    p95: Vec<f64>,
    /// Of the gateway.
    cores: Vec<f64>,
    harmed: usize,
}

impl Rounds {
    async fn add(&mut self, gateway: u32, round: impl Future<Output = Vec<Told>>) {
        let (begun, before) = (Instant::now(), cpu_seconds(gateway).unwrap());
        let told = round.await;
        self.cores.push((cpu_seconds(gateway).unwrap() - before) / begun.elapsed().as_secs_f64());
        self.p95.push(p95(&told));
        self.harmed += harmed(&told);
    }
}

/// One round in which the machine did something else must not decide.
fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Files, and so sockets, that a process has open.
fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Waits until a process has opened `count` more files than `before`; how many they are.
async fn opened(pid: u32, before: usize, count: usize) -> usize {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let now = open_files(pid).saturating_sub(before);
        if now >= count || Instant::now() > give_up {
            return now;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Whether this process may open so many files; programs it starts may as well.
fn may_open(files: usize) -> bool {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft = line.split_whitespace().nth(3).unwrap();
    soft == "unlimited" || soft.parse::<usize>().unwrap() >= files
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes three minutes; `cargo xtask prove faults` runs it"]
async fn hostile_clients_cost_the_honest_nothing() {
    const HONEST: usize = 8;
    const SECONDS: usize = 20;
    assert!(may_open(8192), "2,200 connections need more open files: run `ulimit -n 8192` first");
    let redis = RedisServer::spawn().await;
    let addr: SocketAddr = free_addr();
    let (redis_url, port) = (redis.url(), addr.port().to_string());
    let env = [("REDIS_URL", redis_url.as_str()), ("ENABLE_AUTH", "false"), ("GATEWAY_PORT", &port)];
    let mut gateway = Process::spawn("gateway", "gateway", &env);
    gateway.ready().await;
    let worker = parrot::answer(bus(&redis).await, 0);
    let url = format!("ws://{addr}/v1/stream");
    let (mut alone, mut among, mut rss) = (Rounds::default(), Rounds::default(), 0.0_f64);
    drop(honest(&url, HONEST, 5).await); // To warm up.
    let (quiet, few, mut open) = (resident_mib(gateway.id()).unwrap(), open_files(gateway.id()), usize::MAX);
    // In turns, so that what else the machine does falls on both alike.
    for _ in 0..3 {
        alone.add(gateway.id(), honest(&url, HONEST, SECONDS)).await;
        let horde = Horde::raise(addr, &[(Attack::Idle, 2000), (Attack::SlowHead, 200)]);
        sleep(Duration::from_secs(4)).await;
        open = open.min(opened(gateway.id(), few, 2000).await);
        among.add(gateway.id(), honest(&url, HONEST, SECONDS)).await;
        rss = rss.max(resident_mib(gateway.id()).unwrap());
        horde.disperse().await;
        sleep(Duration::from_secs(2)).await;
    }
    let (before, during) = (median(alone.p95), median(among.p95));
    figure("hostile_p95_alone_seconds", before);
    figure("hostile_p95_among_seconds", during);
    figure("hostile_p95_ratio", during / before);
    figure("hostile_gateway_cores_alone", median(alone.cores));
    figure("hostile_gateway_cores_among", median(among.cores));
    figure("hostile_open", open as f64);
    figure("hostile_rss_mb", rss);
    figure("hostile_kb_a_connection", (rss - quiet) * 1024.0 / 2200.0);
    figure("hostile_broken", alone.harmed.max(among.harmed) as f64);
    worker.abort();
    assert!(open >= 2000, "only {open} hostile connections were open");
    assert_eq!(among.harmed, 0);
    assert!(during <= before * 1.10, "{during} s among them, {before} s alone");
    // 64 MB and 64 KB a connection.
    assert!(rss <= 64.0 + 2200.0 * 64.0 / 1024.0, "{rss} MB");
}
