//! The stored answers, and the hash the questions are made of.

use std::path::Path;

use serde::de::DeserializeOwned;

/// The cases of one fixture file.
pub(crate) fn cases<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/decode");
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A number in [0, 1) of 24 bits, from up to five integers: `noise` of decode_fixtures.py.
pub(crate) fn noise(keys: &[u32]) -> f32 {
    const FACTORS: [u32; 5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393];
    let mix = |hash: u32, (key, factor): (&u32, u32)| hash ^ key.wrapping_add(1).wrapping_mul(factor);
    let mut hash = keys.iter().zip(FACTORS).fold(0, mix);
    hash = (hash ^ (hash >> 15)).wrapping_mul(FACTORS[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(FACTORS[2]);
    hash ^= hash >> 16;
    (hash >> 8) as f32 / 16_777_216.0
}
