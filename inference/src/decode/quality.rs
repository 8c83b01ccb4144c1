//! Whether a decoded text is kept, tried again hotter, or silence.
//!
//! The tests and their thresholds are those of openai-whisper (`transcribe.py`, `decode_with_fallback`; Radford et al.
//! 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 4.5).

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// What a text has to keep to. `None` turns a test off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// A text that zlib makes smaller by more than this factor repeats itself.
    pub compression_ratio: Option<f32>,
    /// Below this mean natural log-probability a text is guessed.
    pub logprob: Option<f32>,
    /// Above this probability of no speech, a guessed text is silence.
    pub no_speech: Option<f32>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { compression_ratio: Some(2.4), logprob: Some(-1.0), no_speech: Some(0.6) }
    }
}

/// What is known of a decoded text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// [`compression_ratio`] of the text.
    pub compression_ratio: f32,
    /// [`average_logprob`] of its tokens.
    pub average_logprob: f32,
    /// The probability of the no-speech token at the start of the transcript.
    pub no_speech: f32,
}

/// Why a text is decoded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It repeats itself.
    Repetitive,
    /// The model guessed.
    Unlikely,
}

/// What to do with a decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Accept,
    /// Decode again at the next temperature; with none left, keep it.
    Retry(Reason),
    /// Nobody speaks: what text there is was made up, and trying again would not help. Whoever asked decides; both
    /// measures are in the answer.
    Silence,
}

/// Judges a text. Silence overrules the other tests, and takes both signs: no speech heard, and a guessed text.
/// (openai-whisper drops a window also where nothing but the no-speech threshold is set; so does this.)
pub fn verdict(measures: &Measures, thresholds: &Thresholds) -> Verdict {
    let Measures { compression_ratio, average_logprob, no_speech } = *measures;
    let unlikely = thresholds.logprob.is_some_and(|least| average_logprob < least);
    let likely = thresholds.logprob.is_some_and(|least| average_logprob > least);
    let repetitive = thresholds.compression_ratio.is_some_and(|most| compression_ratio > most);
    let unheard = thresholds.no_speech.is_some_and(|most| no_speech > most);
    match (unheard, repetitive, unlikely) {
        (true, _, true) => Verdict::Silence,
        (_, true, _) => Verdict::Retry(Reason::Repetitive),
        (_, _, true) => Verdict::Retry(Reason::Unlikely),
        (true, ..) if !likely => Verdict::Silence,
        _ => Verdict::Accept,
    }
}

/// The temperatures tried in turn: 0 (the best token, or a beam search), then draws at 0.2 to 1.
pub fn temperatures() -> [f32; 6] {
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
}

/// How many times smaller zlib makes a text at its default level: bytes of UTF-8 by bytes compressed. 0 for no text.
pub fn compression_ratio(text: &str) -> f32 {
    // Writing to memory does not fail; if it did, a ratio of 0 asks for no second try.
    compressed(text.as_bytes()).map_or(0.0, |size| (text.len() as f64 / size as f64) as f32)
}

fn compressed(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 2 + 16), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

/// The mean log-probability of a text of `tokens` tokens: `sum` holds theirs and the end token's. The end token counts
/// even where the text did not reach it, as in openai-whisper.
pub fn average_logprob(sum: f32, tokens: usize) -> f32 {
    sum / (tokens + 1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(compression_ratio: f32, average_logprob: f32, no_speech: f32) -> Verdict {
        verdict(&Measures { compression_ratio, average_logprob, no_speech }, &Thresholds::default())
    }

    #[test]
    fn each_test_has_its_verdict() {
        assert_eq!(judged(1.5, -0.3, 0.0), Verdict::Accept);
        assert_eq!(judged(2.5, -0.3, 0.0), Verdict::Retry(Reason::Repetitive));
        assert_eq!(judged(1.5, -1.1, 0.0), Verdict::Retry(Reason::Unlikely));
        assert_eq!(judged(2.4, -1.0, 0.6), Verdict::Accept, "a threshold itself is within");
    }

    #[test]
    fn silence_takes_a_guessed_text() {
        assert_eq!(judged(1.5, -1.1, 0.7), Verdict::Silence);
        assert_eq!(judged(9.0, -1.1, 0.7), Verdict::Silence);
        assert_eq!(judged(1.5, -0.3, 0.99), Verdict::Accept, "a sure text is kept");
        assert_eq!(judged(9.0, -0.3, 0.99), Verdict::Retry(Reason::Repetitive));
    }

    #[test]
    fn a_test_turned_off_says_nothing() {
        let measures = Measures { compression_ratio: 9.0, average_logprob: -5.0, no_speech: 0.9 };
        let off = Thresholds { compression_ratio: None, logprob: None, no_speech: None };
        assert_eq!(verdict(&measures, &off), Verdict::Accept);
        let only_speech = Thresholds { no_speech: Some(0.6), ..off };
        assert_eq!(verdict(&measures, &only_speech), Verdict::Silence);
        let no_silence = Thresholds { no_speech: None, ..Thresholds::default() };
        assert_eq!(verdict(&measures, &no_silence), Verdict::Retry(Reason::Repetitive));
    }

    #[test]
    fn no_text_compresses_to_nothing() {
        assert_eq!(compression_ratio(""), 0.0);
        assert_eq!(average_logprob(-3.0, 0), -3.0);
        assert_eq!(average_logprob(-3.0, 2), -1.0);
    }
}
