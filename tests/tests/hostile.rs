//! Gateways under fire: Redis away or full, workers away, clients that mean harm; and honest clients that notice nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../gateway/tests/house/mod.rs"]
mod house;

#[path = "hostile/half_open.rs"]
mod half_open;
#[path = "hostile/held.rs"]
mod held;
#[path = "hostile/horde.rs"]
mod horde;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/overload.rs"]
mod overload;

use std::sync::Arc;

use gateway::GatewayConfig;
use house::House;
use shared::bus::{Bus, RedisBus};
use tests::{
    hostile::parrot,
    redis_server::RedisServer,
    speech::{demo, pcm},
};
use tokio::task::JoinHandle;

/// 16 kHz mono s16le.
const BYTES_PER_SECOND: usize = 32_000;

/// The first seconds of the demo's recording.
fn speech(seconds: usize) -> Vec<u8> {
    let (path, _) = demo();
    pcm(&path).into_iter().cycle().take(seconds * BYTES_PER_SECOND).collect()
}

async fn bus(redis: &RedisServer) -> Arc<dyn Bus> {
    Arc::new(RedisBus::connect(&redis.url()).await.unwrap())
}

/// A gateway on this Redis that asks nobody to sign in, and a worker that answers at once.
async fn open(redis: &RedisServer) -> (House, JoinHandle<()>) {
    let gateway = House::open(GatewayConfig::loopback(), bus(redis).await).await;
    (gateway, parrot::answer(bus(redis).await, 0))
}

fn url(gateway: &House) -> String {
    format!("ws://{}/v1/stream", gateway.addr)
}
