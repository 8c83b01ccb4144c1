//! What goes into a speech model and what comes out.

/// How much of the window the encoder sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AudioContext {
    /// The audio and some silence after it: several times faster. Should a text go round in circles in a model that
    /// was trained on full windows only, that request is decoded again with the full window.
    #[default]
    Trimmed,
    /// Always the whole window, as the model was trained.
    Full,
}

/// Audio to be recognised.
#[derive(Debug, Clone, Default)]
pub struct SpeechRequest {
    /// 16 kHz mono, -1 to 1, at most [`SpeechModel::window_samples`](super::SpeechModel::window_samples).
    pub pcm: Vec<f32>,
    /// Primary subtag of the language spoken; `None`: the model finds out.
    pub language: Option<String>,
    /// Text said before this audio, may be empty. Models too small for it ignore it.
    pub prompt: String,
    /// Text this audio starts with: it is forced, and decoding goes on behind it. May be empty.
    pub prefix: String,
}

/// What was recognised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpeechHypothesis {
    /// The text after the prefix, as decoded: with its leading space where the language has one.
    pub text: String,
    /// Primary subtag of the language, asked for or found.
    pub language: String,
    /// Mean natural logarithm of the tokens' probabilities.
    pub avg_logprob: f32,
    /// Probability that nobody speaks; 0 in a model that cannot tell.
    pub no_speech_prob: f32,
    /// The text did not end: a token limit was reached, or it went round in circles.
    pub truncated: bool,
}
