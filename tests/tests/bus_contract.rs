//! The contract of the bus: the same tests against both implementations, and on Redis some more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use shared::bus::{
    Bus, Delivery, Depth, Effects, EntryId, Finished, Guard, MailboxReader, MemoryBus, Produce, Publish, RedisBus,
    StateWrite, Steady, Suspects, TakeOver,
};
use tests::redis_server::RedisServer;
use tokio::time::sleep;

#[path = "bus_contract/limits.rs"]
mod limits;
#[path = "bus_contract/mail.rs"]
mod mail;
#[path = "bus_contract/on_redis.rs"]
mod on_redis;

const JOBS: &str = "jobs";
const GROUP: &str = "workers";
const LAST: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };
/// Long enough not to run out in a test.
const TTL: Duration = Duration::from_secs(600);
/// For what is there already.
const NO_WAIT: Duration = Duration::ZERO;
/// For what must come; never waited out by a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what must not come. It cannot make a correct bus fail, however slow the machine.
const A_WHILE: Duration = Duration::from_millis(100);
/// How long a consumer is silent, and from when on it counts as silent; a renewed lease is younger than that unless
/// the machine stood still for as long.
const SILENCE: Duration = Duration::from_secs(4);
const SILENT: Duration = Duration::from_millis(3900);

fn job(n: usize) -> Produce {
    Produce { stream: JOBS.into(), idempotency_key: n.to_string(), payload: payload(n), set: None }
}

fn payload(n: usize) -> Bytes {
    Bytes::from(format!("payload {n}"))
}

fn write(key: &str, value: &str) -> StateWrite {
    StateWrite { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()), ttl: TTL }
}

fn event(stream: &str, n: usize) -> Publish {
    Publish { stream: stream.into(), payload: payload(n), ttl: TTL }
}

async fn produce(bus: &dyn Bus, jobs: std::ops::Range<usize>) {
    for n in jobs {
        assert!(bus.produce(job(n)).await.unwrap().is_some());
    }
}

/// Leases the one job that is in the stream.
async fn lease(bus: &dyn Bus, consumer: &str) -> Delivery {
    let mut jobs = bus.group_reader(JOBS, GROUP, consumer).await.unwrap().next(10, PATIENCE).await.unwrap();
    assert_eq!(jobs.len(), 1);
    jobs.remove(0)
}

async fn payloads(bus: &dyn Bus, stream: &str) -> Vec<Bytes> {
    let entries = bus.range(stream, EntryId::START, LAST, 1000).await.unwrap();
    entries.into_iter().map(|entry| entry.payload).collect()
}

async fn entries_are_kept_in_order_and_read_by_range(bus: Arc<dyn Bus>) {
    assert!(bus.range("audio", EntryId::START, LAST, 10).await.unwrap().is_empty());
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(bus.append("audio", payload(n), TTL).await.unwrap());
    }
    assert!(ids.is_sorted() && ids[0] > EntryId::START);
    let read = bus.range("audio", ids[0], ids[3], 10).await.unwrap();
    assert_eq!(read.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids[1..=3]);
    assert_eq!(read[0].payload, payload(1));
    assert_eq!(bus.range("audio", ids[0], LAST, 2).await.unwrap().len(), 2);
    assert!(bus.range("audio", ids[4], LAST, 10).await.unwrap().is_empty());
    // Equal payloads, as silence has, are two entries.
    bus.append("audio", payload(4), TTL).await.unwrap();
    assert_eq!(payloads(&*bus, "audio").await.len(), 6);
    let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
    bus.append("binary", bytes.clone(), TTL).await.unwrap();
    assert_eq!(payloads(&*bus, "binary").await, [bytes]);
    bus.remove(&["audio".into(), "absent".into()]).await.unwrap();
    assert!(payloads(&*bus, "audio").await.is_empty());
}

async fn a_stream_lives_for_its_ttl(bus: Arc<dyn Bus>) {
    bus.append("short", payload(0), Duration::from_millis(1)).await.unwrap();
    bus.append("long", payload(0), Duration::from_millis(1)).await.unwrap();
    bus.append("long", payload(1), TTL).await.unwrap();
    sleep(A_WHILE).await;
    assert!(payloads(&*bus, "short").await.is_empty());
    assert!(!payloads(&*bus, "long").await.is_empty(), "a later append prolongs it");
    bus.append("short", payload(2), TTL).await.unwrap();
    assert_eq!(payloads(&*bus, "short").await, [payload(2)]);
}

