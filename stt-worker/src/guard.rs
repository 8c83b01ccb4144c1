//! Text that the model made up: on noise, on silence, or in a loop.

use shared::agreement::{normalise, without_loop};

use crate::transcriber::SpeechHypothesis;

/// Whisper's own thresholds for "nobody spoke" (`no_speech_threshold`, `logprob_threshold` of OpenAI's `transcribe`):
/// both must be passed, for either alone is often wrong.
const NO_SPEECH_PROB: f32 = 0.6;
const LOW_LOGPROB: f32 = -1.0;

/// The text of `hypothesis`, if it can be believed.
pub(crate) fn believable(hypothesis: &SpeechHypothesis) -> Option<&str> {
    let nobody_spoke = hypothesis.no_speech_prob > NO_SPEECH_PROB && hypothesis.avg_logprob < LOW_LOGPROB;
    let looping = hypothesis.truncated && without_loop(&hypothesis.text).is_some();
    let empty = normalise(&hypothesis.text).is_empty();
    (!nobody_spoke && !looping && !empty).then_some(hypothesis.text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str, no_speech_prob: f32, avg_logprob: f32, truncated: bool) -> SpeechHypothesis {
        let (text, language) = (text.to_owned(), "en".to_owned());
        SpeechHypothesis { text, language, avg_logprob, no_speech_prob, truncated, ..SpeechHypothesis::default() }
    }

    #[test]
    fn only_both_signs_together_mean_that_nobody_spoke() {
        assert_eq!(believable(&heard("thanks for watching", 0.9, -1.3, false)), None);
        assert!(believable(&heard("hello", 0.9, -0.2, false)).is_some());
        assert!(believable(&heard("hello", 0.1, -1.3, false)).is_some());
    }

    #[test]
    fn a_loop_is_refused_and_a_long_text_is_not() {
        assert_eq!(believable(&heard("I said I said I said I said", 0.0, -0.1, true)), None);
        assert!(believable(&heard("a text that went on to the limit", 0.0, -0.1, true)).is_some());
        assert_eq!(believable(&heard("  ", 0.0, -0.1, false)), None);
    }
}
