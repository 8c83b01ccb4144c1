//! What a finished translation job does on the bus, in one step. Pure.

use bytes::Bytes;
use serde_json::Error;
use shared::{
    agreement::following,
    bus::{Delivery, Effects, Guard, Publish, StateWrite},
    consumer::{DeadLetter, Subject},
    jobs::{self, JobKind, Published, SESSION_TTL, SessionEvent, TranslationJob, event_stream, translation_key},
    wire::{GapReason, Translation},
};

use crate::stream::Translated;

/// The translation, and the state for the next job; only while the state is still `read`.
pub(crate) fn of_translation(
    job: &TranslationJob,
    translated: Translated,
    read: Option<Bytes>,
) -> Result<Effects, Error> {
    let Translated { shown, state } = translated;
    let event = SessionEvent::Translation(Translation {
        utterance: job.utterance,
        revision: job.revision,
        target: job.target.clone(),
        tail: following(&shown.committed, &shown.tail),
        committed: shown.committed,
        is_final: job.kind == JobKind::Final,
    });
    let key = translation_key(job.session, job.utterance, &job.target);
    Ok(Effects {
        guard: Some(Guard { key: key.clone(), expected: read }),
        publish: vec![publish(job, &event)?],
        produce: Vec::new(),
        set: vec![StateWrite { key, value: jobs::encode(&state)?, ttl: SESSION_TTL }],
    })
}

/// The gap that the client sees where no translation will come.
pub(crate) fn of_gap(job: &TranslationJob, reason: GapReason) -> Result<Effects, Error> {
    let gap = SessionEvent::Gap {
        utterance: job.utterance,
        revision: job.revision,
        was_final: job.kind == JobKind::Final,
        target: Some(job.target.clone()),
        from_ms: job.start_ms,
        to_ms: job.end_ms,
        reason,
    };
    Ok(Effects { publish: vec![publish(job, &gap)?], ..Effects::default() })
}

/// The gap, and a letter to the operator.
pub(crate) fn of_dead_letter(delivery: &Delivery, job: &TranslationJob, reason: &str) -> Result<Effects, Error> {
    let subject = Subject {
        session: job.session,
        utterance: job.utterance,
        revision: job.revision,
        kind: job.kind,
        target: Some(job.target.clone()),
    };
    let mut effects = of_gap(job, GapReason::Failed)?;
    effects.publish.push(DeadLetter::publish(delivery, reason, Some(subject))?);
    Ok(effects)
}

fn publish(job: &TranslationJob, event: &SessionEvent) -> Result<Publish, Error> {
    let payload = jobs::encode(&Published { event, trace_parent: job.trace_parent.clone() })?;
    Ok(Publish { stream: event_stream(job.session), payload, ttl: SESSION_TTL })
}
