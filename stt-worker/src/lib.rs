//! Speech jobs in, captions out.
//!
//! # Layout, in the order a job passes
//! - [`config`]: the keys; [`worker`]: the one life cycle, used by the process, by `subtide` and by tests
//! - `handler`: one job: read its audio, have it heard, decide, finish in one step
//! - `hear`: what is said in the audio
//! - `pcm`: the audio of an utterance, kept between its decodes; `silence`: what is not worth a decode; `windows`: audio
//!   longer than the model hears at once
//! - [`transcriber`]: what the handler asks of a model; [`engine`]: the real one, on its own thread
//! - `guard`: text the model made up; `metrics`: how often what was judged how
//! - [`policy`]: which words become committed; [`local_agreement`] and [`align_att`]: the two there are
//! - `words`: where they lie in the audio
//! - `effects`: what a finished job does on the bus
//!
//! Absent on purpose: candle types, sockets, tokens, the segmentation of speech. State: none that cannot be lost.

pub mod align_att;
pub mod config;
pub mod engine;
pub mod local_agreement;
pub mod policy;
pub mod transcriber;
pub mod worker;

mod effects;
mod guard;
mod handler;
mod hear;
mod metrics;
mod pcm;
mod silence;
mod windows;
mod words;

pub use self::{config::SttConfig, transcriber::Transcriber, worker::SttWorker};
