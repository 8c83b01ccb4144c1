//! All roles of Subtide in one process, and the commands of `subtide`.
//!
//! # Layout
//! - [`roles`]: gateway and workers on one bus in this process
//! - [`recording`]: sound files to PCM; [`screen`]: lines in a terminal; [`output`]: lines for whoever reads them
//! - the commands: [`demo`], [`serve`], [`caption`], [`sign_in`], [`models`], [`bench`], [`admin`], [`dev_cert`], and `top`
//!   and `status` in [`watch`]
//!
//! Absent on purpose: a short cut. `demo` and `caption` speak to the gateway through a socket and the crate `client` like everybody else.

pub mod admin;
pub mod bench;
pub mod caption;
pub mod demo;
pub mod dev_cert;
pub mod models;
pub mod output;
pub mod recording;
pub mod roles;
pub mod screen;
pub mod serve;
pub mod sign_in;
pub mod watch;
