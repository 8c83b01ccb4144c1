//! What a consumer asks of the bus about jobs: those of others, and those it lets go of.

use std::time::Duration;

use tokio::time::timeout;

use super::Consumer;
use crate::{
    bus::{BusError, Delivery, EntryId, GroupReader, Steady, Suspects, TakeOver},
    jobs,
};

/// How long a worker tries to hand jobs back; on a bus that is away they are taken over after a lease.
pub(super) const RESIGN_PATIENCE: Duration = Duration::from_secs(2);

impl Consumer {
    pub(super) async fn open_reader(&self) -> Result<Box<dyn GroupReader>, BusError> {
        self.bus.group_reader(self.stream, self.group, &self.name).await
    }

    /// At most so many silent jobs, and of those on their last delivery. Nothing when the bus stood still since it `answered`
    /// last, by its own clock: whoever is alive had then no chance to renew a lease.
    pub(super) async fn reclaim(
        &self,
        count: usize,
        suspects: usize,
        answered: &mut Duration,
    ) -> Result<Vec<Delivery>, BusError> {
        let wanted = TakeOver {
            stream: self.stream,
            group: self.group,
            consumer: &self.name,
            min_idle: jobs::LEASE,
            count,
            suspects: Some(Suspects { deliveries: jobs::MAX_DELIVERIES, most: suspects }),
            steady: Some(Steady { answered: *answered, within: jobs::LEASE.saturating_sub(jobs::HEARTBEAT) }),
        };
        let found = self.bus.take_over(&wanted).await?;
        *answered = found.at;
        for id in &found.lost {
            tracing::error!(stream = self.stream, %id, "a pending job is gone from the stream: nobody can do it any more");
        }
        self.metrics.count_reclaimed(found.deliveries.len(), found.lost.len());
        Ok(found.deliveries)
    }

    /// Lets go of jobs that were not begun, each with how often it was delivered, this time included.
    pub(super) async fn hand_back(&self, jobs: &[(EntryId, u32)]) -> Result<(), BusError> {
        let before: Vec<_> = jobs.iter().map(|(id, deliveries)| (*id, deliveries.saturating_sub(1))).collect();
        self.bus.hand_back(self.stream, self.group, &self.name, &before).await
    }

    /// Leaves the group, and to others what is still pending under this name.
    pub(super) async fn resign(&self) {
        match timeout(RESIGN_PATIENCE, self.bus.resign(self.stream, self.group, &self.name)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(left)) => tracing::info!(stream = self.stream, left, "jobs in hand were left to other workers"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot leave the group; a peer takes over after a lease"),
            Err(_) => tracing::warn!("the bus does not answer; a peer takes over after a lease"),
        }
    }
}
