//! See `tests/src/fuzzing/head.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::head::head(data));
