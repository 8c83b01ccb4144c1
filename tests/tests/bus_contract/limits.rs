//! The limits that everybody on the bus shares.

use shared::bus::{Admission, Admit, Bucket, Ceiling, Held, LimitKind, Places};

use super::*;

/// Longer than any of these tests takes.
const LEASE: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

fn nothing(holder: &str) -> Admit {
    let holder = holder.to_owned();
    Admit { buckets: vec![], ceilings: vec![], places: vec![], holder, instead_of: None, lease: LEASE }
}

fn set(key: &str, most: u32) -> Places {
    Places { key: key.into(), most }
}

fn bucket(most: u32, per: Duration) -> Bucket {
    Bucket { key: "bucket".into(), most, per }
}

fn seat(holder: &str, most: u32) -> Admit {
    Admit { places: vec![set("mine", most), set("all", 100)], ..nothing(holder) }
}

/// The stamp of a place that was given, if one was.
async fn admitted(bus: &dyn Bus, wanted: &Admit) -> Option<u64> {
    match bus.admit(wanted).await.unwrap() {
        Admission::Admitted { stamp } => Some(stamp),
        Admission::Refused { .. } => None,
    }
}

async fn take(bus: &dyn Bus, wanted: &Admit) -> Held {
    let stamp = admitted(bus, wanted).await.unwrap();
    Held { places: wanted.places.clone(), holder: wanted.holder.clone(), stamp }
}

async fn holders(bus: &dyn Bus, key: &str) -> Vec<String> {
    let mut holders = bus.holders(key).await.unwrap();
    holders.sort();
    holders
}

pub(super) async fn a_bucket_gives_what_it_holds_and_then_as_fast_as_it_refills(bus: Arc<dyn Bus>) {
    // An hour for one: what a slow machine takes does not count.
    let slow = Admit { buckets: vec![bucket(5, 5 * Duration::from_secs(3600))], ..nothing("") };
    for n in 0..5 {
        assert_eq!(admitted(&*bus, &slow).await, Some(0), "{n}");
    }
    let refused = bus.admit(&slow).await.unwrap();
    let Admission::Refused { limit: LimitKind::Bucket, index: 0, retry_after } = refused else { panic!("{refused:?}") };
    assert!(retry_after > Duration::from_secs(3500) && retry_after <= Duration::from_secs(3600), "{retry_after:?}");
    bus.remove(&["bucket".into()]).await.unwrap();
    let quick =
        Admit { buckets: vec![Bucket { key: "quick".into(), ..bucket(20, Duration::from_secs(1)) }], ..nothing("") };
    let start = std::time::Instant::now();
    let mut given = 0_u32;
    let took = loop {
        given += u32::from(admitted(&*bus, &quick).await.is_some());
        let took = start.elapsed();
        if took > Duration::from_secs(2) {
            break took;
        }
        sleep(Duration::from_millis(5)).await;
    };
    let most = 20.0 + 20.0 * took.as_secs_f64();
    assert!(f64::from(given) <= most + 1.0 && given > 25, "{given} of at most {most} in {took:?}");
}

pub(super) async fn all_is_taken_or_nothing(bus: Arc<dyn Bus>) {
    let hour = Duration::from_secs(3600);
    let both = Admit { buckets: vec![bucket(2, hour)], places: vec![set("one", 1)], ..nothing("a") };
    take(&*bus, &both).await;
    let refused = bus.admit(&Admit { holder: "b".into(), ..both.clone() }).await.unwrap();
    assert!(matches!(refused, Admission::Refused { limit: LimitKind::Places, index: 0, .. }), "{refused:?}");
    let rest = Admit { places: vec![], ..both.clone() };
    assert!(admitted(&*bus, &rest).await.is_some(), "the refused one took nothing out of the bucket");
    assert!(admitted(&*bus, &rest).await.is_none());
    let empty = Admit { places: vec![set("other", 1)], ..both };
    assert!(admitted(&*bus, &empty).await.is_none());
    assert!(holders(&*bus, "other").await.is_empty(), "nor was a place taken");
}

pub(super) async fn places_are_held_until_they_are_left_or_their_lease_ends(bus: Arc<dyn Bus>) {
    let a = take(&*bus, &seat("a", 2)).await;
    take(&*bus, &Admit { lease: SHORT, ..seat("b", 2) }).await;
    assert!(admitted(&*bus, &seat("c", 2)).await.is_none());
    bus.leave(&Held { stamp: a.stamp + 1, ..a.clone() }).await.unwrap();
    assert_eq!(holders(&*bus, "mine").await, ["a", "b"], "somebody else's place was left alone");
    bus.leave(&a).await.unwrap();
    assert_eq!(holders(&*bus, "mine").await, ["b"]);
    assert_eq!(holders(&*bus, "all").await, ["b"]);
    sleep(SHORT * 2).await;
    assert!(holders(&*bus, "mine").await.is_empty());
    take(&*bus, &seat("c", 1)).await;
    assert!(admitted(&*bus, &seat("d", 1)).await.is_none());
}

