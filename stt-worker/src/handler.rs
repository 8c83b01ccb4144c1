//! One speech job, from its payload to its acknowledgement.

use std::sync::Arc;

use async_trait::async_trait;
use shared::{
    agreement::{Agreed, append, join, normalise, steady, through_sentence},
    bus::{Bus, Delivery, Effects, Finished},
    consumer::{self, DeadLetter, JobError, JobHandler, Outcome},
    jobs::{self, JobKind, SpeechJob, revision_key},
    language::{Language, Source},
    telemetry::job::{follow, step},
};

use crate::{
    effects::{Answer, newest, of_caption, of_gap},
    hear::{Ears, Heard},
    pcm::AudioReader,
    policy::{Partial, Policy},
    words::{are_of, end_of, keep_first, on_the_wire},
};

/// Does speech jobs.
#[derive(Debug)]
pub(crate) struct SpeechHandler {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) ears: Ears,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) audio: AudioReader,
}

/// The text of a caption, and what the model said behind it that is not shown.
struct Decided {
    text: Agreed,
    hidden: String,
}

#[async_trait]
impl JobHandler for SpeechHandler {
    fn is_final(&self, payload: &[u8]) -> bool {
        consumer::is_final(payload)
    }

    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, JobError> {
        let mut job: SpeechJob = jobs::decode(&delivery.payload)?;
        follow(&mut job.trace_parent);
        // Nobody waits for an older revision; see before any model time is spent, and again when finishing.
        if self.bus.get(&revision_key(job.session, job.utterance)).await? != Some(newest(&job)) {
            return self.supersede(delivery).await;
        }
        let heard = if job.complete && !job.words {
            Heard::default() // The text is whole already.
        } else {
            let pcm = step("read_audio", self.audio.read(&job)).await?;
            step("inference", self.ears.hear(&job, pcm)).await?
        };
        let effects = of_caption(&job, self.answer(&job, heard))?;
        let finished = step("publish", self.bus.finish(delivery, effects.clone())).await;
        let finished = finished.map_err(|error| JobError::unsent(error, effects))?;
        let outcome = self.outcome(delivery, finished).await?;
        if job.kind == JobKind::Final {
            self.audio.forget(job.session, job.utterance);
        }
        Ok(outcome)
    }

    async fn give_up(&self, delivery: &Delivery, reason: &str) -> Result<Outcome, JobError> {
        let effects = match jobs::decode::<SpeechJob>(&delivery.payload) {
            Ok(mut job) => {
                follow(&mut job.trace_parent);
                of_gap(delivery, &job, reason)?
            }
            // Not a job, so there is nobody to tell but the operator.
            Err(_) => Effects { publish: vec![DeadLetter::publish(delivery, reason, None)?], ..Effects::default() },
        };
        let finished = step("publish", self.bus.finish(delivery, effects)).await?;
        self.outcome(delivery, finished).await
    }
}

impl SpeechHandler {
    fn answer(&self, job: &SpeechJob, mut heard: Heard) -> Answer {
        if job.complete {
            heard.words.truncate(heard.committed_words);
            heard.reset = false; // What was heard besides is not used.
        }
        let Decided { text, hidden } = self.decide(job, &heard);
        let whole = join(&join(&text.committed, &text.tail), &hidden);
        // Words that are not those of the text (it was found again in parts, or was on the screen before) say nothing.
        let mut words = if are_of(&heard.words, &whole) { heard.words } else { Vec::new() };
        let end_ms = end_of(&text.committed, &words).filter(|_| job.locate);
        keep_first(&mut words, &join(&text.committed, &text.tail));
        let auto = job.source == Source::Auto && heard.language.is_some();
        Answer {
            committed_end_ms: end_ms.map(|ms| job.start_ms + u64::from(ms)),
            words: if job.words { on_the_wire(&words, job.start_ms) } else { Vec::new() },
            language_probability: auto.then_some(heard.language_probability),
            language: language(job, heard.language),
            reset: heard.reset,
            hidden,
            text,
        }
    }

    /// The text of the caption. It starts with the job's committed text, whatever was heard.
    fn decide(&self, job: &SpeechJob, heard: &Heard) -> Decided {
        let committed = job.committed.as_str();
        let shown = |text| Decided { text, hidden: String::new() };
        match (job.kind, heard.continuation.as_deref()) {
            (JobKind::Final, _) if job.complete => {
                shown(Agreed { committed: committed.to_owned(), tail: String::new() })
            }
            (JobKind::Final, continuation) => {
                let committed = append(committed, continuation.unwrap_or_default());
                shown(Agreed { committed, tail: String::new() })
            }
            (JobKind::Partial, Some(continuation)) => {
                let words = &heard.words[heard.committed_words..];
                let audio_ms = u32::try_from(job.end_ms.saturating_sub(job.start_ms)).unwrap_or(u32::MAX);
                let previous_tail = &join(&job.tail, &job.hidden);
                let partial = Partial { committed, previous_tail, continuation, words, audio_ms };
                // Step by step from sentence to sentence, so that the utterance can be split between them.
                let text = through_sentence(self.policy.split(&partial), committed);
                let (tail, hidden) = steady(previous_tail, continuation, &text.tail);
                Decided { text: Agreed { tail, ..text }, hidden }
            }
            // Nothing new: what is on the screen stays there until more is heard.
            (JobKind::Partial, None) => {
                let (tail, hidden) = (normalise(&job.tail), normalise(&job.hidden));
                Decided { text: Agreed { committed: committed.to_owned(), tail }, hidden }
            }
        }
    }

    async fn outcome(&self, delivery: &Delivery, finished: Finished) -> Result<Outcome, JobError> {
        match finished {
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
