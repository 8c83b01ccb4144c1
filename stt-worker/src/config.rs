//! The keys of an stt-worker.

use std::{path::PathBuf, time::Duration};

use inference::compute::EngineOptions;
use shared::{config::Env, consumer, models};
use uuid::Uuid;

use crate::policy::PolicyKind;

/// `STT_MAX_BATCH`: most decodes in one batch of the model.
pub const ENV_MAX_BATCH: &str = "STT_MAX_BATCH";
/// Default of [`ENV_MAX_BATCH`]: 16 rows give 70-95 % of the throughput of 64 on a large GPU at a third of the delay.
pub const DEFAULT_MAX_BATCH: usize = 16;
/// `STT_CONTEXT`: whether the model is told what was said before each utterance. Names are then spelt
/// alike from one utterance to the next; a mistake may be carried on, too. Models too small for it ignore it. Default
/// true.
pub const ENV_CONTEXT: &str = "STT_CONTEXT";
/// `STT_BEAM_SIZE`: texts followed at once, at most [`MAX_BEAM_SIZE`]. More are a little better and cost as many times
/// the decoding. Default 1.
pub const ENV_BEAM_SIZE: &str = "STT_BEAM_SIZE";
/// Most of [`ENV_BEAM_SIZE`].
pub const MAX_BEAM_SIZE: usize = 16;
/// `STT_FALLBACK`: whether a text that repeats itself or that the model doubts is decoded again at rising temperatures.
/// Better for recordings; live it costs time in just the moments that are hard. Default false.
pub const ENV_FALLBACK: &str = "STT_FALLBACK";
/// `STT_POLICY`: which words of a growing utterance are committed, `local-agreement` or `alignatt`.
pub const ENV_POLICY: &str = "STT_POLICY";
/// `DEVICE`: `cpu`, `cuda`, `cuda:N` or `metal`.
pub const ENV_DEVICE: &str = "DEVICE";
/// `COMPUTE_TYPE`: `auto`, `int8`, `bf16`, `f16`, `f32` or `tf32`.
pub const ENV_COMPUTE_TYPE: &str = "COMPUTE_TYPE";
/// `CPU_THREADS`: threads of each model on a CPU; 0 means as many as there are cores, at most 8.
pub const ENV_CPU_THREADS: &str = "CPU_THREADS";
/// `WORKER_NAME`: name within the group, different for every living worker; made up when absent.
pub const ENV_WORKER_NAME: &str = "WORKER_NAME";
/// Health port of an stt-worker when `HEALTH_PORT` is absent.
pub const DEFAULT_HEALTH_PORT: u16 = 8081;

/// What an stt-worker must know.
#[derive(Debug, Clone)]
pub struct SttConfig {
    /// Directory of the speech model.
    pub model_dir: PathBuf,
    /// Where and how the model computes.
    pub engine: EngineOptions,
    /// Texts followed at once.
    pub beams: usize,
    /// Whether doubtful texts are decoded again at higher temperatures.
    pub fallback: bool,
    /// Which words of a growing utterance are committed.
    pub policy: PolicyKind,
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
            engine: EngineOptions::default(),
            beams: 1,
            fallback: false,
            policy: PolicyKind::default(),
            max_batch: DEFAULT_MAX_BATCH,
            context: true,
            name: format!("stt-{}", Uuid::new_v4().simple()),
            drain: consumer::DEFAULT_DRAIN,
        }
    }

    /// Reads `STT_MODEL`, `MODEL_SIZE`, `MODELS_DIR`, `DEVICE`, `COMPUTE_TYPE`, `CPU_THREADS`, `STT_MAX_BATCH`,
    /// `STT_BEAM_SIZE`, `STT_FALLBACK`, `STT_POLICY`, `STT_CONTEXT` and `WORKER_NAME`.
    pub fn from_env(env: &mut Env) -> Self {
        let defaults = Self::of_model(models::speech_model_dir(env));
        let max_batch = env.parse_or(ENV_MAX_BATCH, DEFAULT_MAX_BATCH);
        if max_batch == 0 {
            env.fault(format!("{ENV_MAX_BATCH}=0: must be 1 or more"));
        }
        let beams = env.parse_or(ENV_BEAM_SIZE, 1);
        if !(1..=MAX_BEAM_SIZE).contains(&beams) {
            env.fault(format!("{ENV_BEAM_SIZE}={beams}: must be 1 to {MAX_BEAM_SIZE}"));
        }
        Self {
            engine: EngineOptions {
                device: env.parse_or(ENV_DEVICE, defaults.engine.device),
                compute: env.parse_or(ENV_COMPUTE_TYPE, defaults.engine.compute),
                threads: env.parse_or(ENV_CPU_THREADS, defaults.engine.threads),
            },
            beams,
            fallback: env.flag_or(ENV_FALLBACK, false),
            policy: env.parse_or(ENV_POLICY, defaults.policy),
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
        let mut env = Env::of([
            ("STT_MODEL", "/nonexistent/model"),
            ("DEVICE", "gpu"),
            ("STT_MAX_BATCH", "0"),
            ("STT_POLICY", "best"),
        ]);
        SttConfig::from_env(&mut env);
        let error = env.finish().unwrap_err().to_string();
        for part in ["subtide models pull /nonexistent/model", "DEVICE=gpu", "STT_MAX_BATCH=0", "alignatt"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn two_workers_never_share_a_made_up_name() {
        assert_ne!(SttConfig::of_model(PathBuf::new()).name, SttConfig::of_model(PathBuf::new()).name);
    }
}
