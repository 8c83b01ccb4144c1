//! The real translators: models, each on a thread of its own.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use inference::{
    error::ModelError,
    model_thread::{BatchLimits, ModelHandle},
    translation::{TranslationModel, TranslationOptions},
};

use crate::{
    config::TranslationConfig,
    routes::Routes,
    translator::{TranslateError, TranslationHypothesis, TranslationRequest, Translator},
};

/// Text in one batch, per row, in bytes: a long sentence and its forced prefix.
const BATCH_BYTES_PER_ROW: usize = 400;

#[derive(Debug)]
struct Engine(ModelHandle<TranslationModel>);

/// Loads the models of `config`, all at once, and warms them up.
///
/// # Errors
/// When a file of a model is missing or wrong, or the device is not there.
pub async fn load(config: &TranslationConfig) -> Result<Routes, ModelError> {
    let limits = BatchLimits {
        max_rows: config.max_batch,
        max_cost: config.max_batch * BATCH_BYTES_PER_ROW,
        // As many as the consumer has in hand; the parts of a long text wait for a place.
        queue: config.max_batch * 2,
    };
    let options = TranslationOptions { beams: config.beams, ..TranslationOptions::default() };
    let start = |name: &str, dir: &Path| {
        let (dir, engine, options) = (dir.to_owned(), config.engine, options.clone());
        ModelHandle::spawn(name, move || TranslationModel::load(&dir, &engine, options), limits)
    };
    let loading: Vec<_> = config.models.iter().map(|(pair, dir)| (pair, start(&format!("mt-{pair}"), dir))).collect();
    let any = config.any.as_ref().map(|dir| start("mt-any", dir));
    let mut translators: Vec<(_, Arc<dyn Translator>)> = Vec::new();
    for (pair, (model, ready)) in loading {
        ready.await.map_err(|_| ModelError::Stopped)??;
        tracing::info!(%pair, device = %config.engine.device, compute = %config.engine.compute, "translation model ready");
        translators.push((pair.clone(), Arc::new(Engine(model))));
    }
    let routes: Routes = translators.into_iter().collect();
    let Some((model, ready)) = any else { return Ok(routes) };
    ready.await.map_err(|_| ModelError::Stopped)??;
    tracing::info!(device = %config.engine.device, compute = %config.engine.compute, "model of many languages ready");
    Ok(routes.with_any(Some(Arc::new(Engine(model)))))
}

#[async_trait]
impl Translator for Engine {
    async fn translate(&self, request: TranslationRequest) -> Result<TranslationHypothesis, TranslateError> {
        self.0.submit(request).await.map_err(|error| match error {
            ModelError::Language { .. } | ModelError::TooLong { .. } => TranslateError::Impossible(error.to_string()),
            other => TranslateError::Failed(other.to_string()),
        })
    }
}
