//! Stubs of the models, for the real workers around them: they answer after a set time, with text that depends on the audio
//! alone. So thousands of utterances pass through two cores, and every word of them is known beforehand.

use std::{process::abort, sync::Arc, time::Duration};

use async_trait::async_trait;
use inference::alignment::AlignedWord;
use shared::audio::{SAMPLE_RATE, SAMPLES_PER_MS};
use stt_worker::{
    Transcriber,
    transcriber::{SpeechHypothesis, SpeechRequest, TranscribeError},
};
use tokio::{sync::Semaphore, time::sleep};
use translation_worker::{
    Routes, Translator,
    translator::{TranslateError, TranslationHypothesis, TranslationRequest},
};

use crate::chaos::marks::{Mark, read};

/// As long as Whisper hears at once.
const WINDOW_SAMPLES: usize = 30 * SAMPLE_RATE as usize;
/// Audio without marks has a word for each so many samples (400 ms).
const WORD_SAMPLES: usize = 6_400;

/// How a stub works.
#[derive(Debug, Clone, Copy)]
pub struct Stub {
    /// It answers so long after it was asked.
    pub delay: Duration,
    /// So many are answered at once; the others wait.
    pub at_once: usize,
    /// Only marked words ([`Mark`]) are heard. Otherwise there is a word for every 400 ms, too, named after the sound itself.
    pub only_marks: bool,
}

impl Default for Stub {
    fn default() -> Self {
        Self { delay: Duration::from_millis(50), at_once: 16, only_marks: false }
    }
}

impl Stub {
    /// A speech model.
    #[must_use]
    pub fn transcriber(self) -> Arc<dyn Transcriber> {
        Arc::new(StubSpeech { desk: Desk::new(self), only_marks: self.only_marks })
    }

    /// A translation model for every pair of languages.
    #[must_use]
    pub fn routes(self) -> Routes {
        Routes::default().with_any(Some(Arc::new(StubTranslation { desk: Desk::new(self) })))
    }
}

/// The word of the mark `number`, as the speech model says it.
#[must_use]
pub fn word(number: u32) -> String {
    format!("w{number}")
}

/// What the translation model makes of `text`: the same words, each in capitals.
#[must_use]
pub fn translation(text: &str) -> String {
    text.to_uppercase()
}

/// Where work takes its time.
#[derive(Debug)]
struct Desk {
    delay: Duration,
    seats: Semaphore,
}

impl Desk {
    fn new(stub: Stub) -> Self {
        Self { delay: stub.delay, seats: Semaphore::new(stub.at_once.max(1)) }
    }

    async fn work(&self) {
        // The semaphore is never closed, so this only waits.
        let _seat = self.seats.acquire().await;
        sleep(self.delay).await;
    }
}

#[derive(Debug)]
struct StubSpeech {
    desk: Desk,
    only_marks: bool,
}

#[async_trait]
impl Transcriber for StubSpeech {
    async fn transcribe(&self, request: SpeechRequest) -> Result<SpeechHypothesis, TranscribeError> {
        self.desk.work().await;
        let words = hear(&request.pcm, self.only_marks)?;
        let said = request.prefix.split_whitespace().count();
        let text: String = words.iter().skip(said).map(|(_, word)| format!(" {word}")).collect();
        Ok(SpeechHypothesis {
            text,
            language: request.language.unwrap_or_else(|| "en".to_owned()),
            language_probability: 1.0,
            compression_ratio: 1.0,
            words: if request.words { words.into_iter().map(aligned).collect() } else { Vec::new() },
            prefix_words: said,
            ..SpeechHypothesis::default()
        })
    }

    fn window_samples(&self) -> usize {
        WINDOW_SAMPLES
    }
}

