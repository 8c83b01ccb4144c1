//! One speech job, from its payload to its acknowledgement.

use std::sync::Arc;

use async_trait::async_trait;
use shared::{
    agreement::{Agreed, append, join, normalise, stitch},
    bus::{Bus, Delivery, Effects, Finished},
    consumer::{self, DeadLetter, JobError, JobHandler, Outcome},
    jobs::{self, JobKind, SpeechJob, revision_key},
    language::{Language, Source},
};

use crate::{
    effects::{newest, of_caption, of_gap},
    guard::believable,
    pcm::AudioReader,
    policy::Policy,
    silence::is_silent,
    transcriber::{SpeechRequest, TranscribeError, Transcriber},
    windows::split,
};

/// Does speech jobs.
#[derive(Debug)]
pub(crate) struct SpeechHandler {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) transcriber: Arc<dyn Transcriber>,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) audio: AudioReader,
    /// Whether the model is told what was said before this utterance.
    pub(crate) context: bool,
}

/// What was heard after the committed text; `None` where it cannot be believed or nothing was said.
struct Heard {
    continuation: Option<String>,
    language: Option<Language>,
}

impl From<TranscribeError> for JobError {
    fn from(error: TranscribeError) -> Self {
        match error {
            TranscribeError::Failed(_) => Self::Retry(error.to_string()),
            TranscribeError::Impossible(_) => Self::Hopeless(error.to_string()),
        }
    }
}

#[async_trait]
impl JobHandler for SpeechHandler {
    fn is_final(&self, payload: &[u8]) -> bool {
        consumer::is_final(payload)
    }

    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, JobError> {
        let job: SpeechJob = jobs::decode(&delivery.payload)?;
        // Nobody waits for an older revision; see before any model time is spent, and again when finishing.
        if self.bus.get(&revision_key(job.session, job.utterance)).await? != Some(newest(&job)) {
            return self.supersede(delivery).await;
        }
        let pcm = self.audio.read(&job).await?;
        let heard = self.hear(&job, pcm).await?;
        let (text, language) = (self.decide(&job, heard.continuation.as_deref()), language(&job, heard.language));
        let outcome = self.finish(delivery, of_caption(&job, &text, &language)?).await?;
        if job.kind == JobKind::Final {
            self.audio.forget(job.session, job.utterance);
        }
        Ok(outcome)
    }

    async fn give_up(&self, delivery: &Delivery, reason: &str) -> Result<Outcome, JobError> {
        let effects = match jobs::decode::<SpeechJob>(&delivery.payload) {
            Ok(job) => of_gap(delivery, &job, reason)?,
            // Not a job, so there is nobody to tell but the operator.
            Err(_) => Effects { publish: vec![DeadLetter::publish(delivery, reason, None)?], ..Effects::default() },
        };
        self.finish(delivery, effects).await
    }
}

impl SpeechHandler {
    async fn hear(&self, job: &SpeechJob, pcm: Vec<f32>) -> Result<Heard, JobError> {
        if is_silent(&pcm) {
            return Ok(Heard { continuation: None, language: None });
        }
        if pcm.len() <= self.transcriber.window_samples() {
            return self.decode(job, pcm, &job.committed).await;
        }
        // Which part holds the committed text is not known, so none is forced: it is found again in the whole.
        let mut whole = Heard { continuation: None, language: None };
        for part in split(&pcm, self.transcriber.window_samples()) {
            if is_silent(part) {
                continue;
            }
            let heard = self.decode(job, part.to_vec(), "").await?;
            let so_far = whole.continuation.take().unwrap_or_default();
            whole.continuation = Some(join(&so_far, &heard.continuation.unwrap_or_default()));
            whole.language = whole.language.or(heard.language);
        }
        whole.continuation = whole.continuation.map(|text| stitch(&job.committed, &text));
        Ok(whole)
    }

    async fn decode(&self, job: &SpeechJob, pcm: Vec<f32>, prefix: &str) -> Result<Heard, JobError> {
        let request = SpeechRequest {
            pcm,
            language: match &job.source {
                Source::Auto => None,
                Source::Language(language) => Some(language.primary().to_owned()),
            },
            prompt: self.prompt(job),
            prefix: prefix.to_owned(),
            ..SpeechRequest::default()
        };
        let hypothesis = self.transcriber.transcribe(request).await?;
        Ok(Heard {
            continuation: believable(&hypothesis).map(str::to_owned),
            language: hypothesis.language.parse().ok(),
        })
    }

    /// The session's terms, and what was said before, as the text that "precedes" the audio.
    fn prompt(&self, job: &SpeechJob) -> String {
        let terms = job.glossary.iter().map(|term| term.source.as_str()).collect::<Vec<_>>().join(", ");
        let context = if self.context { job.context.as_str() } else { "" };
        normalise(&format!("{terms} {context}"))
    }

    /// The text of the caption. It starts with the job's committed text, whatever was heard.
    fn decide(&self, job: &SpeechJob, continuation: Option<&str>) -> Agreed {
        match (job.kind, continuation) {
            (JobKind::Final, heard) => {
                Agreed { committed: append(&job.committed, heard.unwrap_or_default()), tail: String::new() }
            }
            (JobKind::Partial, Some(heard)) => self.policy.partial(&job.committed, &job.tail, heard),
            // Nothing new: what is on the screen stays there until more is heard.
            (JobKind::Partial, None) => Agreed { committed: job.committed.clone(), tail: normalise(&job.tail) },
        }
    }

    async fn finish(&self, delivery: &Delivery, effects: Effects) -> Result<Outcome, JobError> {
        match self.bus.finish(delivery, effects).await? {
            Finished::Done => Ok(Outcome::Done),
            Finished::LeaseLost => Ok(Outcome::LeaseLost),
            Finished::GuardFailed => self.supersede(delivery).await,
        }
    }

    async fn supersede(&self, delivery: &Delivery) -> Result<Outcome, JobError> {
        match self.bus.finish(delivery, Effects::default()).await? {
            Finished::LeaseLost => Ok(Outcome::LeaseLost),
            Finished::Done | Finished::GuardFailed => Ok(Outcome::Superseded),
        }
    }
}

/// The language to say: the one the client gave, else the one heard, else "undetermined" (ISO 639-2 `und`).
fn language(job: &SpeechJob, heard: Option<Language>) -> Language {
    match &job.source {
        Source::Language(given) => given.clone(),
        Source::Auto => heard.unwrap_or_else(undetermined),
    }
}

#[expect(clippy::expect_used, reason = "`und` is a well-formed tag")]
fn undetermined() -> Language {
    "und".parse().expect("`und` is a well-formed tag")
}
