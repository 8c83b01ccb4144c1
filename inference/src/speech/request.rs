//! What goes into a speech model and what comes out.

use crate::alignment::AlignedWord;
use crate::decode::quality::Thresholds;

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

/// How a speech model decodes.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechOptions {
    /// How much of the window the encoder sees.
    pub context: AudioContext,
    /// Texts followed at once; 1 takes the best token each time.
    pub beams: usize,
    /// Exponent of the length beams' scores are divided by.
    pub length_penalty: f32,
    /// A text that fails [`thresholds`](Self::thresholds) is decoded again at each of these temperatures in turn.
    /// Empty: every text is kept.
    pub fallback: Vec<f32>,
    /// When a text is not kept.
    pub thresholds: Thresholds,
}

impl Default for SpeechOptions {
    fn default() -> Self {
        Self {
            context: AudioContext::default(),
            beams: 1,
            length_penalty: 1.0,
            fallback: Vec::new(),
            thresholds: Thresholds::default(),
        }
    }
}

/// Probability from which another language than the expected one is believed: a word or two in a foreign tongue, or a
/// second of unclear speech, does not turn a session round.
pub const SWITCH_PROBABILITY: f32 = 0.8;

/// Audio to be recognised.
#[derive(Debug, Clone, Default)]
pub struct SpeechRequest {
    /// 16 kHz mono, -1 to 1, at most [`SpeechModel::window_samples`](super::SpeechModel::window_samples).
    pub pcm: Vec<f32>,
    /// Primary subtag of the language spoken; `None`: the model finds out.
    pub language: Option<String>,
    /// Where the model finds out: the language it has been so far, kept unless another is at least as probable as
    /// [`SWITCH_PROBABILITY`].
    pub expected_language: Option<String>,
    /// Words and names that are likelier than the model thinks: where the audio may hold one, its spelling is preferred.
    /// They are found by following several texts at once, which costs a little time; models of any size heed them. In
    /// models that read prompts those that [`prompt`](Self::prompt) names as well are preferred half as much.
    pub terms: Vec<String>,
    /// Text said before this audio, may be empty. Models too small for it ignore it.
    pub prompt: String,
    /// Text this audio starts with: it is forced, and decoding goes on behind it. May be empty.
    pub prefix: String,
    /// Also find out when each word was said, the prefix's included, and where in the audio it looks.
    pub words: bool,
    /// Decode with the model's own timestamps, which cut the text into segments. Not together with a prefix.
    pub timestamps: bool,
}

/// What was recognised.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpeechHypothesis {
    /// The text after the prefix, as decoded: with its leading space where the language has one.
    pub text: String,
    /// Primary subtag of the language, asked for or found.
    pub language: String,
    /// How sure the model is of the language; 1 where it was asked for.
    pub language_probability: f32,
    /// Mean natural logarithm of the tokens' probabilities.
    pub avg_logprob: f32,
    /// Probability that nobody speaks; 0 in a model that cannot tell.
    pub no_speech_prob: f32,
    /// Bytes of the text by bytes of the same compressed: above 2.4 it repeats itself (openai-whisper's threshold).
    pub compression_ratio: f32,
    /// The temperature it was decoded at.
    pub temperature: f32,
    /// The text did not end: a token limit was reached, or it went round in circles.
    pub truncated: bool,
    /// The words of the prefix and of the text after it, with their times from the start of the audio, when asked for.
    /// None where the prefix left the model no room to go on.
    pub words: Vec<AlignedWord>,
    /// So many of [`words`](Self::words) belong to the prefix. A word that begins in it and ends behind it does not.
    pub prefix_words: usize,
    /// Pieces between timestamps, when those are asked for.
    pub segments: Vec<TimedText>,
}

/// A piece of text between two timestamps of the model's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TimedText {
    /// From the start of the audio.
    pub start_ms: u32,
    /// From the start of the audio.
    pub end_ms: u32,
    /// What was said.
    pub text: String,
}
