//! Clients that begin and do not go on, that do not read, that send what cannot be: each is cut off, and in time.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use gateway::GatewayConfig;
use shared::bus::{Bus, MemoryBus};
use tests::{
    figure::figure,
    hostile::{Attack, Ended, attack, parrot},
};
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep},
};

use crate::house::{House, PATIENCE, Town};

const HERE: std::net::Ipv4Addr = std::net::Ipv4Addr::LOCALHOST;

async fn lasts(gateway: &House, kind: Attack) -> (Ended, f64) {
    let ended = attack(gateway.addr, HERE, kind, PATIENCE).await;
    let after = ended.after.unwrap_or_else(|| panic!("{kind:?} was never cut off"));
    (ended, after.as_secs_f64())
}

async fn nobody_is_left(gateway: &House) {
    let give_up = Instant::now() + PATIENCE;
    while gateway.metric("gateway_sessions") > 0.0 {
        assert!(Instant::now() < give_up, "{} sessions are left", gateway.metric("gateway_sessions"));
        sleep(Duration::from_millis(50)).await;
    }
}

/// A client that sends and reads nothing, until it was cut off.
async fn slow_reader() -> f64 {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new());
    let gateway = House::open(GatewayConfig::loopback(), Arc::clone(&bus)).await;
    // So much text that what the operating system takes for a client is soon full.
    let worker = parrot::answer(bus, 100_000);
    let (ended, after) = lasts(&gateway, Attack::NoRead).await;
    assert!(ended.sent > 0 && gateway.metric("gateway_messages_dropped_total") > 0.0, "{ended:?}");
    nobody_is_left(&gateway).await;
    worker.abort();
    gateway.stop().await;
    after
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_go_on_or_reads_nothing_is_cut_off_after_ten_seconds() {
    let gateway = House::open(GatewayConfig::loopback(), Arc::new(MemoryBus::new())).await;
    let [idle, half, slow, start] = [Attack::Idle, Attack::HalfHead, Attack::SlowHead, Attack::NoStart];
    let lasts = async |kind| lasts(&gateway, kind).await;
    let (idle, half, slow, start, reader) =
        tokio::join!(lasts(idle), lasts(half), lasts(slow), lasts(start), slow_reader());
    figure("cut_off_slow_reader_seconds", reader);
    assert!(reader > 9.0, "{reader} s");
    assert_eq!(start.0.close_code(), Some(4408), "{:?}", String::from_utf8_lossy(&start.0.said));
    for (name, (_, after)) in [("idle", idle), ("half_head", half), ("slow_head", slow), ("no_start", start)] {
        figure(&format!("cut_off_{name}_seconds"), after);
        assert!((9.0..25.0).contains(&after), "{name}: {after} s");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_at_once() {
    let gateway = House::open(GatewayConfig::loopback(), Arc::new(MemoryBus::new())).await;
    // A client that does not close for its part is waited for, 2 s; it was told long before.
    let (oversize, _) = lasts(&gateway, Attack::Oversize).await;
    figure("oversize_told_seconds", oversize.last_word.as_secs_f64());
    assert_eq!(oversize.close_code(), Some(1009));
    for kind in [Attack::Garbage, Attack::HalfClosed, Attack::Fragments, Attack::HalfTls] {
        let (_, after) = lasts(&gateway, kind).await;
        figure(&format!("{kind:?}_cut_off_seconds").to_lowercase(), after);
    }
    nobody_is_left(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; `cargo xtask prove faults` runs it"]
async fn whoever_vanished_is_gone_after_45_seconds() {
    let gateway = House::open(GatewayConfig::loopback(), Arc::new(MemoryBus::new())).await;
    let (_, after) = lasts(&gateway, Attack::Silent).await;
    figure("vanished_noticed_seconds", after);
    assert!((40.0..=55.0).contains(&after), "{after} s");
    nobody_is_left(&gateway).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_others_have_theirs() {
    let town = Town::new().await;
    let gateway = town.gateway(|config| config.door.connections_per_address = 8).await;
    let (crowd, addr) = (std::net::Ipv4Addr::new(127, 0, 0, 9), gateway.addr);
    let mut idle = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((crowd, 0).into()).unwrap();
        idle.push(socket.connect(addr).await.unwrap());
    }
    // It is taken in after them, and would be cut off as idle after ten seconds.
    let ninth = attack(addr, crowd, Attack::Idle, Duration::from_secs(8)).await;
    assert!(ninth.after.is_some(), "{ninth:?}");
    assert!(gateway.metric("gateway_refused_total{reason=\"connections\"}") > 0.0);
    let neighbour = attack(addr, HERE, Attack::Idle, Duration::from_secs(1)).await;
    assert!(neighbour.after.is_none(), "others are let in: {neighbour:?}");
    for idle in idle {
        let read = idle.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::WouldBlock), "and those who were there stay");
    }
    // Their going may be seen a moment later.
    let give_up = Instant::now() + PATIENCE;
    while attack(addr, crowd, Attack::Idle, Duration::from_secs(1)).await.after.is_some() {
        assert!(Instant::now() < give_up, "who has gone makes room");
    }
    gateway.stop().await;
}
