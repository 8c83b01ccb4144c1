//! What two rooms of Subtide need today, and nothing else.
//!
//! # Layout
//! - [`ids`]: names of sessions, utterances and revisions
//! - [`audio`]: the one PCM format inside Subtide, and its units
//! - [`language`]: BCP-47 tags
//! - [`wire`]: the client protocol, `subtide.v1`
//! - [`agreement`]: which words of a hypothesis may become committed text
//! - [`backoff`], behind a feature of its name: how a program tries again
//!
//! Behind the feature `service`, for the server roles:
//! - [`jobs`]: what travels on the bus between the roles
//! - [`bus`]: the only code that knows Redis, and its in-process twin
//! - [`config`]: the only code that reads the environment
//! - [`telemetry`]: logs, traces, errors; [`health`]: `/livez`, `/readyz`, `/metrics`
//! - [`shutdown`]: how a service stops
//! - [`consumer`]: the loop in which a worker takes jobs and answers for each
//! - [`model_metrics`]: what a worker's models do, counted
//! - [`role_process`]: what stands around a role that is a process of its own
//! - [`models`]: where models lie on disk
//!
//! Absent on purpose: candle, WebSockets, VAD, tokens.

pub mod agreement;
pub mod audio;
pub mod ids;
pub mod language;
pub mod wire;

#[cfg(feature = "backoff")]
pub mod backoff;
#[cfg(feature = "service")]
pub mod bus;
#[cfg(feature = "service")]
pub mod config;
#[cfg(feature = "service")]
pub mod consumer;
#[cfg(feature = "service")]
pub mod health;
#[cfg(feature = "service")]
pub mod jobs;
#[cfg(feature = "service")]
pub mod model_metrics;
#[cfg(feature = "service")]
pub mod models;
#[cfg(feature = "service")]
pub mod role_process;
#[cfg(feature = "service")]
pub mod shutdown;
#[cfg(feature = "service")]
pub mod telemetry;
