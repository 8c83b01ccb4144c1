//! One translation job, from its payload to its acknowledgement.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use shared::{
    bus::{Bus, Delivery, Effects, Finished},
    consumer::{self, DeadLetter, JobError, JobHandler, Outcome},
    jobs::{self, JobKind, TranslationJob, TranslationState, revision_key, translation_key},
    telemetry::job::{follow, step},
    wire::GapReason,
};

use crate::{
    effects::{of_dead_letter, of_gap, of_translation},
    glossary::Glossary,
    legs::through,
    pair::Pair,
    routes::{Route, Routes},
    stream::{self, Translated},
    translator::TranslateError,
};

/// How often a job is done again because another job of its utterance wrote the state in between. Jobs of one utterance
/// and target are few at a time, and each conflict means that one of them got through.
const ATTEMPTS: usize = 4;
/// A partial whose utterance is so many revisions further on is not translated: the next caption is out already, so
/// nobody waits for this one. One revision is the normal case: the gateway asks for the next as soon as it has one.
const STALE_REVISIONS: u32 = 2;

/// Pairs without a model that are told in the log; clients choose them, so there may be no end of them.
const MAX_TOLD: usize = 1000;

/// Does translation jobs.
#[derive(Debug)]
pub(crate) struct TranslationHandler {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) routes: Routes,
    /// Pairs without a model, which were logged.
    pub(crate) missing: Mutex<HashSet<Pair>>,
}

impl From<TranslateError> for JobError {
    fn from(error: TranslateError) -> Self {
        match error {
            TranslateError::Failed(_) => Self::Retry(error.to_string()),
            TranslateError::Broken(_) => Self::HandBack(error.to_string()),
            TranslateError::Impossible(_) => Self::Hopeless(error.to_string()),
        }
    }
}

#[async_trait]
impl JobHandler for TranslationHandler {
    fn is_final(&self, payload: &[u8]) -> bool {
        consumer::is_final(payload)
    }

    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, JobError> {
        let mut job: TranslationJob = jobs::decode(&delivery.payload)?;
        follow(&mut job.trace_parent);
        let Some(route) = self.routes.find(&job.source, &job.target) else {
            return self.no_route(delivery, &job).await;
        };
        if self.overtaken(&job).await? {
            return self.supersede(delivery).await;
        }
        let key = translation_key(job.session, job.utterance, &job.target);
        for _ in 0..ATTEMPTS {
            let read = self.bus.get(&key).await?;
            let state = read.as_deref().and_then(|bytes| jobs::decode::<TranslationState>(bytes).ok());
            if state.as_ref().is_some_and(|state| state.revision >= job.revision) {
                return self.supersede(delivery).await;
            }
            let translated = step("inference", self.translate(&job, &state.unwrap_or_default(), &route)).await?;
            let effects = of_translation(&job, translated, read)?;
            let finished = step("publish", self.bus.finish(delivery, effects.clone())).await;
            match finished.map_err(|error| JobError::unsent(error, effects))? {
                Finished::Done => return Ok(Outcome::Done),
                Finished::LeaseLost => return Ok(Outcome::LeaseLost),
                Finished::GuardFailed => (),
            }
        }
        Err(JobError::Retry(format!("the state of the utterance changed {ATTEMPTS} times meanwhile")))
    }

    async fn give_up(&self, delivery: &Delivery, reason: &str) -> Result<Outcome, JobError> {
        let effects = match jobs::decode::<TranslationJob>(&delivery.payload) {
            Ok(mut job) => {
                follow(&mut job.trace_parent);
                of_dead_letter(delivery, &job, reason)?
            }
            // Not a job, so there is nobody to tell but the operator.
            Err(_) => Effects { publish: vec![DeadLetter::publish(delivery, reason, None)?], ..Effects::default() },
        };
        self.finish(delivery, effects, Outcome::Done).await
    }
}

impl TranslationHandler {
    async fn translate(
        &self,
        job: &TranslationJob,
        state: &TranslationState,
        route: &Route,
    ) -> Result<Translated, JobError> {
        let Route::Through(legs) = route else { return Ok(stream::copy(job)) };
        let plan = stream::plan(job, state);
        let glossary = Glossary::new(&job.glossary);
        let asked = plan.pieces.iter().map(|piece| through(legs, piece, &glossary));
        let answers = try_join_all(asked).await?;
        Ok(plan.conclude(job, state, &answers))
    }

    /// Whether nobody waits for this job any more: the session is gone, or it is a partial and the utterance far ahead.
    async fn overtaken(&self, job: &TranslationJob) -> Result<bool, JobError> {
        let newest: Option<Bytes> = self.bus.get(&revision_key(job.session, job.utterance)).await?;
        let newest = newest.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse::<u32>().ok());
        let stale = |newest| newest >= job.revision.0.saturating_add(STALE_REVISIONS);
        Ok(newest.is_none_or(|newest| job.kind == JobKind::Partial && stale(newest)))
    }

    /// A pair that no model serves: said once in the log, and in each final's place to the client.
    async fn no_route(&self, delivery: &Delivery, job: &TranslationJob) -> Result<Outcome, JobError> {
        let pair = Pair::new(&job.source, &job.target);
        if self.first_time_missing(&pair) {
            tracing::error!(%pair, models = ?self.routes.pairs(),
                "no translation model for this language pair; name one in TRANSLATION_MODELS");
        }
        match job.kind {
            JobKind::Final => self.finish(delivery, of_gap(job, GapReason::NoModel)?, Outcome::Done).await,
            JobKind::Partial => self.supersede(delivery).await,
        }
    }

    fn first_time_missing(&self, pair: &Pair) -> bool {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.len() < MAX_TOLD && missing.insert(pair.clone())
    }

    async fn supersede(&self, delivery: &Delivery) -> Result<Outcome, JobError> {
        self.finish(delivery, Effects::default(), Outcome::Superseded).await
    }

    async fn finish(&self, delivery: &Delivery, effects: Effects, outcome: Outcome) -> Result<Outcome, JobError> {
        match step("publish", self.bus.finish(delivery, effects)).await? {
            Finished::LeaseLost => Ok(Outcome::LeaseLost),
            Finished::Done | Finished::GuardFailed => Ok(outcome),
        }
    }
}
