//! A gateway in a network namespace of its own, with one cable to its clients and one to Redis; and cables that are pulled.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tests::{
    chaos::{
        script::SILENCE_SECONDS,
        town::{Shape, Town},
    },
    figure::figure,
    stack::program,
};
use tokio::{net::TcpStream, time::sleep};

use super::crowd::{Crowd, Manner, Outcome};

const SECRET: &str = "a shared secret of more than thirty-two bytes";
const PORT: u16 = 5026;
const HEALTH_PORT: u16 = 8080;
const SESSIONS: usize = 8;

/// Runs a command; whether it went well.
fn run(command: &str) -> bool {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A namespace with two cables; gone when it is dropped.
struct House {
    name: String,
    /// Second byte of its addresses.
    net: u8,
}

impl House {
    /// `None` where this process may not make one.
    fn build() -> Option<Self> {
        let id = std::process::id();
        let house = Self { name: format!("chaos{id}"), net: u8::try_from(id % 250).ok()? };
        let Self { name, net } = &house;
        let mut made = run(&format!("ip netns add {name}"));
        for (n, cable) in ["c", "r"].iter().enumerate() {
            let (here, there) = (format!("{cable}{id}h"), format!("{cable}{id}n"));
            made = made
                && run(&format!("ip link add {here} type veth peer name {there}"))
                && run(&format!("ip link set {there} netns {name}"))
                && run(&format!("ip addr add 10.{net}.{n}.1/24 dev {here}"))
                && run(&format!("ip link set {here} up"))
                && run(&format!("ip -n {name} addr add 10.{net}.{n}.2/24 dev {there}"))
                && run(&format!("ip -n {name} link set {there} up"));
        }
        made.then_some(house)
    }

    /// Pulls (or plugs) the cable to the clients.
    fn clients(&self, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        assert!(run(&format!("ip link set c{}h {state}", std::process::id())), "the cable does not move");
    }

    fn gateway(&self, redis_port: u16) -> Gateway {
        let Self { name, net } = self;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program("gateway")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("REDIS_URL", format!("redis://10.{net}.1.1:{redis_port}/")).env("LOG_LEVEL", "error");
        command.env("GATEWAY_BIND", "0.0.0.0").env("GATEWAY_PORT", PORT.to_string()).env("JWT_SECRET", SECRET);
        command.env("HEALTH_BIND", "0.0.0.0").env("HEALTH_PORT", HEALTH_PORT.to_string());
        command.env("SESSIONS_PER_USER", "1000").env("CONNECTIONS_PER_MINUTE", "100000");
        command.env("SILENCE_THRESHOLD_SECONDS", SILENCE_SECONDS).stdin(Stdio::null());
        let home = tempfile::tempdir().unwrap();
        let child = command.current_dir(&home).spawn().unwrap();
        Gateway { child, _home: home }
    }

    /// Sessions that the gateway holds open, as it tells over the cable to Redis.
    async fn sessions(&self) -> Option<f64> {
        let url = format!("http://10.{}.1.2:{HEALTH_PORT}/metrics", self.net);
        let text = reqwest::get(url).await.ok()?.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix("gateway_sessions ")?.parse().ok())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.name));
    }
}

struct Gateway {
    child: Child,
    /// Where its database is.
    _home: tempfile::TempDir,
}

impl Gateway {
    fn rss_mb(&self) -> f64 {
        tests::cost::resident_mib(self.child.id()).unwrap_or(f64::NAN)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn token() -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let claims = serde_json::json!({"sub": "chaos", "exp": 4_000_000_000_u64});
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// What one partition did.
struct Partition {
    outcome: Outcome,
    /// Seconds until the gateway held no session any more; 0 where it need not notice.
    noticed: f64,
    growth_mb: f64,
}

async fn partition(house: &House, length: Duration) -> Partition {
    let redis = tests::redis_server::RedisServer::spawn_with(&[
        "--appendonly",
        "yes",
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
    ]);
    let town = Town::beside(redis.await, &Shape { gateways: 0, ..Shape::default() }).await;
    let gateway = house.gateway(town.redis.port());
    let addr = format!("10.{}.0.2:{PORT}", house.net);
    let given_up = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(&addr).await.is_err() {
        assert!(Instant::now() < given_up, "the gateway does not open its port");
        sleep(Duration::from_millis(100)).await;
    }
    let patience = Duration::from_secs(240);
    let manner =
        Manner { seed: 13, sessions: SESSIONS, utterances: 14, patience, token: Some(token()), ..Manner::default() };
    let crowd = Crowd::speak(&[format!("ws://{addr}/v1/stream")], &manner);
    sleep(Duration::from_secs(8)).await;
    let (before, pulled) = (gateway.rss_mb(), Instant::now());
    house.clients(false);
    let (mut noticed, mut most) = (None, before);
    while pulled.elapsed() < length {
        sleep(Duration::from_millis(100)).await;
        most = most.max(gateway.rss_mb());
        if noticed.is_none() && house.sessions().await == Some(0.0) {
            noticed = Some(pulled.elapsed().as_secs_f64());
        }
    }
    house.clients(true);
    let must = length > Duration::from_secs(60);
    let noticed = noticed.unwrap_or(if must { f64::INFINITY } else { 0.0 });
    Partition { outcome: crowd.hear().await, noticed, growth_mb: (most - before) / SESSIONS as f64 }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes four minutes and wants root; cargo xtask prove faults runs it"]
async fn partitions() {
    let Some(house) = House::build() else {
        assert!(std::env::var_os("CI").is_none(), "network namespaces cannot be made here");
        eprintln!("skipped: network namespaces cannot be made here; run it as root, with `ip` of iproute2");
        return;
    };
    let (mut noticed, mut growth, mut lost, mut gaps) = (0.0_f64, f64::NEG_INFINITY, 0, 0);
    for seconds in [5, 30, 120] {
        let told = partition(&house, Duration::from_secs(seconds)).await;
        let Partition { outcome, .. } = &told;
        eprintln!(
            "{seconds} s: noticed after {:.1} s, {:.2} MB a session, {:?}",
            told.noticed, told.growth_mb, outcome.faults
        );
        (noticed, growth) = (noticed.max(told.noticed), growth.max(told.growth_mb));
        lost += outcome.lost() + outcome.twice();
        gaps += outcome.faults.gaps;
    }
    figure("partition_noticed_max_seconds", noticed);
    figure("partition_lost", lost as f64);
    figure("partition_gaps", gaps as f64);
    figure("partition_growth_mb", growth);
    assert_eq!(lost, 0);
}