pub(super) async fn a_renewed_place_is_kept_and_one_that_was_taken_over_is_not(bus: Arc<dyn Bus>) {
    let mut a = take(&*bus, &Admit { lease: SHORT, ..seat("a", 1) }).await;
    let renewed = bus.hold(&a, "a", LEASE).await.unwrap();
    let Some(Admission::Admitted { stamp }) = renewed else { panic!("{renewed:?}") };
    let old = Held { stamp: a.stamp, ..a.clone() };
    a.stamp = stamp;
    sleep(SHORT * 2).await;
    assert_eq!(holders(&*bus, "all").await, ["a"]);
    assert_eq!(bus.hold(&old, "a", LEASE).await.unwrap(), None, "another holds the place under that name");
    bus.leave(&old).await.unwrap();
    assert_eq!(holders(&*bus, "all").await, ["a"]);
    // A bus that forgot everything, or a lease that ended: who lives has its place again.
    bus.leave(&a).await.unwrap();
    assert!(matches!(bus.hold(&a, "a", LEASE).await.unwrap(), Some(Admission::Admitted { .. })));
    assert_eq!(holders(&*bus, "mine").await, ["a"]);
}

pub(super) async fn a_place_gets_another_name_without_a_second_one(bus: Arc<dyn Bus>) {
    let arriving = take(&*bus, &seat("arriving", 1)).await;
    let held = bus.hold(&arriving, "session", LEASE).await.unwrap();
    let Some(Admission::Admitted { stamp }) = held else { panic!("{held:?}") };
    assert_eq!(holders(&*bus, "mine").await, ["session"]);
    let first = Held { holder: "session".into(), stamp, ..arriving };
    // The session comes back at another gateway while the first one still holds its place.
    let again = take(&*bus, &seat("again", 2)).await;
    let taken_over = bus.hold(&again, "session", LEASE).await.unwrap();
    assert!(matches!(taken_over, Some(Admission::Admitted { .. })), "{taken_over:?}");
    assert_eq!(holders(&*bus, "all").await, ["session"]);
    bus.leave(&first).await.unwrap();
    assert_eq!(holders(&*bus, "mine").await, ["session"], "the first gateway leaves what is no longer its own");
    // A new name without a place of its own needs one.
    let none = Held { holder: "nobody".into(), stamp: 0, places: vec![set("mine", 1), set("all", 100)] };
    let refused = bus.hold(&none, "other", LEASE).await.unwrap();
    assert!(matches!(refused, Some(Admission::Refused { limit: LimitKind::Places, index: 0, .. })), "{refused:?}");
    assert!(matches!(bus.hold(&none, "session", LEASE).await.unwrap(), Some(Admission::Admitted { .. })));
}

pub(super) async fn who_has_a_place_needs_no_other(bus: Arc<dyn Bus>) {
    take(&*bus, &seat("session", 1)).await;
    let instead = |name: &str| Admit { instead_of: Some(name.to_owned()), ..seat("again", 1) };
    assert_eq!(admitted(&*bus, &instead("session")).await, Some(0), "none was taken");
    assert_eq!(admitted(&*bus, &instead("another")).await, None);
    assert_eq!(holders(&*bus, "mine").await, ["session"]);
}

pub(super) async fn a_counter_counts_up_to_its_ceiling(bus: Arc<dyn Bus>) {
    let below = |most| Admit { ceilings: vec![Ceiling { key: "count".into(), most }], ..nothing("") };
    assert!(admitted(&*bus, &below(1)).await.is_some());
    assert_eq!(bus.count("count", 40, LEASE).await.unwrap(), 40);
    assert_eq!(bus.count("count", 2, LEASE).await.unwrap(), 42);
    assert!(admitted(&*bus, &below(43)).await.is_some());
    let refused = bus.admit(&below(42)).await.unwrap();
    assert!(matches!(refused, Admission::Refused { limit: LimitKind::Ceiling, index: 0, .. }), "{refused:?}");
    assert_eq!(bus.count("short", 1, Duration::from_millis(1)).await.unwrap(), 1);
    sleep(A_WHILE).await;
    assert_eq!(bus.count("short", 1, LEASE).await.unwrap(), 1, "it went away");
}
