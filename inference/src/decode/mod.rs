//! Decoding: the loop that moves every request on by one token a step, and what it decides on the host in between.
//!
//! - [`decoding`]: the loop: requests come, move on and leave; `rules`: which tokens a model may choose at all
//!
//! One request at a time, no tensors:
//! - [`bias`]: terms that are likelier than the model thinks
//! - [`beam`]: beam search: which rows to go on with, which texts are done
//! - [`sampling`]: drawing tokens at a temperature, the best of several draws
//! - [`timestamps`]: Whisper's rules for timestamp tokens, and the segments they mark
//! - [`repetition`]: phrases said again and again: seen, banned or made dearer
//! - [`quality`]: whether a decoded text is kept, tried again hotter, or silence
//!
//! A row's scores pass through [`timestamps`], [`repetition`] and [`bias`], then [`beam`] or [`sampling`] chooses from them.

pub mod beam;
pub mod bias;
mod choice;
pub mod decoding;
pub mod quality;
pub mod repetition;
mod rules;
pub mod sampling;
pub mod timestamps;

pub use decoding::{Decoded, Decoding, Strategy, Task};
pub use rules::Rules;
