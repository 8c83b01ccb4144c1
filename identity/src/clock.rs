//! What time it is, for everything that expires. Tests move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The system's clock plus what [`Clock::advance`] added; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_seconds: Arc<AtomicU64>,
}

impl Clock {
    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since_epoch.as_secs() + self.ahead_seconds.load(Ordering::Acquire)
    }

    /// Lets `time` (whole seconds) pass for everybody who shares this clock.
    pub fn advance(&self, time: Duration) {
        self.ahead_seconds.fetch_add(time.as_secs(), Ordering::AcqRel);
    }
}
