//! The bus under fire: a Redis that fails over, wants TLS, refuses, hangs or is away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "bus_faults/failover.rs"]
mod failover;
