//! The bus under fire: a Redis that fails over, wants TLS, refuses, hangs or is away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "bus_faults/away.rs"]
mod away;
#[path = "bus_faults/depth.rs"]
mod depth;
#[path = "bus_faults/failover.rs"]
mod failover;
#[path = "bus_faults/leftovers.rs"]
mod leftovers;
#[path = "bus_faults/refusals.rs"]
mod refusals;
#[path = "bus_faults/tls.rs"]
mod tls;
