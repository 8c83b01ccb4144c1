//! What an operator wants to know of the bus beside [`Depth`](super::Depth): who works on a stream, and how full the bus is.

use std::time::Duration;

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name it reads under.
    pub name: String,
    /// Entries it was given and has not acknowledged.
    pub pending: u64,
    /// Since it was last given an entry or renewed a lease, or, from Redis 7.2 on, asked for anything. One that lives and has
    /// entries in hand renews them every second.
    pub idle: Duration,
}

/// Memory of the bus, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Held now, without what does not count towards the limit (buffers for replicas and for the append-only file).
    pub used: u64,
    /// Held at most; `None`: as much as the machine has.
    pub limit: Option<u64>,
}

impl Usage {
    /// How much of the limit is used: 1 is full, and a little more is possible. `None` where there is no limit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share; 2^53 bytes are far beyond any limit")]
    pub fn share(&self) -> Option<f64> {
        self.limit.map(|limit| self.used as f64 / limit.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_one_of_a_limit() {
        assert_eq!(Usage { used: 700, limit: Some(1000) }.share(), Some(0.7));
        assert_eq!(Usage { used: 2, limit: Some(1) }.share(), Some(2.0));
        assert_eq!(Usage { used: 700, limit: None }.share(), None);
    }
}
