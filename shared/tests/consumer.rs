//! What a consumer does with jobs that succeed, fail, never end or can never succeed, and what it leaves behind when it
//! stops or dies. On the in-process bus; the clock is paused, so a lease lasts as long as it says and no test waits.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::{Registry, TextEncoder};
use shared::{
    bus::{Bus, BusError, Delivery, Depth, Effects, Finished, MemoryBus, Produce, Publish},
    consumer::{BUS, Consumer, ConsumerMetrics, DeadLetter, JobError, JobHandler, Outcome, STALL, Stalled},
    health::Health,
    jobs::{self, DEAD_LETTERS, LEASE, MAX_DELIVERIES, SESSION_TTL},
    shutdown::CancellationToken,
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

const STREAM: &str = "jobs";
const GROUP: &str = "group";

/// Does what the payload says, and publishes the payload of a job that is done.
#[derive(Debug)]
struct Handler {
    bus: MemoryBus,
    attempts: Mutex<HashMap<Bytes, usize>>,
    order: Mutex<Vec<Bytes>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    /// How often each job that is done had been delivered.
    deliveries: Mutex<HashMap<Bytes, u32>>,
    /// Told when a job kills its worker.
    killed: Notify,
    /// This worker can do nothing.
    broken: AtomicBool,
}

impl Handler {
    fn new(bus: &MemoryBus) -> Arc<Self> {
        Arc::new(Self {
            bus: bus.clone(),
            attempts: Mutex::default(),
            order: Mutex::default(),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            deliveries: Mutex::default(),
            killed: Notify::new(),
            broken: AtomicBool::new(false),
        })
    }

    fn deliveries(&self, payload: &'static str) -> u32 {
        self.deliveries.lock().unwrap()[payload.as_bytes()]
    }

    fn attempts(&self, payload: &'static str) -> usize {
        self.attempts.lock().unwrap().get(payload.as_bytes()).copied().unwrap_or(0)
    }

    async fn publish(&self, job: &Delivery, text: Bytes) -> Outcome {
        let mut publish = vec![Publish { stream: "done".to_owned(), payload: text, ttl: SESSION_TTL }];
        if job.payload.starts_with(b"fail") {
            publish.push(DeadLetter::publish(job, "test", None).unwrap());
        }
        match self.bus.finish(job, Effects { publish, ..Effects::default() }).await.unwrap() {
            Finished::Done => {
                self.deliveries.lock().unwrap().insert(job.payload.clone(), job.deliveries);
                Outcome::Done
            }
            _ => Outcome::LeaseLost,
        }
    }
}

#[async_trait]
impl JobHandler for Handler {
    fn is_final(&self, payload: &[u8]) -> bool {
        payload.ends_with(b"final")
    }

    async fn handle(&self, job: &Delivery) -> Result<Outcome, JobError> {
        *self.attempts.lock().unwrap().entry(job.payload.clone()).or_default() += 1;
        self.order.lock().unwrap().push(job.payload.clone());
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let result = match &*job.payload {
            _ if self.broken.load(Ordering::SeqCst) => Err(JobError::HandBack("as asked".to_owned())),
            b"hang" => std::future::pending().await,
            b"kill" => {
                self.killed.notify_one();
                std::future::pending().await
            }
            b"unsent" => {
                let publish =
                    vec![Publish { stream: "done".to_owned(), payload: job.payload.clone(), ttl: SESSION_TTL }];
                let error =
                    BusError::Url { url: "redis://here".to_owned(), reason: "a user that is refused".to_owned() };
                Err(JobError::unsent(error, Effects { publish, ..Effects::default() }))
            }
            b"fail" => Err(JobError::Retry("as asked".to_owned())),
            b"fail for good" => Err(JobError::Hopeless("as asked".to_owned())),
            b"panic once" if job.deliveries == 1 => panic!("as asked"),
            b"long" | b"long too" | b"as long" | b"no shorter" => {
                sleep(LEASE * 5).await;
                Ok(self.publish(job, job.payload.clone()).await)
            }
            _ => {
                sleep(Duration::from_millis(100)).await;
                Ok(self.publish(job, job.payload.clone()).await)
            }
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn give_up(&self, job: &Delivery, _: &str) -> Result<Outcome, JobError> {
        Ok(self.publish(job, Bytes::from_static(b"given up")).await)
    }
}

struct Worker {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Stalled>>,
    health: Health,
    registry: Registry,
}

fn start(bus: &MemoryBus, handler: &Arc<Handler>, name: &str, max_in_flight: usize, drain: Duration) -> Worker {
    let (registry, stop) = (Registry::new(), CancellationToken::new());
    let health = Health::new("test", &[BUS], registry.clone());
    let consumer = Consumer {
        bus: Arc::new(bus.clone()),
        stream: STREAM,
        group: GROUP,
        name: name.to_owned(),
        max_in_flight,
        drain,
        health: health.clone(),
        metrics: ConsumerMetrics::register(&registry, STREAM, GROUP).unwrap(),
    };
    let task = tokio::spawn(consumer.run(Arc::clone(handler), stop.clone()));
    Worker { stop, task, health, registry }
}

async fn produce(bus: &MemoryBus, payload: &'static str) {
    let (idempotency_key, payload) = (payload.to_owned(), Bytes::from_static(payload.as_bytes()));
    bus.produce(Produce { stream: STREAM.to_owned(), idempotency_key, payload, set: None }).await.unwrap();
}

async fn stream(bus: &MemoryBus, name: &str) -> Vec<Bytes> {
    let last = "99999999999999-0".parse().unwrap();
    bus.range(name, "0-0".parse().unwrap(), last, 1000).await.unwrap().into_iter().map(|entry| entry.payload).collect()
}

async fn until_done(bus: &MemoryBus, count: usize) -> Vec<Bytes> {
    timeout(Duration::from_secs(600), async {
        while stream(bus, "done").await.len() < count {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    // Long enough for a second answer to show, if there were one.
    sleep(LEASE * 3).await;
    stream(bus, "done").await
}

const DRAIN: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn jobs_run_together_up_to_the_limit() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    for job in ["1", "2", "3", "4", "5", "6", "7"] {
        produce(&bus, job).await;
    }
    let worker = start(&bus, &handler, "a", 3, DRAIN);
    assert_eq!(until_done(&bus, 7).await.len(), 7);
    assert_eq!(handler.most_running.load(Ordering::SeqCst), 3);
    assert!(worker.health.ready());
    assert_eq!(bus.depth(STREAM, GROUP).await.unwrap(), Depth::default());
}

#[tokio::test(start_paused = true)]
async fn of_jobs_that_wait_together_finals_go_first() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    for job in ["1", "2 final", "3", "4 final"] {
        produce(&bus, job).await;
    }
    let _worker = start(&bus, &handler, "a", 4, DRAIN);
    until_done(&bus, 4).await;
    assert_eq!(*handler.order.lock().unwrap(), ["2 final", "4 final", "1", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_workers_job_is_done_once_by_another() {
    let bus = MemoryBus::new();
    let (first, second) = (Handler::new(&bus), Handler::new(&bus));
    produce(&bus, "long").await;
    let dead = start(&bus, &first, "a", 4, DRAIN);
    sleep(LEASE * 2).await;
    // Its heartbeat kept the lease all that time.
    let _living = start(&bus, &second, "b", 4, DRAIN);
    sleep(LEASE).await;
    assert_eq!((first.attempts("long"), second.attempts("long")), (1, 0));
    dead.task.abort();
    assert_eq!(until_done(&bus, 1).await, ["long"]);
    assert_eq!((first.attempts("long"), second.attempts("long")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_always_fails_is_given_up_once_after_three_deliveries() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    produce(&bus, "fail").await;
    let _worker = start(&bus, &handler, "a", 4, DRAIN);
    assert_eq!(until_done(&bus, 1).await, ["given up"]);
    assert_eq!(handler.attempts("fail"), MAX_DELIVERIES as usize);
    let letters = stream(&bus, DEAD_LETTERS).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(jobs::decode::<DeadLetter>(&letters[0]).unwrap().deliveries, MAX_DELIVERIES + 1);
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_job_is_given_up_at_once() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    produce(&bus, "fail for good").await;
    let _worker = start(&bus, &handler, "a", 4, DRAIN);
    assert_eq!(until_done(&bus, 1).await, ["given up"]);
    assert_eq!(handler.attempts("fail for good"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_refused_to_hear_is_told_again_and_the_work_is_not_done_again() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    produce(&bus, "unsent").await;
    let _worker = start(&bus, &handler, "a", 4, DRAIN);
    assert_eq!(until_done(&bus, 1).await, ["unsent"]);
    assert_eq!(handler.attempts("unsent"), 1);
    assert_eq!(bus.depth(STREAM, GROUP).await.unwrap(), Depth::default());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_costs_one_delivery_and_no_slot() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    produce(&bus, "panic once").await;
    produce(&bus, "other").await;
    let worker = start(&bus, &handler, "a", 1, DRAIN);
    let mut done = until_done(&bus, 2).await;
    done.sort();
    assert_eq!(done, ["other", "panic once"]);
    assert_eq!(handler.attempts("panic once"), 2);
    let told = TextEncoder::new().encode_to_string(&worker.registry.gather()).unwrap();
    for line in [
        "subtide_jobs_total{outcome=\"retry\",stream=\"jobs\"} 1\n",
        "subtide_jobs_total{outcome=\"done\",stream=\"jobs\"} 2\n",
        "subtide_jobs_in_flight{stream=\"jobs\"} 0\n",
    ] {
        assert!(told.contains(line), "`{line}` is not there:\n{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_finishes_what_it_has_and_takes_no_more() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    produce(&bus, "long").await;
    let worker = start(&bus, &handler, "a", 4, DRAIN);
    sleep(LEASE).await;
    worker.stop.cancel();
    sleep(LEASE).await;
    produce(&bus, "late").await;
    timeout(DRAIN, worker.task).await.unwrap().unwrap().unwrap();
    assert_eq!(stream(&bus, "done").await, ["long"]);
    assert_eq!(bus.depth(STREAM, GROUP).await.unwrap().lag, 1);
}

/// From then on a worker that was started looks for the jobs of others: not before a lease, for who is silent then may have
/// had no bus to be heard on; and the first look only learns the time.
const SETTLED: Duration = LEASE.saturating_add(Duration::from_millis(1500));
/// Less than a lease, more than the time between two looks for the jobs of silent workers.
const AT_ONCE: Duration = Duration::from_millis(1500);

#[tokio::test(start_paused = true)]
async fn what_is_not_done_by_the_drain_deadline_is_taken_by_a_peer_at_once() {
    let bus = MemoryBus::new();
    let (handler, peers) = (Handler::new(&bus), Handler::new(&bus));
    produce(&bus, "long").await;
    let worker = start(&bus, &handler, "a", 4, Duration::from_secs(1));
    sleep(LEASE).await;
    let _peer = start(&bus, &peers, "b", 4, DRAIN);
    sleep(SETTLED).await;
    worker.stop.cancel();
    timeout(Duration::from_secs(5), worker.task).await.unwrap().unwrap().unwrap();
    assert_eq!(bus.depth(STREAM, GROUP).await.unwrap().pending, 1);
    sleep(AT_ONCE).await;
    assert_eq!(peers.attempts("long"), 1, "without waiting for a lease to run out");
    assert_eq!(until_done(&bus, 1).await, ["long"]);
    assert_eq!(peers.deliveries("long"), 2, "it was begun twice");
}

#[tokio::test(start_paused = true)]
async fn what_a_stopping_worker_has_not_begun_is_taken_by_a_peer_at_once_and_does_not_count() {
    let bus = MemoryBus::new();
    let (handler, peers) = (Handler::new(&bus), Handler::new(&bus));
    produce(&bus, "long").await;
    let worker = start(&bus, &handler, "a", 1, DRAIN);
    sleep(LEASE).await;
    // A full worker takes over one job of a silent peer; it waits for the slot.
    produce(&bus, "waits").await;
    bus.group_reader(STREAM, GROUP, "silent").await.unwrap().next(1, LEASE).await.unwrap();
    sleep(LEASE * 2).await;
    let members = bus.members(STREAM, GROUP).await.unwrap();
    assert_eq!(members.iter().map(|member| member.pending).collect::<Vec<_>>(), [2, 0], "{members:?}");
    let _peer = start(&bus, &peers, "b", 1, DRAIN);
    sleep(SETTLED).await;
    worker.stop.cancel();
    sleep(AT_ONCE).await;
    assert_eq!(peers.attempts("waits"), 1);
    timeout(DRAIN, worker.task).await.unwrap().unwrap().unwrap();
    until_done(&bus, 2).await;
    assert_eq!(
        (handler.deliveries("long"), peers.deliveries("waits")),
        (1, 2),
        "of the two only the silent one counts"
    );
    let members = bus.members(STREAM, GROUP).await.unwrap();
    assert!(members.iter().all(|member| member.name != "a"), "it left with nothing in hand: {members:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_worker_hands_back_counts_as_never_delivered() {
    let bus = MemoryBus::new();
    let (broken, sound) = (Handler::new(&bus), Handler::new(&bus));
    broken.broken.store(true, Ordering::SeqCst);
    produce(&bus, "1").await;
    let worker = start(&bus, &broken, "a", 4, DRAIN);
    sleep(AT_ONCE * 20).await;
    let attempts = broken.attempts("1");
    assert!(attempts > MAX_DELIVERIES as usize, "{attempts}");
    worker.stop.cancel();
    worker.task.await.unwrap().unwrap();
    let _sound = start(&bus, &sound, "b", 4, DRAIN);
    assert_eq!(until_done(&bus, 1).await, ["1"]);
    assert_eq!(sound.deliveries("1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_kills_its_workers_is_given_up_and_those_beside_it_are_done() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    let beside = ["long", "long too", "as long", "no shorter"];
    for job in ["kill", "long", "long too", "as long", "no shorter"] {
        produce(&bus, job).await;
    }
    let mut deaths = 0;
    let done = loop {
        let worker = start(&bus, &handler, &format!("worker {deaths}"), 8, DRAIN);
        tokio::select! {
            () = handler.killed.notified() => deaths += 1,
            done = until_done(&bus, 5) => break done,
        }
        // Long enough for all that is to be begun beside it.
        sleep(AT_ONCE).await;
        worker.task.abort();
    };
    assert_eq!(deaths, MAX_DELIVERIES, "it killed three, and no fourth");
    assert_eq!(handler.deliveries("kill"), MAX_DELIVERIES + 1, "given up");
    for job in beside {
        assert!(handler.attempts(job) >= 3 && done.iter().any(|done| *done == job), "{job}: {done:?}");
    }
    assert_eq!(done.iter().filter(|done| *done == "given up").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hangs_ends_and_the_job_that_made_it_is_given_up() {
    let bus = MemoryBus::new();
    let handler = Handler::new(&bus);
    produce(&bus, "hang").await;
    for delivery in 1..=MAX_DELIVERIES {
        let worker = start(&bus, &handler, &format!("worker {delivery}"), 4, DRAIN);
        // Others are done beside it at first; from then on nothing moves.
        produce(&bus, ["1", "2", "3"][delivery as usize - 1]).await;
        sleep(STALL / 2).await;
        assert!(!worker.task.is_finished());
        let stalled = timeout(STALL, worker.task).await.unwrap().unwrap().unwrap_err();
        assert_eq!(stalled.jobs, 1);
    }
    let worker = start(&bus, &handler, "the last", 4, DRAIN);
    let mut done = until_done(&bus, 4).await;
    done.sort();
    assert_eq!(done, ["1", "2", "3", "given up"]);
    assert_eq!(handler.attempts("hang"), MAX_DELIVERIES as usize);
    sleep(STALL * 3).await;
    assert!(!worker.task.is_finished(), "one without work does not hang");
}