async fn consumers_share_a_stream_without_doubles(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..90).await;
    let mut readers = Vec::new();
    for consumer in ["a", "b", "c"] {
        readers.push(bus.group_reader(JOBS, GROUP, consumer).await.unwrap());
    }
    let mut seen = Vec::new();
    for round in 0..30 {
        let jobs = readers[round % 3].next(3, PATIENCE).await.unwrap();
        assert!(!jobs.is_empty() && jobs.len() <= 3);
        assert!(jobs.iter().all(|job| job.deliveries == 1 && &*job.stream == JOBS && &*job.group == GROUP));
        seen.extend(jobs.into_iter().map(|job| job.payload));
    }
    assert_eq!(seen, (0..90).map(payload).collect::<Vec<_>>());
    assert!(readers[0].next(3, NO_WAIT).await.unwrap().is_empty());
}

async fn every_group_gets_every_entry(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..3).await;
    for group in ["one", "two"] {
        let mut reader = bus.group_reader(JOBS, group, "consumer").await.unwrap();
        let jobs = reader.next(10, PATIENCE).await.unwrap();
        assert_eq!(jobs.iter().map(|job| job.payload.clone()).collect::<Vec<_>>(), [0, 1, 2].map(payload));
        assert_eq!(bus.finish(&jobs[0], Effects::default()).await.unwrap(), Finished::Done);
    }
    assert_eq!(bus.depth(JOBS, "one").await.unwrap().pending, 2);
}

async fn a_blocked_reader_wakes_when_a_job_arrives(bus: Arc<dyn Bus>) {
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    let reading = tokio::spawn(async move { reader.next(1, PATIENCE).await.unwrap() });
    sleep(A_WHILE).await;
    assert!(!reading.is_finished());
    produce(&*bus, 0..1).await;
    assert_eq!(reading.await.unwrap()[0].payload, payload(0));
}

async fn a_reader_outlives_the_removal_of_its_stream(bus: Arc<dyn Bus>) {
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    bus.remove(&[JOBS.into()]).await.unwrap();
    produce(&*bus, 0..1).await;
    assert_eq!(reader.next(1, PATIENCE).await.unwrap()[0].payload, payload(0));
    let reading = tokio::spawn(async move { reader.next(1, PATIENCE).await.unwrap() });
    sleep(A_WHILE).await;
    bus.remove(&[JOBS.into()]).await.unwrap();
    produce(&*bus, 1..2).await;
    assert_eq!(reading.await.unwrap()[0].payload, payload(1));
}

async fn a_repeated_produce_appends_nothing(bus: Arc<dyn Bus>) {
    let first = Produce { set: Some(write("state", "first")), ..job(7) };
    let second = Produce { payload: payload(8), set: Some(write("state", "second")), ..job(7) };
    assert!(bus.produce(first).await.unwrap().is_some());
    assert!(bus.produce(second).await.unwrap().is_none());
    assert_eq!(payloads(&*bus, JOBS).await, [payload(7)]);
    assert_eq!(bus.get("state").await.unwrap().unwrap(), "first");
}

async fn only_the_first_finish_has_effects(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "a").await;
    let next = Produce { stream: "next".into(), set: Some(write("produced", "yes")), ..job(1) };
    let again = Produce { stream: "next".into(), set: Some(write("produced", "again")), ..job(1) };
    let effects = Effects {
        guard: None,
        publish: vec![event("events", 1), event("events", 2)],
        produce: vec![next, again, Produce { stream: "next".into(), ..job(2) }],
        set: vec![write("set", "yes")],
    };
    assert_eq!(bus.finish(&leased, effects.clone()).await.unwrap(), Finished::Done);
    let effects = Effects { set: vec![write("set", "twice")], ..effects };
    assert_eq!(bus.finish(&leased, effects).await.unwrap(), Finished::LeaseLost);
    assert_eq!(payloads(&*bus, "events").await, [payload(1), payload(2)]);
    assert_eq!(payloads(&*bus, "next").await, [payload(1), payload(2)]);
    assert_eq!(bus.get("produced").await.unwrap().unwrap(), "yes");
    assert_eq!(bus.get("set").await.unwrap().unwrap(), "yes");
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap().pending, 0);
}

