//! Whatever is killed, frozen, filled or cut: every word that a client said is in one final, or in a visible gap.
//!
//! The workers are the real ones around stubs of their models, and the audio bears marks, so that what must come is known to
//! the word. The long forms print figures for `cargo xtask prove faults`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "chaos/clocks.rs"]
mod clocks;
#[path = "chaos/crowd.rs"]
mod crowd;
#[path = "chaos/expired.rs"]
mod expired;
#[path = "chaos/failovers.rs"]
mod failovers;
#[path = "chaos/held.rs"]
mod held;
#[path = "chaos/kills.rs"]
mod kills;
#[path = "chaos/network.rs"]
mod network;
#[path = "chaos/overload.rs"]
mod overload;
#[path = "chaos/partitions.rs"]
mod partitions;
#[path = "chaos/redis_away.rs"]
mod redis_away;
#[path = "chaos/soak.rs"]
mod soak;
