//! `subtide bench`: how fast the parts are on this machine, and how good captions are while they stream.
//!
//! - [`engine`]: encoder, decoder and translation of models, alone and in batches
//! - [`observability`]: what watching costs
//! - [`stream`]: a corpus in real time through the whole pipeline

pub mod engine;
pub mod observability;
pub mod stream;