async fn a_guard_that_fails_leaves_the_job_pending(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "a").await;
    let guarded = |expected: Option<&str>| {
        let expected = expected.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        let guard = Some(Guard { key: "revision".into(), expected });
        Effects { guard, publish: vec![event("events", 0)], ..Effects::default() }
    };
    assert_eq!(bus.finish(&leased, guarded(Some("3"))).await.unwrap(), Finished::GuardFailed, "absent is not 3");
    bus.set(write("revision", "4")).await.unwrap();
    for expected in [Some("3"), Some(""), None] {
        assert_eq!(bus.finish(&leased, guarded(expected)).await.unwrap(), Finished::GuardFailed);
    }
    assert!(payloads(&*bus, "events").await.is_empty());
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap().pending, 1);
    assert_eq!(bus.finish(&leased, guarded(Some("4"))).await.unwrap(), Finished::Done);
    assert_eq!(payloads(&*bus, "events").await, [payload(0)]);
}

async fn an_absent_key_satisfies_a_guard_that_expects_none(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "a").await;
    let guard = Some(Guard { key: "revision".into(), expected: None });
    let effects = Effects { guard, ..Effects::default() };
    assert_eq!(bus.finish(&leased, effects).await.unwrap(), Finished::Done);
}

async fn effects_without_a_job_happen_if_their_guard_holds(bus: Arc<dyn Bus>) {
    bus.set(write("owner", "a")).await.unwrap();
    let effects = |owner: &str| Effects {
        guard: Some(Guard { key: "owner".into(), expected: Some(Bytes::copy_from_slice(owner.as_bytes())) }),
        publish: vec![event("events", 1)],
        produce: vec![job(1)],
        set: vec![write("owner", "b"), write("state", "written")],
    };
    assert!(!bus.commit(effects("b")).await.unwrap());
    assert!(payloads(&*bus, "events").await.is_empty() && payloads(&*bus, JOBS).await.is_empty());
    assert!(bus.commit(effects("a")).await.unwrap());
    assert!(!bus.commit(effects("a")).await.unwrap(), "the owner is another one by now");
    assert_eq!(payloads(&*bus, "events").await, [payload(1)]);
    assert_eq!(payloads(&*bus, JOBS).await, [payload(1)]);
    assert_eq!(bus.get("state").await.unwrap().unwrap(), "written");
}

async fn only_the_owner_appends(bus: Arc<dyn Bus>) {
    let guard =
        |owner: &'static str| Guard { key: "owner".into(), expected: Some(Bytes::from_static(owner.as_bytes())) };
    bus.set(write("owner", "a")).await.unwrap();
    assert!(bus.append_if("audio", payload(1), TTL, Some(&guard("a")), 1).await.unwrap().is_some());
    assert!(bus.append_if("audio", payload(2), TTL, Some(&guard("b")), 2).await.unwrap().is_none());
    assert_eq!(payloads(&*bus, "audio").await, [payload(1)]);
}

async fn what_is_taken_is_taken_once(bus: Arc<dyn Bus>) {
    assert_eq!(bus.take("ticket").await.unwrap(), None);
    bus.set(write("ticket", "in")).await.unwrap();
    let (one, other) = tokio::join!(bus.take("ticket"), bus.take("ticket"));
    let got: Vec<_> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!(got, ["in"]);
    bus.set(StateWrite { ttl: Duration::from_millis(1), ..write("ticket", "late") }).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    assert_eq!(bus.take("ticket").await.unwrap(), None);
}

async fn a_dead_consumers_job_is_taken_over(bus: Arc<dyn Bus>) {
    let nothing = bus.reclaim(JOBS, GROUP, "b", NO_WAIT, 10).await.unwrap();
    assert!(nothing.deliveries.is_empty(), "no stream, no group");
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "a").await;
    let too_early = bus.reclaim(JOBS, GROUP, "b", PATIENCE, 10).await.unwrap();
    assert!(too_early.deliveries.is_empty() && too_early.lost.is_empty());
    sleep(A_WHILE).await;
    let mut taken = bus.reclaim(JOBS, GROUP, "b", A_WHILE / 2, 10).await.unwrap();
    assert_eq!(taken.deliveries, [Delivery { deliveries: 2, ..leased.clone() }]);
    assert!(taken.lost.is_empty());
    let taken = taken.deliveries.remove(0);
    // The zombie may still finish first, but only one of the two can.
    assert_eq!(bus.finish(&taken, Effects::default()).await.unwrap(), Finished::Done);
    assert_eq!(bus.finish(&leased, Effects::default()).await.unwrap(), Finished::LeaseLost);
    assert!(bus.reclaim(JOBS, GROUP, "b", NO_WAIT, 10).await.unwrap().deliveries.is_empty());
}

