//! Sentinels and failovers.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use redis::{Client, Value, cmd};
use shared::bus::{Bus, BusError, Effects, EntryId, Finished, GroupReader, MailboxReader, Produce, Publish, RedisBus};
use tests::{figure::figure, sentinel::Sentinels};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

const JOBS: &str = "jobs";
const GROUP: &str = "workers";
const EVENTS: &str = "events:s";
const MAILBOX: &str = "mailbox:g";
const TTL: Duration = Duration::from_secs(600);
/// For what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two jobs of a producer, and after an error.
const PAUSE: Duration = Duration::from_millis(10);
const PRODUCERS: u64 = 4;

/// Producers, a worker and a gateway, on buses of their own, for as long as a test goes.
struct Traffic {
    /// Tells the producers to stop, and later the others.
    enough: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    producers: Vec<JoinHandle<Produced>>,
    worker: JoinHandle<()>,
    mailbox: JoinHandle<BTreeSet<String>>,
    acknowledged: Arc<AtomicU64>,
    mailed: Arc<AtomicU64>,
}

/// What one producer was told.
struct Produced {
    acknowledged: BTreeSet<String>,
    /// Longest time between two acknowledgements.
    outage: Duration,
}

/// After an error that passes: a pause.
async fn pause_after(error: &BusError) {
    assert!(error.retryable(), "{error}");
    sleep(PAUSE).await;
}

async fn producer(bus: RedisBus, number: u64, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Produced {
    let mut produced = Produced { acknowledged: BTreeSet::new(), outage: Duration::ZERO };
    let mut last = Instant::now();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{number}-{n}");
        let payload = Bytes::from(name.clone());
        let job = Produce { stream: JOBS.into(), idempotency_key: name.clone(), payload, set: None };
        // Tried until it is acknowledged, as every service does.
        while let Err(error) = bus.produce(job.clone()).await {
            assert!(last.elapsed() < PATIENCE, "{error}");
            pause_after(&error).await;
        }
        produced.outage = produced.outage.max(last.elapsed());
        last = Instant::now();
        produced.acknowledged.insert(name);
        count.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
    produced
}

/// Finishes every job with an event that says its name, and takes over what a broken connection left pending.
async fn worker(bus: RedisBus, mut reader: Box<dyn GroupReader>, stop: Arc<AtomicBool>) {
    let mut reclaimed = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let mut jobs = reader.next(50, Duration::from_millis(200)).await.unwrap_or_default();
        if reclaimed.elapsed() > Duration::from_secs(1) {
            reclaimed = Instant::now();
            let silent = bus.reclaim(JOBS, GROUP, "w", Duration::from_secs(1), 50).await.unwrap_or_default();
            assert!(silent.lost.is_empty(), "jobs are gone from the stream: {:?}", silent.lost);
            jobs.extend(silent.deliveries);
        }
        if jobs.is_empty() {
            sleep(PAUSE).await;
        }
        for job in jobs {
            let event = Publish { stream: EVENTS.into(), payload: job.payload.clone(), ttl: TTL };
            let effects = Effects { publish: vec![event], ..Effects::default() };
            if let Ok(outcome) = bus.finish(&job, effects).await {
                assert_ne!(outcome, Finished::GuardFailed);
            }
        }
    }
}

async fn mailbox(mut reader: Box<dyn MailboxReader>, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) -> BTreeSet<String> {
    let mut heard = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        match reader.next(Duration::from_millis(200)).await {
            Ok(mails) => {
                heard.extend(mails.into_iter().map(|mail| String::from_utf8(mail.payload.to_vec()).unwrap()));
                count.store(heard.len() as u64, Ordering::Relaxed);
            }
            Err(error) => pause_after(&error).await,
        }
    }
    heard
}

