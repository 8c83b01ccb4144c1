//! What a decoding loop decides on the host, between two steps of a model: no tensors, one request at a time.
//!
//! - [`beam`]: beam search: which rows to go on with, which texts are done
//! - [`sampling`]: drawing tokens at a temperature, the best of several draws
//! - [`timestamps`]: Whisper's rules for timestamp tokens, and the segments they mark
//! - [`repetition`]: phrases said again and again: seen, banned or made dearer
//! - [`quality`]: whether a decoded text is kept, tried again hotter, or silence
//!
//! A row's scores pass through [`timestamps`] and [`repetition`], then [`beam`] or [`sampling`] chooses from them.

pub mod beam;
pub mod quality;
pub mod repetition;
pub mod sampling;
pub mod timestamps;