async fn at_most_count_jobs_are_taken_over(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..60).await;
    bus.group_reader(JOBS, GROUP, "a").await.unwrap().next(60, PATIENCE).await.unwrap();
    sleep(SILENCE).await;
    // All but the last two are busy; those must be found behind them.
    let entries = bus.range(JOBS, EntryId::START, LAST, 58).await.unwrap();
    let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
    bus.renew_lease(JOBS, GROUP, "a", &ids).await.unwrap();
    for n in [58, 59] {
        let taken = bus.reclaim(JOBS, GROUP, "b", SILENT, 1).await.unwrap().deliveries;
        assert_eq!(taken.iter().map(|job| job.payload.clone()).collect::<Vec<_>>(), [payload(n)]);
    }
}

async fn suspects_are_taken_one_by_one_and_hide_nothing_behind_them(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..4).await;
    let mut jobs = bus.group_reader(JOBS, GROUP, "a").await.unwrap().next(4, PATIENCE).await.unwrap();
    let all_but_last: Vec<_> = jobs[..3].iter().map(|job| (job.id, 2)).collect();
    bus.hand_back(JOBS, GROUP, "a", &all_but_last).await.unwrap();
    bus.hand_back(JOBS, GROUP, "a", &[(jobs[3].id, 1)]).await.unwrap();
    let wanted = TakeOver {
        stream: JOBS,
        group: GROUP,
        consumer: "b",
        min_idle: PATIENCE,
        count: 10,
        suspects: Some(Suspects { deliveries: 3, most: 0 }),
        steady: None,
    };
    jobs.iter_mut().zip([3, 3, 3, 2]).for_each(|(job, deliveries)| job.deliveries = deliveries);
    assert_eq!(bus.take_over(&wanted).await.unwrap().deliveries, [jobs[3].clone()]);
    let one_each = TakeOver { suspects: Some(Suspects { deliveries: 3, most: 1 }), ..wanted };
    for job in &jobs[..2] {
        assert_eq!(
            bus.take_over(&one_each).await.unwrap().deliveries,
            std::slice::from_ref(job),
            "left alone, it was not counted"
        );
    }
    assert_eq!(bus.reclaim(JOBS, GROUP, "b", PATIENCE, 10).await.unwrap().deliveries, [jobs[2].clone()]);
}

async fn who_was_not_answered_lately_takes_nothing_over(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "a").await;
    bus.hand_back(JOBS, GROUP, "a", &[(leased.id, 0)]).await.unwrap();
    let look = async |answered| {
        let steady = Some(Steady { answered, within: PATIENCE });
        let (stream, group, consumer) = (JOBS, GROUP, "b");
        let wanted = TakeOver { stream, group, consumer, min_idle: PATIENCE, count: 1, suspects: None, steady };
        bus.take_over(&wanted).await.unwrap()
    };
    let first = look(Duration::ZERO).await;
    assert!(first.deliveries.is_empty(), "never before");
    assert!(look(first.at - PATIENCE * 2).await.deliveries.is_empty(), "long ago");
    assert!(look(first.at + PATIENCE * 2).await.deliveries.is_empty(), "by another clock");
    let taken = look(first.at).await;
    assert_eq!(taken.deliveries, [leased], "and what it did not take was not counted");
    assert!(taken.at >= first.at);
}

async fn a_renewed_lease_is_kept(bus: Arc<dyn Bus>) {
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "a").await;
    sleep(SILENCE).await;
    bus.renew_lease(JOBS, GROUP, "b", &[leased.id]).await.unwrap();
    bus.renew_lease(JOBS, GROUP, "a", &[leased.id, EntryId { ms: 1, seq: 1 }]).await.unwrap();
    assert!(bus.reclaim(JOBS, GROUP, "b", SILENT, 10).await.unwrap().deliveries.is_empty());
    sleep(A_WHILE).await;
    // It counts as one delivery, and b, who does not hold it, could not renew it.
    bus.renew_lease(JOBS, GROUP, "b", &[leased.id]).await.unwrap();
    let taken = bus.reclaim(JOBS, GROUP, "c", A_WHILE / 2, 10).await.unwrap().deliveries;
    assert_eq!(taken.iter().map(|job| job.deliveries).collect::<Vec<_>>(), [2]);
}

