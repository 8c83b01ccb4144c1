//! Which words of a partial become committed. Pure.

use std::fmt;

pub use shared::agreement::Agreed;

/// Decides what part of each hypothesis may never change again.
pub trait Policy: fmt::Debug + Send + Sync {
    /// `continuation` is the newest text after `committed`, `previous_tail` the one before it. A leading space
    /// of `continuation` says that a new word begins. The result's committed text starts with `committed`.
    fn partial(&self, committed: &str, previous_tail: &str, continuation: &str) -> Agreed;
}