/// What is said in `pcm`, each word with the number of samples up to its end.
fn hear(pcm: &[f32], only_marks: bool) -> Result<Vec<(usize, String)>, TranscribeError> {
    #[expect(clippy::cast_possible_truncation, reason = "they were 16-bit samples, divided by 32768")]
    let samples = || pcm.iter().map(|sample| (sample * 32768.0) as i16);
    let mut words = Vec::new();
    for (end, mark) in read(samples()) {
        match mark {
            Mark::Word(number) => words.push((end, word(number))),
            Mark::Poison(number) => return Err(TranscribeError::Failed(format!("mark {number} is poison"))),
            Mark::Crash(_) => abort(),
        }
    }
    if words.is_empty() && !only_marks {
        let whole = pcm.chunks_exact(WORD_SAMPLES).zip(1..);
        words.extend(whole.map(|(sound, count)| (count * WORD_SAMPLES, name_of(sound))));
    }
    Ok(words)
}

/// A name for a sound: sixteen bits of its hash (FNV-1a), in letters.
fn name_of(sound: &[f32]) -> String {
    let hash = sound.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, sample| {
        (hash ^ u64::from(sample.to_bits())).wrapping_mul(0x0100_0000_01b3)
    });
    let letter = |place: u32| char::from(b'a' + u8::try_from(hash >> (16 + 4 * place) & 15).unwrap_or_default());
    (0..4).map(letter).collect()
}

fn aligned((end, word): (usize, String)) -> AlignedWord {
    let end_ms = u32::try_from(end as u64 / SAMPLES_PER_MS).unwrap_or(u32::MAX);
    let start_ms = end_ms.saturating_sub(100);
    AlignedWord { text: format!(" {word}"), start_ms, end_ms, probability: 1.0, attended_ms: end_ms, end_token: 0 }
}

#[derive(Debug)]
struct StubTranslation {
    desk: Desk,
}

#[async_trait]
impl Translator for StubTranslation {
    async fn translate(&self, request: TranslationRequest) -> Result<TranslationHypothesis, TranslateError> {
        self.desk.work().await;
        let said = request.prefix.split_whitespace().count();
        let rest = request.text.split_whitespace().skip(said);
        let text = rest.map(|word| format!(" {}", translation(word))).collect();
        Ok(TranslationHypothesis { text, avg_logprob: 0.0, truncated: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(marks: &[Mark]) -> Vec<f32> {
        let mut samples = vec![0_i16; 400 * marks.len()];
        for (mark, place) in marks.iter().zip(samples.chunks_mut(400)) {
            mark.write(place);
        }
        samples.into_iter().map(|sample| f32::from(sample) / 32768.0).collect()
    }

    async fn heard(pcm: Vec<f32>, prefix: &str, only_marks: bool) -> Result<String, TranscribeError> {
        let stub = Stub { delay: Duration::ZERO, only_marks, ..Stub::default() };
        let request = SpeechRequest { pcm, prefix: prefix.to_owned(), ..SpeechRequest::default() };
        stub.transcriber().transcribe(request).await.map(|hypothesis| hypothesis.text)
    }

    #[tokio::test]
    async fn marked_words_are_heard_behind_what_is_said_already() {
        let pcm = marked(&[Mark::Word(1), Mark::Word(2), Mark::Word(3)]);
        assert_eq!(heard(pcm.clone(), "", true).await.as_deref(), Ok(" w1 w2 w3"));
        assert_eq!(heard(pcm.clone(), "w1 w2", true).await.as_deref(), Ok(" w3"));
        assert_eq!(heard(pcm[..700].to_vec(), "", true).await.as_deref(), Ok(" w1 w2"), "more audio only adds words");
        assert!(heard(marked(&[Mark::Word(1), Mark::Poison(2)]), "", true).await.is_err());
    }

    #[tokio::test]
    async fn audio_without_marks_has_words_of_its_own_that_stay() {
        let sound: Vec<f32> = (0..20_000_u16).map(|n| f32::from(n % 97) / 100.0).collect();
        let short = heard(sound[..WORD_SAMPLES * 2].to_vec(), "", false).await.unwrap_or_default();
        let long = heard(sound.clone(), "", false).await.unwrap_or_default();
        assert!(long.starts_with(&short) && long.split_whitespace().count() == 3, "{short}, {long}");
        assert_eq!(heard(sound, "", true).await.as_deref(), Ok(""));
    }
}