async fn what_is_handed_back_is_taken_at_once_and_does_not_count(bus: Arc<dyn Bus>) {
    bus.hand_back(JOBS, GROUP, "a", &[(EntryId::START, 0)]).await.unwrap();
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "a").await;
    // Said twice, as after a lost reply; and by somebody who does not hold it.
    for consumer in ["a", "a", "b"] {
        bus.hand_back(JOBS, GROUP, consumer, &[(leased.id, 0)]).await.unwrap();
    }
    let taken = bus.reclaim(JOBS, GROUP, "b", PATIENCE, 10).await.unwrap().deliveries;
    assert_eq!(taken, std::slice::from_ref(&leased), "as if it were delivered for the first time");
    bus.hand_back(JOBS, GROUP, "a", &[(leased.id, 7)]).await.unwrap();
    assert!(bus.reclaim(JOBS, GROUP, "c", PATIENCE, 10).await.unwrap().deliveries.is_empty(), "b holds it");
    bus.renew_lease(JOBS, GROUP, "b", &[leased.id]).await.unwrap();
    assert_eq!(bus.finish(&leased, Effects::default()).await.unwrap(), Finished::Done);
}

async fn who_resigns_leaves_its_jobs_to_others_and_goes_when_it_has_none(bus: Arc<dyn Bus>) {
    assert_eq!(bus.resign(JOBS, GROUP, "a").await.unwrap(), 0, "no stream, no group");
    produce(&*bus, 0..250).await;
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    reader.next(249, PATIENCE).await.unwrap();
    lease(&*bus, "b").await;
    let names = async || {
        let members = bus.members(JOBS, GROUP).await.unwrap();
        members.into_iter().map(|member| member.name).collect::<Vec<_>>()
    };
    assert_eq!(bus.resign(JOBS, GROUP, "a").await.unwrap(), 249);
    assert_eq!(names().await, ["a", "b"], "who holds something stays known");
    let taken = bus.reclaim(JOBS, GROUP, "c", PATIENCE, 1000).await.unwrap().deliveries;
    assert_eq!(taken.len(), 249, "not those of b");
    assert!(taken.iter().all(|job| job.deliveries == 2), "a had begun them");
    assert_eq!(bus.resign(JOBS, GROUP, "a").await.unwrap(), 0);
    assert_eq!(names().await, ["b", "c"]);
}

async fn depth_counts_unread_and_pending(bus: Arc<dyn Bus>) {
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap(), Depth::default());
    produce(&*bus, 0..5).await;
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap(), Depth::default(), "a stream without the group");
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    sleep(A_WHILE).await;
    let depth = bus.depth(JOBS, GROUP).await.unwrap();
    assert_eq!((depth.lag, depth.pending), (5, 0));
    assert!(depth.oldest_age >= A_WHILE / 2 && depth.oldest_age < PATIENCE, "{depth:?}");
    let jobs = reader.next(2, PATIENCE).await.unwrap();
    let depth = bus.depth(JOBS, GROUP).await.unwrap();
    assert_eq!((depth.lag, depth.pending), (3, 2));
    assert!(depth.oldest_age >= A_WHILE / 2, "the oldest pending job counts");
    assert!(depth.waiting >= A_WHILE / 2, "the others wait as long");
    let rest = reader.next(10, PATIENCE).await.unwrap();
    let depth = bus.depth(JOBS, GROUP).await.unwrap();
    assert!(depth.oldest_age >= A_WHILE / 2 && depth.waiting == Duration::ZERO, "what is in work does not wait");
    for job in jobs.iter().chain(&rest) {
        bus.finish(job, Effects::default()).await.unwrap();
    }
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap(), Depth::default());
}

