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
pub(super) const QUEUES: [(&str, &str); 2] = [(AUDIO_JOBS, STT_GROUP), (TRANSLATION_JOBS, MT_GROUP)];

/// What the queues and the bus's memory were like when they were last looked at.
#[derive(Debug)]
pub struct Admission {
    max_age: Duration,
    max_depth: u64,
    wanted_for: Duration,
    newest: Mutex<[Depth; 2]>,
    pressure: Pressure,
}

impl Admission {
    /// Judges by these limits; lets everybody in until the queues were looked at. Nobody wants a job that is older than
    /// `wanted_for`.
    #[must_use]
    pub fn new(settings: &DoorSettings, wanted_for: Duration) -> Self {
        let newest = Mutex::new([Depth::default(); 2]);
        let pressure = Pressure::default();
        let (max_age, max_depth) = (settings.max_queue_age, settings.max_queue_depth);
        Self { max_age, max_depth, wanted_for, newest, pressure }
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
            if found.is_some_and(|depth| depth.oldest_age.max(depth.waiting) > self.wanted_for) {
                self.sweep(bus, metrics, queue).await;
            }
            *depth = found.unwrap_or_default();
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = depths;
        answered
    }

    /// Takes out of a queue what no worker came for in time, so that it is bounded while there is no worker, and those who return
    /// begin with what somebody waits for. What the jobs were for has had its gap: sessions wait less long. Of several
    /// gateways that look at the same moment each takes what is left by the others.
    async fn sweep(&self, bus: &Arc<dyn Bus>, metrics: &DoorMetrics, queue: (&'static str, &'static str)) {
        let expired = match timeout(BUS_PATIENCE, bus.expire(queue.0, queue.1, self.wanted_for)).await {
            Ok(Ok(expired)) => expired,
            Ok(Err(error)) => return tracing::warn!(%error, stream = queue.0, "jobs that nobody wants any more stay"),
            Err(_) => return, // The bus is away.
        };
        if expired == 0 {
            return; // They are in the hands of a worker, or another gateway was first.
        }
        metrics.count_expired(queue, expired);
        tracing::debug!(expired, stream = queue.0, "no worker came for jobs until nobody wanted them any more");
        // Workers do so every ten seconds, where there are any.
        if let Ok(Err(error)) = timeout(BUS_PATIENCE, bus.trim_acknowledged(queue.0)).await {
            tracing::debug!(%error, stream = queue.0, "cannot remove jobs that are expired");
        }
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

    const WANTED_FOR: Duration = Duration::from_secs(210);

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
        let admission = Admission::new(&DoorSettings::default(), WANTED_FOR);
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
        let admission = Admission::new(&DoorSettings::default(), WANTED_FOR);
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

    #[tokio::test(start_paused = true)]
    async fn what_no_worker_came_for_leaves_the_queue_when_nobody_wants_it_any_more() {
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new());
        let registry = Registry::new();
        let metrics = DoorMetrics::new(&registry).unwrap();
        let admission = Admission::new(&DoorSettings::default(), WANTED_FOR);
        let mut speech = bus.group_reader(AUDIO_JOBS, STT_GROUP, "a").await.unwrap();
        produce(&bus, AUDIO_JOBS, 0..3).await;
        advance(WANTED_FOR).await;
        produce(&bus, AUDIO_JOBS, 3..5).await;
        admission.sample(&bus, &metrics).await;
        assert_eq!(bus.depth(AUDIO_JOBS, STT_GROUP).await.unwrap().lag, 5, "somebody may still want them all");
        advance(SAMPLE_EVERY).await;
        admission.sample(&bus, &metrics).await;
        let depth = bus.depth(AUDIO_JOBS, STT_GROUP).await.unwrap();
        assert_eq!((depth.lag, depth.waiting), (2, SAMPLE_EVERY));
        let told = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in ["{group=\"stt\",stream=\"audio_jobs\"} 3\n", "{group=\"mt\",stream=\"translation_jobs\"} 0\n"] {
            assert!(told.contains(&format!("gateway_jobs_expired_total{line}")), "{told}");
        }
        assert_eq!(
            speech.next(9, Duration::ZERO).await.unwrap().len(),
            2,
            "and a worker that returns is given the others"
        );
    }
}
