//! Events, and the mailboxes they are routed to.

use super::*;

pub(crate) async fn events_reach_the_mailbox_their_stream_is_routed_to(bus: Arc<dyn Bus>) {
    let mut reader = bus.mailbox("box").await.unwrap();
    bus.publish(event("a", 0)).await.unwrap();
    bus.route("a", "box", TTL).await.unwrap();
    bus.route("b", "box", TTL).await.unwrap();
    let published = bus.publish(event("a", 1)).await.unwrap();
    produce(&*bus, 0..1).await;
    let leased = lease(&*bus, "worker").await;
    let effects = Effects { publish: vec![event("b", 2), event("unrouted", 3)], ..Effects::default() };
    bus.finish(&leased, effects).await.unwrap();
    let mails = read(&mut *reader, 2).await;
    assert_eq!((mails[0].stream.as_str(), mails[0].entry, &mails[0].payload), ("a", published, &payload(1)));
    assert_eq!((mails[1].stream.as_str(), &mails[1].payload), ("b", &payload(2)));
    assert!(mails[0].id < mails[1].id);
    assert!(reader.next(A_WHILE).await.unwrap().is_empty());
    assert_eq!(payloads(&*bus, "unrouted").await, [payload(3)]);
}

pub(crate) async fn a_stream_can_be_routed_to_another_mailbox(bus: Arc<dyn Bus>) {
    let (mut old, mut new) = (bus.mailbox("old").await.unwrap(), bus.mailbox("new").await.unwrap());
    bus.route("a", "old", TTL).await.unwrap();
    bus.publish(event("a", 0)).await.unwrap();
    bus.route("a", "new", TTL).await.unwrap();
    bus.publish(event("a", 1)).await.unwrap();
    assert_eq!(read(&mut *old, 1).await[0].payload, payload(0));
    assert_eq!(read(&mut *new, 1).await[0].payload, payload(1));
    assert!(old.next(NO_WAIT).await.unwrap().is_empty());
    bus.route("a", "new", Duration::from_millis(1)).await.unwrap();
    sleep(A_WHILE).await;
    bus.publish(event("a", 2)).await.unwrap();
    assert!(new.next(A_WHILE).await.unwrap().is_empty(), "the route has expired");
}

pub(crate) async fn a_late_reader_sees_only_new_mail(bus: Arc<dyn Bus>) {
    bus.route("a", "box", TTL).await.unwrap();
    bus.publish(event("a", 0)).await.unwrap();
    let mut reader = bus.mailbox("box").await.unwrap();
    bus.publish(event("a", 1)).await.unwrap();
    bus.publish(event("a", 2)).await.unwrap();
    let mails = read(&mut *reader, 2).await;
    assert_eq!(mails.iter().map(|mail| mail.payload.clone()).collect::<Vec<_>>(), [1, 2].map(payload));
}

pub(crate) async fn a_blocked_mailbox_reader_wakes(bus: Arc<dyn Bus>) {
    let mut reader = bus.mailbox("box").await.unwrap();
    let reading = tokio::spawn(async move { reader.next(PATIENCE).await.unwrap() });
    bus.route("a", "box", TTL).await.unwrap();
    sleep(A_WHILE).await;
    assert!(!reading.is_finished());
    bus.publish(event("a", 0)).await.unwrap();
    assert_eq!(reading.await.unwrap()[0].payload, payload(0));
}

pub(crate) async fn a_cancelled_read_loses_no_mail(bus: Arc<dyn Bus>) {
    let mut reader = bus.mailbox("box").await.unwrap();
    bus.route("a", "box", TTL).await.unwrap();
    for n in 0..5 {
        // Given up while it waits: dropped, not timed out.
        assert!(tokio::time::timeout(Duration::from_millis(20), reader.next(PATIENCE)).await.is_err());
        bus.publish(event("a", n)).await.unwrap();
        assert_eq!(read(&mut *reader, 1).await[0].payload, payload(n));
    }
}

pub(crate) async fn an_event_stream_can_be_replayed_from_an_id(bus: Arc<dyn Bus>) {
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(bus.publish(event("a", n)).await.unwrap());
    }
    let missed = bus.range("a", ids[1], LAST, 100).await.unwrap();
    assert_eq!(
        missed.iter().map(|entry| (entry.id, entry.payload.clone())).collect::<Vec<_>>(),
        [(ids[2], payload(2)), (ids[3], payload(3))]
    );
}

pub(crate) async fn an_event_stream_forgets_what_outlived_its_time(bus: Arc<dyn Bus>) {
    let brief = |n| Publish { ttl: A_WHILE * 3, ..event("a", n) };
    let first = bus.publish(brief(0)).await.unwrap();
    sleep(A_WHILE * 2).await;
    bus.publish(brief(1)).await.unwrap();
    sleep(A_WHILE * 2).await;
    let newest = bus.publish(brief(2)).await.unwrap();
    let kept = bus.range("a", EntryId::START, LAST, 10).await.unwrap();
    assert!(kept.iter().all(|entry| entry.id > first), "the first outlived its time");
    assert_eq!(kept.last().unwrap().id, newest);
}

/// Reads `count` mails.
async fn read(reader: &mut dyn MailboxReader, count: usize) -> Vec<shared::bus::Mail> {
    let mut mails = Vec::new();
    while mails.len() < count {
        let more = reader.next(PATIENCE).await.unwrap();
        assert!(!more.is_empty(), "{} of {count} mails came", mails.len());
        mails.extend(more);
    }
    assert_eq!(mails.len(), count);
    mails
}
