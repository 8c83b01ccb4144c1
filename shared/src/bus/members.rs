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
    /// Held now.
    pub used: u64,
    /// Held at most; `None`: as much as the machine has.
    pub limit: Option<u64>,
}
