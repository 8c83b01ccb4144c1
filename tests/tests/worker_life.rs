//! The life of a worker: when it is ready, what it does when its model is not there or breaks, how it leaves, and what
//! becomes of the jobs of one that is killed. Real workers, real models, a real Redis.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "worker_life/held.rs"]
mod held;
#[path = "worker_life/killed.rs"]
mod killed;
#[path = "worker_life/leaving.rs"]
mod leaving;
#[path = "worker_life/outage.rs"]
mod outage;
#[path = "worker_life/speech.rs"]
mod speech;
#[path = "worker_life/starting.rs"]
mod starting;
