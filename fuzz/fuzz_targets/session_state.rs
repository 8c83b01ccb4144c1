//! See `tests/src/fuzzing/bus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::bus::session_state(data));
