//! Text jobs in, translations out.
//!
//! # Layout, in the order a job passes
//! - [`config`]: the keys; [`worker`]: the one life cycle, used by the process, by `subtide` and by tests
//! - `handler`: one job: read what was translated before, translate, decide, finish in one step
//! - `stream`: what is asked of a model for a caption that grows, and what its answers make of what was committed
//! - `sentences`: where a text is cut; `commit`: which words become committed, and which are shown
//! - [`routes`]: which models lead from one language to another; [`pair`]: two languages
//! - [`translator`]: what the handler asks of a model; [`engine`]: the real ones, each on its own thread
//! - `legs`: one piece of text through the models of a route; `glossary`: the session's terms for each of them
//! - `effects`: what a finished job does on the bus
//!
//! Absent on purpose: candle types, sockets, tokens, audio. State: none that cannot be lost; what one job leaves for
//! the next is on the bus.

pub mod config;
pub mod engine;
pub mod pair;
pub mod routes;
pub mod translator;
pub mod worker;

mod commit;
mod effects;
mod glossary;
mod handler;
mod legs;
mod sentences;
mod stream;

pub use self::{
    config::TranslationConfig, pair::Pair, routes::Routes, translator::Translator, worker::TranslationWorker,
};
