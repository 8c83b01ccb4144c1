//! What the tests of several services need.
//!
//! # Layout
//! - [`redis_server`], [`postgres`]: a real Redis, a real PostgreSQL for one test
//! - [`stack`]: the programs of Subtide as processes on that Redis
//! - [`resuming`]: a client that comes back after every disconnect
//! - [`session`]: a client session and what it got
//! - [`speech`]: the recordings that ship, and how well text agrees with them

pub mod postgres;
pub mod redis_server;
pub mod resuming;
pub mod session;
pub mod speech;
pub mod stack;
