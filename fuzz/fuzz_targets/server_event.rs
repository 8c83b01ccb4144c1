//! See `tests/src/fuzzing/wire.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::wire::server_event(data));
