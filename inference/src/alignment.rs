//! stub
use crate::error::ModelError;
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlignedWord {
    pub text: String,
    pub start_ms: u32,
    pub end_ms: u32,
    pub probability: f32,
}
pub struct TokenText {
    pub token: u32,
    pub logprob: f32,
}
pub fn token_times(_h: &[Vec<f32>], _t: usize, _p: usize, _s: usize) -> Vec<u32> {
    Vec::new()
}
pub fn words(
    _t: &[TokenText],
    _times: &[u32],
    _l: &str,
    _f: &dyn Fn(&[u32]) -> Result<String, ModelError>,
) -> Result<Vec<AlignedWord>, ModelError> {
    Ok(Vec::new())
}
pub fn attended(_h: &[Vec<f32>], _t: usize, _p: usize) -> Vec<u32> {
    Vec::new()
}
pub fn default_alignment_heads(layers: usize, heads: usize) -> Vec<(usize, usize)> {
    (layers / 2..layers).flat_map(|l| (0..heads).map(move |h| (l, h))).collect()
}
