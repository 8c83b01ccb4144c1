//! The real transcriber: a speech model on a thread of its own.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use inference::{
    decode::quality::temperatures,
    error::ModelError,
    model_thread::{BatchLimits, ModelHandle, Observation},
    speech::{SpeechModel, SpeechOptions},
};
use shared::{audio::SAMPLE_RATE, model_metrics::ModelMetrics};

use crate::{
    config::SttConfig,
    transcriber::{SpeechHypothesis, SpeechRequest, TranscribeError, Transcriber},
};

/// Audio in one batch, per row: utterances are mostly shorter, so full batches of long ones are cut in two or three
/// rather than sized for.
const BATCH_SAMPLES_PER_ROW: usize = 12 * SAMPLE_RATE as usize;

#[derive(Debug)]
struct Engine {
    model: ModelHandle<SpeechModel>,
    window_samples: usize,
}

/// Loads the model of `config` and warms it up. Takes seconds to minutes; nothing async waits on a lock meanwhile. What it
/// does from then on is counted in `metrics`.
///
/// # Errors
/// When a file of the model is missing or wrong, or the device is not there.
pub async fn load(config: &SttConfig, metrics: &ModelMetrics) -> Result<Arc<dyn Transcriber>, ModelError> {
    let (dir, engine) = (config.model_dir.clone(), config.engine);
    let fallback = if config.fallback { temperatures()[1..].to_vec() } else { Vec::new() };
    let options = SpeechOptions { beams: config.beams, fallback, ..SpeechOptions::default() };
    let window = Arc::new(OnceLock::new());
    let told = Arc::clone(&window);
    let load = move || {
        let model = SpeechModel::load(&dir, &engine, options)?;
        told.get_or_init(|| model.window_samples());
        Ok(model)
    };
    let limits = BatchLimits {
        max_rows: config.max_batch,
        max_cost: config.max_batch * BATCH_SAMPLES_PER_ROW,
        // The consumer has at most twice a batch in hand (see `SttWorker`), each job with one request at a time.
        queue: config.max_batch * 2,
    };
    let counted = metrics.clone();
    let observer =
        Arc::new(move |seen: Observation| counted.observe(seen.occasion.name(), seen.rows, seen.cost, seen.time));
    let (model, ready) = ModelHandle::spawn("speech-model", load, limits, observer);
    ready.await.map_err(|_| ModelError::Stopped)??;
    let window_samples = window.get().copied().unwrap_or_default();
    metrics.loaded(&config.model_dir, &config.engine.device.to_string(), &config.engine.compute.to_string());
    tracing::info!(model = %config.model_dir.display(), device = %config.engine.device, compute = %config.engine.compute, window_samples, "speech model ready");
    Ok(Arc::new(Engine { model, window_samples }))
}

/// Whether what `load` said may be otherwise a little later.
#[must_use]
pub fn may_pass(error: &ModelError) -> bool {
    error.may_pass()
}

#[async_trait]
impl Transcriber for Engine {
    async fn transcribe(&self, request: SpeechRequest) -> Result<SpeechHypothesis, TranscribeError> {
        self.model.submit(request).await.map_err(|error| match error {
            ModelError::Language { .. } | ModelError::TooLong { .. } => TranscribeError::Impossible(error.to_string()),
            ModelError::Stopped => TranscribeError::Broken(error.to_string()),
            other => TranscribeError::Failed(other.to_string()),
        })
    }

    async fn broken(&self) -> String {
        self.model.broken().await.to_string()
    }

    fn window_samples(&self) -> usize {
        self.window_samples
    }
}