impl Traffic {
    async fn on(url: &str) -> Self {
        let bus = RedisBus::connect(url).await.unwrap();
        bus.route(EVENTS, MAILBOX, TTL).await.unwrap();
        let (enough, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (acknowledged, mailed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let gateway = RedisBus::connect(url).await.unwrap();
        let mailbox = mailbox(gateway.mailbox(MAILBOX).await.unwrap(), stop.clone(), mailed.clone());
        let at_work = RedisBus::connect(url).await.unwrap();
        let reader = at_work.group_reader(JOBS, GROUP, "w").await.unwrap();
        let worker = worker(at_work, reader, stop.clone());
        let producers =
            (0..PRODUCERS).map(|number| producer(bus.clone(), number, enough.clone(), acknowledged.clone()));
        let producers = producers.map(tokio::spawn).collect();
        let (worker, mailbox) = (tokio::spawn(worker), tokio::spawn(mailbox));
        Self { enough, stop, producers, worker, mailbox, acknowledged, mailed }
    }

    /// Waits until so many more jobs were acknowledged, and so many more events were in the mailbox.
    async fn goes_on(&self, more: u64) {
        for counter in [&self.acknowledged, &self.mailed] {
            let wanted = counter.load(Ordering::Relaxed) + more;
            let give_up = Instant::now() + PATIENCE;
            while counter.load(Ordering::Relaxed) < wanted {
                assert!(Instant::now() < give_up, "nothing goes on any more");
                sleep(PAUSE).await;
            }
        }
    }

    /// Lets what was acknowledged come to the mailbox, and says what did not, and the longest outage.
    async fn end(self) -> (Vec<String>, Duration) {
        self.enough.store(true, Ordering::Relaxed);
        let mut acknowledged = BTreeSet::new();
        let mut outage = Duration::ZERO;
        for producer in self.producers {
            let produced = producer.await.unwrap();
            acknowledged.extend(produced.acknowledged);
            outage = outage.max(produced.outage);
        }
        let give_up = Instant::now() + PATIENCE;
        while self.mailed.load(Ordering::Relaxed) < acknowledged.len() as u64 && Instant::now() < give_up {
            sleep(PAUSE).await;
        }
        self.stop.store(true, Ordering::Relaxed);
        self.worker.await.unwrap();
        let heard = self.mailbox.await.unwrap();
        (acknowledged.difference(&heard).cloned().collect(), outage)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_no_job_that_was_acknowledged() {
    let mut sentinels = Sentinels::spawn().await;
    let traffic = Traffic::on(&sentinels.url()).await;
    traffic.goes_on(100).await;
    let took = sentinels.fail_over().await;
    traffic.goes_on(100).await;
    let (lost, outage) = traffic.end().await;
    figure("sentinel_failover_seconds", took.as_secs_f64());
    figure("sentinel_outage_seconds", outage.as_secs_f64());
    assert!(lost.is_empty(), "{} are lost, such as {:?}", lost.len(), lost.first());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; cargo xtask prove faults runs it"]
async fn ten_failovers_lose_no_job_that_was_acknowledged() {
    let mut sentinels = Sentinels::spawn().await;
    let traffic = Traffic::on(&sentinels.url()).await;
    let mut took = Duration::ZERO;
    for _ in 0..10 {
        traffic.goes_on(100).await;
        took = took.max(sentinels.fail_over().await);
    }
    traffic.goes_on(100).await;
    let (lost, outage) = traffic.end().await;
    figure("sentinel_failover_max_seconds", took.as_secs_f64());
    figure("sentinel_outage_max_seconds", outage.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "few")]
    figure("sentinel_lost", lost.len() as f64);
    assert!(lost.is_empty(), "{} are lost, such as {:?}", lost.len(), lost.first());
}

/// A replica that is behind becomes a primary that never heard of what only the other one had.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_a_replica_has_it() {
    let sentinels = Sentinels::spawn().await;
    let bus = RedisBus::connect(&sentinels.url()).await.unwrap();
    // As a session does it: until it is told that it was done.
    let append = async |payload: &'static str, token| loop {
        match bus.append_if("audio", Bytes::from_static(payload.as_bytes()), TTL, None, token).await {
            Ok(entry) => return entry.unwrap(),
            Err(error) => pause_after(&error).await,
        }
    };
    let commit = async || {
        while let Err(error) = bus.commit(Effects::default()).await {
            pause_after(&error).await;
        }
    };
    append("before", 1).await;
    sentinels.replica().signal("STOP");
    let mut two = Box::pin(async { tokio::join!(append("meanwhile", 2), commit()) });
    // Long enough for a write to be tried anew on the same primary, where it finds itself done.
    assert!(timeout(Duration::from_secs(4), &mut two).await.is_err(), "acknowledged, and no replica had it");
    sentinels.replica().signal("CONT");
    let (entry, ()) = timeout(PATIENCE, two).await.unwrap();
    // It was asked for more than once, and stands there once.
    assert_eq!(bus.range("audio", EntryId::default(), entry, 10).await.unwrap().len(), 2);
}

/// Its replica may have become the primary, which it hears last; a while later it is plain that there was no failover.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_whose_replica_is_gone_goes_on_when_no_sentinel_names_another() {
    let sentinels = Sentinels::spawn().await;
    let bus = RedisBus::connect(&sentinels.url()).await.unwrap();
    let append =
        async |token| bus.append_if("audio", Bytes::from_static(b"pcm"), TTL, None, token).await.map(Option::unwrap);
    append(1).await.unwrap();
    sentinels.replica().signal("KILL");
    let goes_on = async {
        let error = append(2).await.expect_err("acknowledged, and a sentinel may just have named another primary");
        pause_after(&error).await;
        while let Err(error) = append(2).await {
            pause_after(&error).await;
        }
    };
    timeout(PATIENCE, goes_on).await.unwrap();
    for token in 3..100 {
        append(token).await.unwrap();
    }
}

/// A primary that was cut off goes on as if nothing had been, and answers: who reads there hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_leaves_a_primary_that_lost_its_office_though_it_still_answers() {
    let mut sentinels = Sentinels::spawn().await;
    // Nobody can tell it that it is a replica now.
    let old = Client::open(sentinels.primary().url()).unwrap();
    let mut old = old.get_multiplexed_async_connection().await.unwrap();
    cmd("ACL").arg(&["SETUSER", "default", "-slaveof", "-replicaof"]).exec_async(&mut old).await.unwrap();
    let bus = RedisBus::connect(&sentinels.url()).await.unwrap();
    bus.route(EVENTS, MAILBOX, TTL).await.unwrap();
    let mut mailbox = bus.mailbox(MAILBOX).await.unwrap();
    publish(&bus, "before").await;
    until_heard(&mut *mailbox, "before").await;
    // No read is under way meanwhile, so none finds out by a time-out.
    sentinels.hang_over().await;
    let elsewhere = RedisBus::connect(&sentinels.url()).await.unwrap();
    elsewhere.route(EVENTS, MAILBOX, TTL).await.unwrap();
    publish(&elsewhere, "after").await;
    timeout(PATIENCE, until_heard(&mut *mailbox, "after")).await.unwrap();
    let role: Vec<Value> = cmd("ROLE").query_async(&mut old).await.unwrap();
    assert_eq!(role[0], Value::BulkString(b"master".to_vec()), "it was told after all, which ends blocked reads");
}

