//! The keys of an stt-worker.

use std::{path::PathBuf, time::Duration};

use inference::device::DeviceChoice;
use shared::{config::Env, consumer, models};
use uuid::Uuid;

/// `STT_MAX_BATCH`: most decodes in one batch of the model.
pub const ENV_MAX_BATCH: &str = "STT_MAX_BATCH";
/// Default of [`ENV_MAX_BATCH`]: 16 rows give 70-95 % of the throughput of 64 on a large GPU at a third of the delay.
pub const DEFAULT_MAX_BATCH: usize = 16;
/// `STT_CONTEXT`: whether the model is told what was said before each utterance. Names are then spelt
/// alike from one utterance to the next; a mistake may be carried on, too. Models too small for it ignore it. Default
/// true.
pub const ENV_CONTEXT: &str = "STT_CONTEXT";
/// `DEVICE`: `cpu`, `cuda` or `cuda:N`.
pub const ENV_DEVICE: &str = "DEVICE";
/// `WORKER_NAME`: name within the group, different for every living worker; made up when absent.
pub const ENV_WORKER_NAME: &str = "WORKER_NAME";
/// Health port of an stt-worker when `HEALTH_PORT` is absent.
pub const DEFAULT_HEALTH_PORT: u16 = 8081;

/// What an stt-worker must know.
#[derive(Debug, Clone)]
pub struct SttConfig {
    /// Directory of the speech model.
    pub model_dir: PathBuf,
    /// Where the model runs.
    pub device: DeviceChoice,
    /// Most decodes in one batch.
    pub max_batch: usize,
    /// Whether the model is told what was said before each utterance.
    pub context: bool,
    /// Name within the group.
    pub name: String,
    /// How long jobs in hand may go on after shutdown.
    pub drain: Duration,
}

impl SttConfig {
    /// The defaults around a model.
    #[must_use]
    pub fn of_model(model_dir: PathBuf) -> Self {
        Self {
            model_dir,
            device: DeviceChoice::default(),
            max_batch: DEFAULT_MAX_BATCH,
            context: true,
            name: format!("stt-{}", Uuid::new_v4().simple()),
            drain: consumer::DEFAULT_DRAIN,
        }
    }

    /// Reads `STT_MODEL`, `MODEL_SIZE`, `MODELS_DIR`, `DEVICE`, `STT_MAX_BATCH`, `STT_CONTEXT` and `WORKER_NAME`.
    pub fn from_env(env: &mut Env) -> Self {
        let defaults = Self::of_model(models::speech_model_dir(env));
        let max_batch = env.parse_or(ENV_MAX_BATCH, DEFAULT_MAX_BATCH);
        if max_batch == 0 {
            env.fault(format!("{ENV_MAX_BATCH}=0: must be 1 or more"));
        }
        Self {
            device: env.parse_or(ENV_DEVICE, DeviceChoice::default()),
            max_batch: max_batch.max(1),
            context: env.flag_or(ENV_CONTEXT, true),
            name: env.get(ENV_WORKER_NAME).unwrap_or_else(|| defaults.name.clone()),
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_all_keys_are_told_together() {
        let mut env = Env::of([("STT_MODEL", "/nonexistent/model"), ("DEVICE", "gpu"), ("STT_MAX_BATCH", "0")]);
        SttConfig::from_env(&mut env);
        let error = env.finish().unwrap_err().to_string();
        for part in ["subtide models pull /nonexistent/model", "DEVICE=gpu", "STT_MAX_BATCH=0"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn two_workers_never_share_a_made_up_name() {
        assert_ne!(SttConfig::of_model(PathBuf::new()).name, SttConfig::of_model(PathBuf::new()).name);
    }
}
