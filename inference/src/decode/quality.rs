//! Whether a decoded text is kept, tried again hotter, or silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    pub compression_ratio: f32,
    pub logprob: f32,
    pub no_speech: f32,
}
impl Default for Thresholds {
    fn default() -> Self {
        Self { compression_ratio: 2.4, logprob: -1.0, no_speech: 0.6 }
    }
}
pub struct Outcome {
    pub compression_ratio: f32,
    pub avg_logprob: f32,
    pub no_speech_prob: f32,
}
pub enum Verdict {
    Accept,
    Retry(()),
    Silence,
}
pub fn verdict(_o: &Outcome, _t: &Thresholds) -> Verdict {
    Verdict::Accept
}
pub fn compression_ratio(_text: &str) -> f32 {
    1.0
}
