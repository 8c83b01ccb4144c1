//! Admission by the age of the queues and the memory of the bus: who comes while others wait too long, or while there is
//! hardly room for those who are here, is asked to come later.
//!
//! What counts is what no worker has taken yet. A job in a worker's hands is pending in the queue as well, but makes nobody
//! wait: a loaded, healthy system has as many of them as its batches hold, and one that kills its worker is pending for many
//! seconds while all others are served at once. Workers that are gone or wedged show all the same: they take nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::{
    bus::{Bus, Depth},
    jobs::{AUDIO_JOBS, MT_GROUP, STT_GROUP, TRANSLATION_JOBS},
    shutdown::CancellationToken,
    wire::ErrorCode,
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    limits::Limits, metrics::DoorMetrics, pressure::Pressure, settings::DoorSettings, turned_away::TurnedAway,
};

/// How often the queues are looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// A bus that needs longer is away.
const BUS_PATIENCE: Duration = Duration::from_secs(2);
/// Who finds the bus nearly full is asked to wait so long: utterances end, and what was stored of them goes.
const MEMORY_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Longest time that somebody is asked to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);
/// The queues, each with the group that empties it.
const QUEUES: [(&str, &str); 2] = [(AUDIO_JOBS, STT_GROUP), (TRANSLATION_JOBS, MT_GROUP)];

/// What the queues and the bus's memory were like when they were last looked at.
#[derive(Debug)]
pub struct Admission {
    max_age: Duration,
    max_depth: u64,
    newest: Mutex<[Depth; 2]>,
    pressure: Pressure,
}

impl Admission {
    /// Judges by these limits; lets everybody in until the queues were looked at.
    #[must_use]
    pub fn new(settings: &DoorSettings) -> Self {
        let newest = Mutex::new([Depth::default(); 2]);
        let pressure = Pressure::default();
        Self { max_age: settings.max_queue_age, max_depth: settings.max_queue_depth, newest, pressure }
    }

    /// What the memory of the bus leads to.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.pressure.clone()
    }

    /// Whether a newcomer would be served in time.
    ///
    /// # Errors
    /// `overloaded`, with the time the oldest job has waited.
    pub fn check(&self) -> Result<(), TurnedAway> {
        if self.pressure.refuses() {
            let message = "hardly any room is left for another session; try again soon";
            return Err(TurnedAway::new(ErrorCode::Overloaded, "memory", message).after(MEMORY_RETRY_AFTER));
        }
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(worst) = newest.iter().find(|depth| depth.waiting > self.max_age || depth.lag > self.max_depth) else {
            return Ok(());
        };
        let message = "captions are too far behind for another session; try again soon";
        let after = worst.waiting.clamp(Duration::from_secs(1), MAX_RETRY_AFTER);
        Err(TurnedAway::new(ErrorCode::Overloaded, "queue", message).after(after))
    }

    /// Looks at the queues once; whether the bus answered. While it is away the last look counts for nothing: nobody can
    /// tell.
    pub async fn sample(&self, bus: &Arc<dyn Bus>, metrics: &DoorMetrics) -> bool {
        // Memory first: a bus that is too slow to tell the depths must not keep audio coming.
        self.weigh(bus, metrics).await;
        let mut depths = [Depth::default(); 2];
        let mut answered = true;
        for (depth, queue) in depths.iter_mut().zip(QUEUES) {
            let found = timeout(BUS_PATIENCE, bus.depth(queue.0, queue.1)).await.ok().and_then(Result::ok);
            answered &= found.is_some();
            metrics.set_queue(queue, found);
            *depth = found.unwrap_or_default();
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = depths;
        answered
    }

    /// Looks at the memory of the bus. While nobody can tell, what was last seen stands.
    async fn weigh(&self, bus: &Arc<dyn Bus>, metrics: &DoorMetrics) {
        let Ok(Ok(usage)) = timeout(BUS_PATIENCE, bus.usage()).await else {
            return metrics.set_memory(None, self.pressure.pauses());
        };
        let share = usage.and_then(|usage| usage.share());
        self.pressure.note(share);
        metrics.set_memory(share, self.pressure.pauses());
    }

    /// Looks at the queues every second until `stop`, and tells `limits` whether the bus answered.
    pub async fn watch(&self, bus: &Arc<dyn Bus>, metrics: &DoorMetrics, limits: &Limits, stop: &CancellationToken) {
        let mut tick = interval(SAMPLE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            limits.look(self.sample(bus, metrics).await).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prometheus::Registry;
    use shared::bus::{MemoryBus, Produce};
    use tokio::time::advance;

    use super::*;

    async fn produce(bus: &Arc<dyn Bus>, stream: &str, jobs: std::ops::Range<usize>) {
        for n in jobs {
            let (stream, key) = (stream.to_owned(), format!("{stream}{n}"));
            bus.produce(Produce { stream, idempotency_key: key, payload: Bytes::new(), set: None }).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_others_wait_too_long_is_told_when_to_come_back() {
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new());
        let metrics = DoorMetrics::new(&Registry::new()).unwrap();
        let admission = Admission::new(&DoorSettings::default());
        let mut speech = bus.group_reader(AUDIO_JOBS, STT_GROUP, "a").await.unwrap();
        let _translation = bus.group_reader(TRANSLATION_JOBS, MT_GROUP, "a").await.unwrap();
        produce(&bus, AUDIO_JOBS, 0..3).await;
        let taken = speech.next(3, Duration::ZERO).await.unwrap();
        advance(Duration::from_secs(60)).await;
        admission.sample(&bus, &metrics).await;
        assert_eq!((taken.len(), admission.check()), (3, Ok(())), "what is in work makes nobody wait");
        produce(&bus, TRANSLATION_JOBS, 0..1).await;
        advance(Duration::from_secs(10)).await;
        admission.sample(&bus, &metrics).await;
        assert_eq!(admission.check(), Ok(()));
        advance(Duration::from_secs(2)).await;
        admission.sample(&bus, &metrics).await;
        let away = admission.check().unwrap_err();
        assert_eq!((away.code, away.reason), (ErrorCode::Overloaded, "queue"));
        assert_eq!(away.retry_after, Some(Duration::from_secs(12)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_grows_fast_is_full_before_it_is_old() {
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new());
        let metrics = DoorMetrics::new(&Registry::new()).unwrap();
        let admission = Admission::new(&DoorSettings::default());
        let mut speech = bus.group_reader(AUDIO_JOBS, STT_GROUP, "a").await.unwrap();
        produce(&bus, AUDIO_JOBS, 0..100).await;
        admission.sample(&bus, &metrics).await;
        assert_eq!(admission.check(), Ok(()));
        produce(&bus, AUDIO_JOBS, 100..101).await;
        admission.sample(&bus, &metrics).await;
        assert!(admission.check().is_err());
        speech.next(50, Duration::ZERO).await.unwrap();
        admission.sample(&bus, &metrics).await;
        assert_eq!(admission.check(), Ok(()));
    }
}
