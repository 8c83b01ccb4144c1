//! Workers that hold their jobs until they are let go, on a real Redis.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prometheus::Registry;
use shared::{
    bus::{Bus, Delivery, Effects, Finished, Produce, RedisBus, StateWrite},
    consumer::{BUS, Consumer, ConsumerMetrics, JobError, JobHandler, Outcome, async_trait},
    health::Health,
    shutdown::CancellationToken,
};
use tokio::time::{sleep, timeout};

use super::speech::PATIENCE;

pub(crate) const STREAM: &str = "jobs";
pub(crate) const GROUP: &str = "group";
/// Jobs are done once this is there.
const GO: &str = "go";

/// Works until it is let go, and asks the bus all the time whether it is.
#[derive(Debug)]
pub(crate) struct Holder {
    bus: RedisBus,
    health: Health,
    begun: AtomicU32,
    done: AtomicU32,
    given_up: AtomicU32,
    most_deliveries: AtomicU32,
}

impl Holder {
    pub(crate) fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn done(&self) -> u32 {
        self.done.load(Ordering::SeqCst)
    }

    pub(crate) fn given_up(&self) -> u32 {
        self.given_up.load(Ordering::SeqCst)
    }

    pub(crate) fn most_deliveries(&self) -> u32 {
        self.most_deliveries.load(Ordering::SeqCst)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.health.ready()
    }
}

#[async_trait]
impl JobHandler for Holder {
    fn is_final(&self, _: &[u8]) -> bool {
        true
    }

    async fn handle(&self, job: &Delivery) -> Result<Outcome, JobError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.most_deliveries.fetch_max(job.deliveries, Ordering::SeqCst);
        while self.bus.get(GO).await?.is_none() {
            sleep(Duration::from_millis(50)).await;
        }
        match self.bus.finish(job, Effects::default()).await? {
            Finished::Done => {
                self.done.fetch_add(1, Ordering::SeqCst);
                Ok(Outcome::Done)
            }
            _ => Ok(Outcome::LeaseLost),
        }
    }

    async fn give_up(&self, job: &Delivery, _: &str) -> Result<Outcome, JobError> {
        self.bus.finish(job, Effects::default()).await?;
        self.given_up.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::Done)
    }
}

pub(crate) async fn worker(url: &str, name: &str, drain: Duration) -> (Arc<Holder>, CancellationToken) {
    let bus = RedisBus::connect(url).await.unwrap();
    let (registry, stop) = (Registry::new(), CancellationToken::new());
    let health = Health::new("test", &[BUS], registry.clone());
    let consumer = Consumer {
        bus: Arc::new(bus.clone()),
        stream: STREAM,
        group: GROUP,
        name: name.to_owned(),
        max_in_flight: 4,
        drain,
        health: health.clone(),
        metrics: ConsumerMetrics::register(&registry, STREAM, GROUP).unwrap(),
    };
    let count = || AtomicU32::new(0);
    let (begun, done, given_up, most_deliveries) = (count(), count(), count(), count());
    let holder = Arc::new(Holder { bus, health, begun, done, given_up, most_deliveries });
    tokio::spawn(consumer.run(Arc::clone(&holder), stop.clone()));
    (holder, stop)
}

pub(crate) async fn produce(bus: &RedisBus, jobs: u32) {
    for number in 0..jobs {
        let payload = Bytes::from(number.to_string());
        let job = Produce { stream: STREAM.into(), idempotency_key: number.to_string(), payload, set: None };
        bus.produce(job).await.unwrap();
    }
}

/// Lets every job be done.
pub(crate) async fn go(bus: &RedisBus) {
    let write = StateWrite { key: GO.into(), value: Bytes::from_static(b"1"), ttl: PATIENCE };
    bus.set(write).await.unwrap();
}

/// Waits until `it` holds.
pub(crate) async fn until(it: impl Fn() -> bool) {
    let wait = async {
        while !it() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it never came to hold");
}
