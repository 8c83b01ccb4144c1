//! What the tests of several services need.
//!
//! # Layout
//! - [`redis_server`]: a real Redis for one test

pub mod redis_server;
