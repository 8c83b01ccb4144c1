//! See `tests/src/fuzzing/audio.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subtide_fuzz::fuzzing::audio::audio(data));
