//! What is said in the audio of a job: the model asked, its answer judged, parts of long audio put together.

use std::sync::Arc;

use inference::alignment::AlignedWord;
use shared::{
    agreement::{join, normalise, stitch},
    audio::SAMPLES_PER_MS,
    consumer::JobError,
    jobs::{JobKind, SpeechJob},
    language::{Language, Source},
};
use unicode_normalization::UnicodeNormalization as _;

use crate::{
    guard::{Verdict, judge, only_as_a_whole},
    metrics::{JudgedMetrics, Spared},
    silence::{is_no_speech, is_silent},
    transcriber::{SpeechHypothesis, SpeechRequest, TranscribeError, Transcriber},
    windows::split,
};

/// Asks the model.
#[derive(Debug)]
pub(crate) struct Ears {
    pub(crate) transcriber: Arc<dyn Transcriber>,
    /// Whether the model is told what was said before this utterance.
    pub(crate) context: bool,
    /// Whether the policy wants to know where the words of a partial lie.
    pub(crate) words: bool,
    pub(crate) judged: JudgedMetrics,
}

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The text after the committed text, in Unicode's composed form (NFC); `None` where it cannot be believed or
    /// nothing was said.
    pub(crate) continuation: Option<String>,
    pub(crate) language: Option<Language>,
    pub(crate) language_probability: f32,
    /// The words of committed text and continuation with their places from the start of the audio, where asked for.
    pub(crate) words: Vec<AlignedWord>,
    /// How many of them are in the committed text.
    pub(crate) committed_words: usize,
    /// The model went round in circles.
    pub(crate) reset: bool,
}

impl From<TranscribeError> for JobError {
    fn from(error: TranscribeError) -> Self {
        match error {
            TranscribeError::Failed(_) => Self::Retry(error.to_string()),
            TranscribeError::Broken(_) => Self::HandBack(error.to_string()),
            TranscribeError::Impossible(_) => Self::Hopeless(error.to_string()),
        }
    }
}

impl Ears {
    /// Hears the audio of `job`. What is silent, or no speech, never reaches the model; what hardly is, only once it is
    /// whole.
    pub(crate) async fn hear(&self, job: &SpeechJob, mut pcm: Vec<f32>) -> Result<Heard, JobError> {
        // An utterance that was split has audio behind its end, which is the next one's.
        let samples = job.end_ms.saturating_sub(job.start_ms).saturating_add(1).saturating_mul(SAMPLES_PER_MS);
        pcm.truncate(usize::try_from(samples).unwrap_or(usize::MAX));
        if let Some(why) = spared(job, &pcm) {
            self.judged.spared(why);
            return Ok(Heard::default());
        }
        let window = self.transcriber.window_samples();
        if pcm.len() <= window {
            return self.decode(job, pcm, &job.committed).await;
        }
        // Which part holds the committed text is not known, so none is forced: it is found again in the whole.
        let (mut whole, mut at) = (Heard::default(), 0);
        for part in split(&pcm, window) {
            let from_ms = u32::try_from(at / SAMPLES_PER_MS).unwrap_or(u32::MAX);
            at += part.len() as u64;
            if !is_silent(part) {
                whole.add(self.decode(job, part.to_vec(), "").await?, from_ms);
            }
        }
        whole.continuation = whole.continuation.map(|text| stitch(&job.committed, &text));
        if job.kind == JobKind::Partial {
            whole.words.clear(); // Which of them are committed already is not known.
        }
        Ok(whole)
    }

    async fn decode(&self, job: &SpeechJob, pcm: Vec<f32>, prefix: &str) -> Result<Heard, JobError> {
        let (auto, given) = match &job.source {
            Source::Auto => (true, None),
            Source::Language(language) => (false, Some(language.primary().to_owned())),
        };
        let expected = job.expected_language.as_ref().filter(|_| auto);
        let mut request = SpeechRequest {
            pcm,
            language: given,
            expected_language: expected.map(|language| language.primary().to_owned()),
            terms: job.glossary.iter().map(|term| term.source.clone()).collect(),
            prompt: self.prompt(job),
            prefix: prefix.to_owned(),
            words: job.words || job.locate || self.words && job.kind == JobKind::Partial,
            ..SpeechRequest::default()
        };
        let told = !request.prompt.is_empty();
        let mut hypothesis = self.transcriber.transcribe(request.clone()).await?;
        let mut verdict = judge(&hypothesis, job.speech_share);
        self.judged.judged(verdict);
        let reset = verdict == Verdict::Lost;
        if reset && told {
            // What was said before may have led it astray.
            request.prompt.clear();
            hypothesis = self.transcriber.transcribe(request).await?;
            verdict = judge(&hypothesis, job.speech_share);
            self.judged.judged(verdict);
        }
        Ok(Heard::of(hypothesis, verdict, reset))
    }

    /// The session's terms, and what was said before, as the text that "precedes" the audio.
    fn prompt(&self, job: &SpeechJob) -> String {
        let terms = job.glossary.iter().map(|term| term.source.as_str()).collect::<Vec<_>>().join(", ");
        let context = if self.context { job.context.as_str() } else { "" };
        normalise(&format!("{terms} {context}"))
    }
}

/// Why the model need not hear this.
fn spared(job: &SpeechJob, pcm: &[f32]) -> Option<Spared> {
    if job.kind == JobKind::Partial && job.committed.is_empty() && only_as_a_whole(job.speech_share) {
        return Some(Spared::TooEarly);
    }
    if is_silent(pcm) {
        return Some(Spared::Silent);
    }
    is_no_speech(pcm, job.speech_share).then_some(Spared::NoSpeech)
}

impl Heard {
    fn of(hypothesis: SpeechHypothesis, verdict: Verdict, reset: bool) -> Self {
        let SpeechHypothesis { text, language, language_probability, mut words, prefix_words, .. } = hypothesis;
        let believed = verdict == Verdict::Believed;
        if !believed {
            words.truncate(prefix_words);
        }
        for word in &mut words {
            word.text = word.text.nfc().collect();
        }
        Self {
            continuation: believed.then(|| text.nfc().collect()),
            language: language.parse().ok().filter(|_| believed),
            language_probability,
            committed_words: prefix_words.min(words.len()),
            words,
            reset,
        }
    }

    /// Adds what was heard in the next part, which begins at `from_ms`.
    fn add(&mut self, part: Self, from_ms: u32) {
        if let Some(text) = part.continuation {
            self.continuation = Some(join(self.continuation.as_deref().unwrap_or_default(), &text));
        }
        if self.language.is_none() {
            (self.language, self.language_probability) = (part.language, part.language_probability);
        }
        let later = |mut word: AlignedWord| {
            word.start_ms += from_ms;
            word.end_ms += from_ms;
            word.attended_ms += from_ms;
            word
        };
        self.words.extend(part.words.into_iter().map(later));
        self.reset |= part.reset;
    }
}
