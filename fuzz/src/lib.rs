//! What drives the fuzz targets. What they do stands in `tests/src/fuzzing`, because the tests replay the corpora with it.

// The rest of the all-in-one binary reads nothing of others', and would have to be built.
extern crate self as subtide;

#[path = "../../tests/src/fuzzing/mod.rs"]
pub mod fuzzing;
#[path = "../../subtide/src/recording.rs"]
pub mod recording;