async fn publish(bus: &RedisBus, payload: &'static str) {
    let publish = Publish { stream: EVENTS.into(), payload: Bytes::from_static(payload.as_bytes()), ttl: TTL };
    while let Err(error) = bus.publish(publish.clone()).await {
        pause_after(&error).await;
    }
}

async fn until_heard(mailbox: &mut dyn MailboxReader, payload: &str) {
    loop {
        match mailbox.next(Duration::from_secs(1)).await {
            Ok(mails) if mails.iter().any(|mail| &*mail.payload == payload.as_bytes()) => return,
            Ok(_) => {}
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Its host lost power, say: nothing refuses, nothing answers. The other two know all that is to be known.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_hangs_costs_no_reader_its_connection() {
    let sentinels = Sentinels::spawn().await;
    let bus = RedisBus::connect(&sentinels.url()).await.unwrap();
    bus.route(EVENTS, MAILBOX, TTL).await.unwrap();
    let mut mailbox = bus.mailbox(MAILBOX).await.unwrap();
    let mut group = bus.group_reader(JOBS, GROUP, "w").await.unwrap();
    sentinels.hang_sentinel(0);
    // Long enough for several looks at where the primary is.
    let (mut well, mut cut) = (0, 0);
    let reads = async {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            *(if group.next(1, Duration::from_millis(500)).await.is_ok() { &mut well } else { &mut cut }) += 1;
        }
    };
    let hear = async {
        until_heard(&mut *mailbox, "while it hangs").await;
    };
    let say = async {
        sleep(Duration::from_secs(8)).await;
        publish(&bus, "while it hangs").await;
    };
    timeout(PATIENCE, async { tokio::join!(reads, hear, say) }).await.unwrap();
    // A machine that stands still may cut one.
    assert!(well >= 3 && cut <= 1, "{cut} reads were cut, {well} were not");
    let fresh = RedisBus::connect(&sentinels.url()).await.unwrap();
    fresh.ping().await.unwrap();
}
