//! See `tests/src/fuzzing/token.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::token::token(data));
