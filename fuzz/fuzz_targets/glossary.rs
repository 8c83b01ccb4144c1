//! See `tests/src/fuzzing/glossary.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::glossary::glossary(data));