async fn what_is_too_old_and_in_nobodys_hands_expires(bus: Arc<dyn Bus>) {
    let age = SILENT;
    assert_eq!(bus.expire(JOBS, GROUP, Duration::ZERO).await.unwrap(), 0, "no stream");
    produce(&*bus, 0..6).await;
    assert_eq!(bus.expire(JOBS, GROUP, Duration::ZERO).await.unwrap(), 0, "no group");
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    let mut slow = bus.group_reader(JOBS, "slow", "a").await.unwrap();
    let held = reader.next(3, PATIENCE).await.unwrap();
    assert_eq!(bus.expire(JOBS, GROUP, PATIENCE).await.unwrap(), 0, "nothing is that old");
    sleep(SILENCE).await;
    bus.renew_lease(JOBS, GROUP, "a", &[held[1].id]).await.unwrap();
    bus.hand_back(JOBS, GROUP, "a", &[(held[2].id, 0)]).await.unwrap();
    produce(&*bus, 6..8).await;
    assert_eq!(bus.expire(JOBS, GROUP, age).await.unwrap(), 5, "three unread, two that nobody is at work on");
    assert_eq!(bus.expire(JOBS, GROUP, age).await.unwrap(), 0, "once");
    let depth = bus.depth(JOBS, GROUP).await.unwrap();
    assert_eq!((depth.lag, depth.pending), (2, 1));
    assert!(depth.waiting < age, "{depth:?}");
    assert_eq!(bus.finish(&held[0], Effects::default()).await.unwrap(), Finished::LeaseLost);
    assert_eq!(bus.finish(&held[1], Effects::default()).await.unwrap(), Finished::Done);
    let names: Vec<_> = bus.members(JOBS, GROUP).await.unwrap().into_iter().map(|member| member.name).collect();
    assert_eq!(names, ["a"], "nobody new reads");
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 0, "another group has read nothing");
    assert_eq!(slow.next(10, PATIENCE).await.unwrap().len(), 8, "nor lost anything");
    assert_eq!(bus.expire(JOBS, "slow", Duration::ZERO).await.unwrap(), 8);
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 6);
    let rest = reader.next(10, PATIENCE).await.unwrap();
    assert_eq!(rest.iter().map(|job| job.payload.clone()).collect::<Vec<_>>(), [6, 7].map(payload));
}

async fn members_are_those_who_ask_with_what_they_hold(bus: Arc<dyn Bus>) {
    assert_eq!(bus.members(JOBS, GROUP).await.unwrap(), []);
    produce(&*bus, 0..3).await;
    let mut held = bus.group_reader(JOBS, GROUP, "b").await.unwrap().next(2, PATIENCE).await.unwrap();
    sleep(A_WHILE).await;
    bus.group_reader(JOBS, GROUP, "a").await.unwrap().next(1, PATIENCE).await.unwrap();
    let members = bus.members(JOBS, GROUP).await.unwrap();
    let told: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.pending)).collect();
    assert_eq!(told, [("a", 1), ("b", 2)]);
    assert!(members[1].idle >= A_WHILE / 2 && members[1].idle < PATIENCE, "{members:?}");
    assert_eq!(bus.members(JOBS, "others").await.unwrap(), []);
    bus.finish(&held.remove(0), Effects::default()).await.unwrap();
    assert_eq!(bus.members(JOBS, GROUP).await.unwrap()[1].pending, 1);
    // Who has a server of its own tells what it holds there.
    assert_eq!(bus.usage().await.unwrap().is_some_and(|usage| usage.used > 0), bus.outlives_process());
}

async fn trimming_keeps_what_is_not_acknowledged(bus: Arc<dyn Bus>) {
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 0);
    produce(&*bus, 0..10).await;
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 0, "without a group nobody has read anything");
    let mut slow = bus.group_reader(JOBS, "slow", "a").await.unwrap();
    let mut reader = bus.group_reader(JOBS, GROUP, "a").await.unwrap();
    let jobs = reader.next(8, PATIENCE).await.unwrap();
    for job in jobs.iter().filter(|job| job.payload != payload(5)) {
        bus.finish(job, Effects::default()).await.unwrap();
    }
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 0, "the other group has read nothing");
    for job in slow.next(10, PATIENCE).await.unwrap() {
        bus.finish(&job, Effects::default()).await.unwrap();
    }
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 5);
    assert_eq!(payloads(&*bus, JOBS).await, (5..10).map(payload).collect::<Vec<_>>());
    assert_eq!((bus.depth(JOBS, GROUP).await.unwrap().lag, bus.depth(JOBS, "slow").await.unwrap().lag), (2, 0));
    bus.finish(&jobs[5], Effects::default()).await.unwrap();
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 3);
    let rest = reader.next(10, PATIENCE).await.unwrap();
    assert_eq!(rest.iter().map(|job| job.payload.clone()).collect::<Vec<_>>(), [8, 9].map(payload));
    for job in &rest {
        bus.finish(job, Effects::default()).await.unwrap();
    }
    assert_eq!(bus.trim_acknowledged(JOBS).await.unwrap(), 2);
    produce(&*bus, 10..11).await;
    assert_eq!(bus.depth(JOBS, GROUP).await.unwrap().lag, 1);
    assert_eq!(reader.next(10, PATIENCE).await.unwrap()[0].payload, payload(10));
}

