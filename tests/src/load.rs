//! A load generator: many sessions in real time with real speech, what each of them was owed, checked, and what it costs.
//!
//! # Layout
//! - [`voice`]: the recordings that are spoken; one copy for all sessions
//! - [`client`]: one session; [`owed`]: what it is owed, checked as it comes
//! - [`crowd`]: many of them, and their summary; [`spread`]: medians and percentiles
//! - [`engine`]: workers that answer at once, so that a gateway's own cost can be seen
//! - [`bench`]: a gateway between them, with more and more sessions; [`bus_times`]: its delays, as the bus saw them

pub mod bench;
pub mod bus_times;
pub mod client;
pub mod crowd;
pub mod engine;
pub mod owed;
pub mod spread;
pub mod voice;
