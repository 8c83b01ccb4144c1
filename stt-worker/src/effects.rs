//! What a finished speech job does on the bus, in one step. Pure.

use bytes::Bytes;
use serde_json::Error;
use shared::{
    agreement::{Agreed, following, join, normalise},
    bus::{Delivery, Effects, Guard, Produce, Publish, StateWrite},
    consumer::{DeadLetter, Subject},
    jobs::{
        self, JobKind, Published, SESSION_TTL, SessionEvent, SpeechJob, TRANSLATION_JOBS, TranslationJob,
        TranslationState, event_stream, revision_key, translation_key,
    },
    language::Language,
    wire::{Caption, GapReason, Translation, Word},
};

/// What one decode found out.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What is shown.
    pub(crate) text: Agreed,
    /// What the model said behind it, too unsteady to be shown.
    pub(crate) hidden: String,
    pub(crate) language: Language,
    /// How sure the model is of it; `None` where the language was given.
    pub(crate) language_probability: Option<f32>,
    /// The words of the whole text, where they are known.
    pub(crate) words: Vec<Word>,
    /// Where the committed text ends since the session's first sample, where that was asked.
    pub(crate) committed_end_ms: Option<u64>,
    /// The model lost its way.
    pub(crate) reset: bool,
}

/// The caption, and a job for each target if there is something new to translate.
pub(crate) fn of_caption(job: &SpeechJob, answer: Answer) -> Result<Effects, Error> {
    let is_final = job.kind == JobKind::Final;
    let Answer { text, language, .. } = &answer;
    let mut effects = Effects { guard: Some(guard(job)), ..Effects::default() };
    let empty = join(&text.committed, &text.tail).is_empty();
    let changed = text.committed != job.committed || text.tail != normalise(&job.tail);
    for target in &job.targets {
        if is_final && empty {
            // Nothing to translate, but the client is owed a final in each language.
            effects.publish.push(publish(job, &empty_final(job, target))?);
            effects.set.push(closed(job, target)?);
        } else if is_final || (changed && !empty) {
            effects.produce.push(translation(job, text, language, target)?);
        }
    }
    let caption = Caption {
        utterance: job.utterance,
        revision: job.revision,
        start_ms: job.start_ms,
        end_ms: job.end_ms,
        tail: following(&text.committed, &text.tail),
        committed: answer.text.committed,
        language: answer.language,
        language_probability: answer.language_probability,
        words: answer.words,
        is_final,
    };
    let Answer { hidden, committed_end_ms, reset, .. } = answer;
    effects.publish.insert(0, publish(job, &SessionEvent::Caption { caption, hidden, committed_end_ms, reset })?);
    Ok(effects)
}

/// A dead letter, and the gap that the client sees.
pub(crate) fn of_gap(delivery: &Delivery, job: &SpeechJob, reason: &str) -> Result<Effects, Error> {
    let subject = Subject {
        session: job.session,
        utterance: job.utterance,
        revision: job.revision,
        kind: job.kind,
        target: None,
    };
    let gap = SessionEvent::Gap {
        utterance: job.utterance,
        revision: job.revision,
        was_final: job.kind == JobKind::Final,
        target: None,
        from_ms: job.start_ms,
        to_ms: job.end_ms,
        reason: GapReason::Failed,
    };
    Ok(Effects {
        guard: Some(guard(job)),
        publish: vec![publish(job, &gap)?, DeadLetter::publish(delivery, reason, Some(subject))?],
        produce: Vec::new(),
        set: Vec::new(),
    })
}

/// What the revision key holds while `job` is the newest of its utterance.
pub(crate) fn newest(job: &SpeechJob) -> Bytes {
    Bytes::from(job.revision.to_string())
}

fn guard(job: &SpeechJob) -> Guard {
    Guard { key: revision_key(job.session, job.utterance), expected: Some(newest(job)) }
}

fn publish(job: &SpeechJob, event: &SessionEvent) -> Result<Publish, Error> {
    let payload = jobs::encode(&Published { event, trace_parent: job.trace_parent.clone() })?;
    Ok(Publish { stream: event_stream(job.session), payload, ttl: SESSION_TTL })
}

fn empty_final(job: &SpeechJob, target: &Language) -> SessionEvent {
    SessionEvent::Translation(Translation {
        utterance: job.utterance,
        revision: job.revision,
        target: target.clone(),
        committed: String::new(),
        tail: String::new(),
        is_final: true,
    })
}

/// The state that tells a translation-worker with an older job of this utterance to publish nothing.
fn closed(job: &SpeechJob, target: &Language) -> Result<StateWrite, Error> {
    let state = TranslationState { revision: job.revision, ..TranslationState::default() };
    let key = translation_key(job.session, job.utterance, target);
    Ok(StateWrite { key, value: jobs::encode(&state)?, ttl: SESSION_TTL })
}

fn translation(job: &SpeechJob, text: &Agreed, source: &Language, target: &Language) -> Result<Produce, Error> {
    let translation = TranslationJob {
        session: job.session,
        utterance: job.utterance,
        revision: job.revision,
        kind: job.kind,
        start_ms: job.start_ms,
        end_ms: job.end_ms,
        source: source.clone(),
        target: target.clone(),
        committed: text.committed.clone(),
        tail: text.tail.clone(),
        glossary: job.glossary.clone(),
        trace_parent: job.trace_parent.clone(),
    };
    Ok(Produce {
        stream: TRANSLATION_JOBS.to_owned(),
        idempotency_key: format!("{}:{}:{}:{target}", job.session, job.utterance, job.revision),
        payload: jobs::encode(&translation)?,
        set: None,
    })
}
