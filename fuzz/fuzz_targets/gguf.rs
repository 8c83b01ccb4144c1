//! See `tests/src/fuzzing/models.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::models::gguf(data));
