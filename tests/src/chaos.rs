//! What goes wrong, drawn from a seed, and what must hold all the same.
//!
//! # Layout
//! - [`marks`]: words in audio that a stub of a model hears

pub mod marks;
