//! What the tests of several services need.
//!
//! # Layout
//! - [`redis_server`], [`postgres`]: a real Redis, a real PostgreSQL for one test
//! - [`oidc_provider`]: a real OpenID Connect provider, and a browser to sign in with; [`hostile_issuer`]: one that lies
//! - [`stack`]: the programs of Subtide as processes on that Redis
//! - [`autobahn`]: a test suite of WebSocket servers; [`fuzzing`]: what fuzz targets do, for the corpora to be replayed with
//! - [`browser`]: a person at the caption page, in Chromium, behind a network that can be cut
//! - [`chaos`]: what goes wrong, drawn from a seed, and what must hold all the same
//! - [`collector`]: what services report to: a collector of traces, a tracker of errors
//! - [`cost`]: processor time and memory of a process
//! - [`desk`]: a screen, sound and a keychain for the desktop client, and a hand that presses its buttons
//! - [`figure`]: what tests measure, for `cargo xtask prove`
//! - [`hostile`]: clients that mean harm, and honest ones among them
//! - [`load`]: many sessions at once, and what they cost a gateway
//! - [`resuming`]: a client that comes back after every disconnect
//! - [`sentinel`]: a Redis that fails over to its replica
//! - [`session`]: a client session and what it got
//! - [`speech`]: the recordings that ship, and how well text agrees with them
//! - [`stub_engine`]: models that answer at once, for the real workers around them

pub mod autobahn;
pub mod browser;
pub mod chaos;
pub mod collector;
pub mod cost;
pub mod desk;
pub mod figure;
pub mod fuzzing;
pub mod hostile;
pub mod hostile_issuer;
pub mod load;
pub mod oidc_provider;
pub mod postgres;
pub mod redis_server;
pub mod resuming;
pub mod sentinel;
pub mod session;
pub mod speech;
pub mod stack;
pub mod stub_engine;