async fn state_is_written_read_and_removed(bus: Arc<dyn Bus>) {
    bus.ping().await.unwrap();
    assert_eq!(bus.get("key").await.unwrap(), None);
    bus.set(write("key", "one")).await.unwrap();
    bus.set(write("key", "two")).await.unwrap();
    assert_eq!(bus.get("key").await.unwrap().unwrap(), "two");
    bus.remove(&["key".into(), "absent".into()]).await.unwrap();
    assert_eq!(bus.get("key").await.unwrap(), None);
    bus.remove(&[]).await.unwrap();
    bus.set(StateWrite { ttl: Duration::from_millis(1), ..write("short", "x") }).await.unwrap();
    bus.set(StateWrite { ttl: Duration::ZERO, ..write("none", "x") }).await.unwrap();
    bus.set(StateWrite { ttl: Duration::MAX, ..write("ever", "x") }).await.unwrap();
    sleep(A_WHILE).await;
    assert_eq!(bus.get("short").await.unwrap(), None);
    assert_eq!(bus.get("none").await.unwrap(), None);
    assert!(bus.get("ever").await.unwrap().is_some());
}

/// Runs every test of the contract on both implementations.
macro_rules! contract {
    ($($test:path as $name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test] async fn $name() { $test(Arc::new(MemoryBus::new())).await; })*
        }
        mod redis {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let server = RedisServer::spawn().await;
                $test(Arc::new(RedisBus::connect(&server.url()).await.unwrap())).await;
            })*
        }
    };
    ($($name:ident),* ; mail: $($mail:ident),* ; limits: $($limit:ident),* $(,)?) => {
        contract!($(super::$name as $name,)* $(super::mail::$mail as $mail,)* $(super::limits::$limit as $limit,)*);
    };
}

contract!(
    entries_are_kept_in_order_and_read_by_range,
    a_stream_lives_for_its_ttl,
    consumers_share_a_stream_without_doubles,
    every_group_gets_every_entry,
    a_blocked_reader_wakes_when_a_job_arrives,
    a_reader_outlives_the_removal_of_its_stream,
    a_repeated_produce_appends_nothing,
    only_the_first_finish_has_effects,
    effects_without_a_job_happen_if_their_guard_holds,
    only_the_owner_appends,
    what_is_taken_is_taken_once,
    a_guard_that_fails_leaves_the_job_pending,
    an_absent_key_satisfies_a_guard_that_expects_none,
    a_dead_consumers_job_is_taken_over,
    at_most_count_jobs_are_taken_over,
    suspects_are_taken_one_by_one_and_hide_nothing_behind_them,
    who_was_not_answered_lately_takes_nothing_over,
    a_renewed_lease_is_kept,
    what_is_handed_back_is_taken_at_once_and_does_not_count,
    who_resigns_leaves_its_jobs_to_others_and_goes_when_it_has_none,
    depth_counts_unread_and_pending,
    what_is_too_old_and_in_nobodys_hands_expires,
    members_are_those_who_ask_with_what_they_hold,
    trimming_keeps_what_is_not_acknowledged,
    state_is_written_read_and_removed;
    mail:
    events_reach_the_mailbox_their_stream_is_routed_to,
    a_stream_can_be_routed_to_another_mailbox,
    a_late_reader_sees_only_new_mail,
    a_blocked_mailbox_reader_wakes,
    a_cancelled_read_loses_no_mail,
    an_event_stream_can_be_replayed_from_an_id,
    an_event_stream_forgets_what_outlived_its_time;
    limits:
    a_bucket_gives_what_it_holds_and_then_as_fast_as_it_refills,
    all_is_taken_or_nothing,
    places_are_held_until_they_are_left_or_their_lease_ends,
    a_renewed_place_is_kept_and_one_that_was_taken_over_is_not,
    a_place_gets_another_name_without_a_second_one,
    who_has_a_place_needs_no_other,
    a_counter_counts_up_to_its_ceiling,
);
