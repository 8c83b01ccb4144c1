//! What the tests of several services need.
//!
//! # Layout
//! - [`redis_server`], [`postgres`]: a real Redis, a real PostgreSQL for one test
//! - [`oidc_provider`]: a real OpenID Connect provider, and a browser to sign in with; [`hostile_issuer`]: one that lies
//! - [`browser`]: a person at the caption page, in Chromium
//! - [`stack`]: the programs of Subtide as processes on that Redis
//! - [`figure`]: what tests measure, for `cargo xtask prove`
//! - [`resuming`]: a client that comes back after every disconnect
//! - [`session`]: a client session and what it got
//! - [`speech`]: the recordings that ship, and how well text agrees with them

pub mod browser;
pub mod figure;
pub mod hostile_issuer;
pub mod oidc_provider;
pub mod postgres;
pub mod redis_server;
pub mod resuming;
pub mod session;
pub mod speech;
pub mod stack;
