//! See `tests/src/fuzzing/session.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::session::session(data));
