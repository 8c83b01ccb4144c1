//! See `tests/src/fuzzing/recording.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::recording::recording(data));
