//! The front door of Subtide: a WebSocket for each session, captions out.
//!
//! # Layout, in the order audio takes
//! - [`http`]: listener and routes; [`door`]: who gets in
//! - [`socket`]: frames of one WebSocket to and from its session
//! - [`session`]: one actor a session; the protocol's order and limits
//! - [`segment`]: resampling and VAD, pure
//! - [`dispatch`]: which decode is asked for when, and in which order answers go out, pure
//! - [`mailbox`]: answers of the workers, from the bus to their sessions
//! - [`config`], [`metrics`]
//!
//! Absent on purpose: candle, models, Redis commands. The gateway keeps no audio longer than it takes to append it to
//! the bus.

pub mod config;
pub mod dispatch;
pub mod door;
pub mod http;
pub mod mailbox;
pub mod metrics;
pub mod segment;
pub mod session;
pub mod socket;

pub use config::GatewayConfig;
pub use http::serve::{Gateway, GatewayError};
