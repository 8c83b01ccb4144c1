//! The real translators: models, each on a thread of its own.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use inference::{
    error::ModelError,
    model_thread::{BatchLimits, ModelHandle, Observation},
    translation::{TranslationModel, TranslationOptions},
};
use shared::model_metrics::ModelMetrics;

use crate::{
    config::TranslationConfig,
    routes::Routes,
    translator::{TranslateError, TranslationHypothesis, TranslationRequest, Translator},
};

/// Text in one batch, per row, in bytes: a long sentence and its forced prefix.
const BATCH_BYTES_PER_ROW: usize = 400;

#[derive(Debug)]
struct Engine(ModelHandle<TranslationModel>);

/// Loads the models of `config`, all at once, and warms them up. What they do from then on is counted in `metrics`.
///
/// # Errors
/// When a file of a model is missing or wrong, or the device is not there.
pub async fn load(config: &TranslationConfig, metrics: &ModelMetrics) -> Result<Routes, ModelError> {
    let limits = BatchLimits {
        max_rows: config.max_batch,
        max_cost: config.max_batch * BATCH_BYTES_PER_ROW,
        // As many as the consumer has in hand; the parts of a long text wait for a place.
        queue: config.max_batch * 2,
    };
    let options = TranslationOptions { beams: config.beams, ..TranslationOptions::default() };
    let start = |name: &str, dir: &Path| {
        let (dir, engine, options, counted) = (dir.to_owned(), config.engine, options.clone(), metrics.clone());
        let observer =
            Arc::new(move |seen: Observation| counted.observe(seen.occasion.name(), seen.rows, seen.cost, seen.time));
        ModelHandle::spawn(name, move || TranslationModel::load(&dir, &engine, options), limits, observer)
    };
    let (device, compute) = (config.engine.device.to_string(), config.engine.compute.to_string());
    let pairs = config.models.iter().map(|(pair, dir)| (Some(pair), dir, start(&format!("mt-{pair}"), dir)));
    let any = config.any.iter().map(|dir| (None, dir, start("mt-any", dir)));
    let loading: Vec<_> = pairs.chain(any).collect();
    // None is still loading when another one's fault is told: the next attempt has the memory to itself.
    let mut loaded = Vec::new();
    for (pair, dir, (model, ready)) in loading {
        loaded.push((pair, dir, model, ready.await.map_err(|_| ModelError::Stopped).flatten()));
    }
    let (mut translators, mut any) = (Vec::new(), None);
    for (pair, dir, model, outcome) in loaded {
        outcome?;
        metrics.loaded(dir, &device, &compute);
        let translator: Arc<dyn Translator> = Arc::new(Engine(model));
        if let Some(pair) = pair {
            tracing::info!(%pair, device, compute, "translation model ready");
            translators.push((pair.clone(), translator));
        } else {
            tracing::info!(device, compute, "model of many languages ready");
            any = Some(translator);
        }
    }
    let routes: Routes = translators.into_iter().collect();
    Ok(routes.with_any(any))
}

/// Whether what `load` said may be otherwise a little later.
#[must_use]
pub fn may_pass(error: &ModelError) -> bool {
    error.may_pass()
}

#[async_trait]
impl Translator for Engine {
    async fn translate(&self, request: TranslationRequest) -> Result<TranslationHypothesis, TranslateError> {
        self.0.submit(request).await.map_err(|error| match error {
            ModelError::Language { .. } | ModelError::TooLong { .. } => TranslateError::Impossible(error.to_string()),
            ModelError::Stopped => TranslateError::Broken(error.to_string()),
            other => TranslateError::Failed(other.to_string()),
        })
    }

    async fn broken(&self) -> String {
        self.0.broken().await.to_string()
    }
}
