//! Text that the model made up: on noise, on silence, or in a loop. No list of phrases: they differ by language and
//! model, and people do say them.

use shared::agreement::{normalise, without_loop};

use crate::transcriber::SpeechHypothesis;

/// A text of tokens less probable than this in the mean is guessed (`logprob_threshold` of OpenAI's `transcribe`, which
/// decodes such a text again at a higher temperature). Music and babble come out as such texts; live, no text is better.
const LOW_LOGPROB: f32 = -1.0;
/// Where the model thinks it more likely than this that nobody speaks (`no_speech_threshold`, likewise)...
const NO_SPEECH_PROB: f32 = 0.6;
/// ...or the gateway's detector is sure of less than this share of the audio, as it is of music...
const LITTLE_SPEECH: f32 = 0.04;
/// ...a text must be better than this, two thirds for each token. Neither sign is enough by itself: both are wrong at
/// times.
const DOUBTFUL_LOGPROB: f32 = -0.4;
/// From this share on, the least that speech has, clean, soft or at 20 dB, nothing speaks against it. In between the
/// threshold goes evenly from one to the other.
const ENOUGH_SPEECH: f32 = 0.16;
/// A text that compresses better than this repeats itself (`compression_ratio_threshold`, likewise).
const HIGH_COMPRESSION: f32 = 2.4;

/// What to make of a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was said.
    Believed,
    /// Nobody spoke, nothing was found, or it was guessed.
    Nothing,
    /// The model goes round in circles. What it was told to begin with may have led it astray.
    Lost,
}

/// Whether so little of the audio surely holds speech that a text must be whole before it can be believed: of a few words
/// even the worst guess is sometimes good.
pub(crate) fn only_as_a_whole(speech_share: f32) -> bool {
    speech_share < LITTLE_SPEECH
}

/// Judges `hypothesis` about audio of which `speech_share` surely holds speech.
pub(crate) fn judge(hypothesis: &SpeechHypothesis, speech_share: f32) -> Verdict {
    let looping = hypothesis.truncated && without_loop(&hypothesis.text).is_some();
    if looping || hypothesis.compression_ratio > HIGH_COMPRESSION {
        return Verdict::Lost;
    }
    let sure = ((speech_share - LITTLE_SPEECH) / (ENOUGH_SPEECH - LITTLE_SPEECH)).clamp(0.0, 1.0);
    let sure = if hypothesis.no_speech_prob > NO_SPEECH_PROB { 0.0 } else { sure };
    let least = DOUBTFUL_LOGPROB + sure * (LOW_LOGPROB - DOUBTFUL_LOGPROB);
    let guessed = hypothesis.avg_logprob < least;
    if guessed || normalise(&hypothesis.text).is_empty() { Verdict::Nothing } else { Verdict::Believed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str, no_speech_prob: f32, avg_logprob: f32, truncated: bool) -> SpeechHypothesis {
        let (text, language) = (text.to_owned(), "en".to_owned());
        SpeechHypothesis { text, language, avg_logprob, no_speech_prob, truncated, ..SpeechHypothesis::default() }
    }

    #[test]
    fn what_is_guessed_is_not_believed_the_less_so_where_nobody_seems_to_speak() {
        assert_eq!(judge(&heard("thanks for watching", 0.9, -0.7, false), 0.5), Verdict::Nothing);
        assert_eq!(judge(&heard("hello", 0.9, -0.2, false), 0.5), Verdict::Believed);
        assert_eq!(judge(&heard("hello", 0.1, -0.7, false), 0.5), Verdict::Believed);
        assert_eq!(judge(&heard("hello", 0.1, -0.7, false), 0.02), Verdict::Nothing, "it sounds like music");
        assert_eq!(judge(&heard("hello", 0.1, -0.6, false), 0.12), Verdict::Believed);
        assert_eq!(judge(&heard("hello", 0.1, -0.9, false), 0.12), Verdict::Nothing);
        assert_eq!(judge(&heard("no a tone", 0.0, -1.3, false), 0.5), Verdict::Nothing);
        assert_eq!(judge(&heard("  ", 0.0, -0.1, false), 0.5), Verdict::Nothing);
    }

    #[test]
    fn a_loop_is_refused_and_a_long_text_is_not() {
        assert_eq!(judge(&heard("I said I said I said I said", 0.0, -0.1, true), 0.5), Verdict::Lost);
        assert_eq!(judge(&heard("a text that went on to the limit", 0.0, -0.1, true), 0.5), Verdict::Believed);
        let repeated = SpeechHypothesis { compression_ratio: 3.0, ..heard("la la la", 0.0, -0.1, false) };
        assert_eq!(judge(&repeated, 0.5), Verdict::Lost);
    }
}
