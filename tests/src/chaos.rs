//! What goes wrong, drawn from a seed, and what must hold all the same.
//!
//! # Layout
//! - [`marks`]: words in audio that a stub of a model hears
//! - [`script`]: what a session says, drawn from a seed
//! - [`plan`]: which process suffers what, and when, drawn from a seed
//! - [`town`]: the processes, with stubs of the models, and what can be done to them
//! - [`proxy`]: a network that is slow, deaf or gone
//! - [`invariants`]: what a client is owed, whatever happened

pub mod invariants;
pub mod marks;
pub mod plan;
pub mod proxy;
pub mod script;
pub mod town;
