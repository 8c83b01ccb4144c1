//! The keys of a translation-worker.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use inference::compute::EngineOptions;
use shared::{
    config::Env,
    consumer,
    models::{DEFAULT_TRANSLATION_MODEL, dir_or_fault},
};
use uuid::Uuid;

use crate::pair::Pair;

/// `TRANSLATION_MODELS`: a model for each language pair, `en-es=MODEL,en-fr=MODEL`; a model is a directory or a name.
/// `*=MODEL` is one of many languages (M2M100, NLLB-200, MADLAD-400) for all pairs without a model of their own.
pub const ENV_MODELS: &str = "TRANSLATION_MODELS";
/// `TRANSLATION_MODEL`: one more model, whose name ends in its pair (`Helsinki-NLP/opus-mt-en-fr`), or `en-fr=MODEL`.
pub const ENV_MODEL: &str = "TRANSLATION_MODEL";
/// `TRANSLATION_MAX_BATCH`: most texts in one batch of a model.
pub const ENV_MAX_BATCH: &str = "TRANSLATION_MAX_BATCH";
/// Default of [`ENV_MAX_BATCH`]: texts are short, so batches may be larger than those of speech.
pub const DEFAULT_MAX_BATCH: usize = 32;
/// `TRANSLATION_BEAM_SIZE`: texts followed at once, at most [`MAX_BEAM_SIZE`]. More are a little better and cost as many
/// times the decoding. Default 1.
pub const ENV_BEAM_SIZE: &str = "TRANSLATION_BEAM_SIZE";
/// Most of [`ENV_BEAM_SIZE`].
pub const MAX_BEAM_SIZE: usize = 16;
/// `DEVICE`: `cpu`, `cuda`, `cuda:N` or `metal`.
pub const ENV_DEVICE: &str = "DEVICE";
/// `COMPUTE_TYPE`: `auto`, `int8`, `bf16`, `f16`, `f32` or `tf32`.
pub const ENV_COMPUTE_TYPE: &str = "COMPUTE_TYPE";
/// `CPU_THREADS`: threads of each model on a CPU; 0 means as many as there are cores, at most 8.
pub const ENV_CPU_THREADS: &str = "CPU_THREADS";
/// `WORKER_NAME`: name within the group, different for every living worker; made up when absent.
pub const ENV_WORKER_NAME: &str = "WORKER_NAME";
/// Health port of a translation-worker when `HEALTH_PORT` is absent.
pub const DEFAULT_HEALTH_PORT: u16 = 8082;

/// What a translation-worker must know.
#[derive(Debug, Clone)]
pub struct TranslationConfig {
    /// Directory of the model of each language pair.
    pub models: BTreeMap<Pair, PathBuf>,
    /// Directory of the model for all other pairs.
    pub any: Option<PathBuf>,
    /// Where and how the models compute.
    pub engine: EngineOptions,
    /// Texts followed at once.
    pub beams: usize,
    /// Most texts in one batch.
    pub max_batch: usize,
    /// Name within the group.
    pub name: String,
    /// How long jobs in hand may go on after shutdown.
    pub drain: Duration,
}

impl TranslationConfig {
    /// The defaults around models.
    #[must_use]
    pub fn of_models(models: BTreeMap<Pair, PathBuf>) -> Self {
        Self {
            models,
            any: None,
            engine: EngineOptions::default(),
            beams: 1,
            max_batch: DEFAULT_MAX_BATCH,
            name: format!("translation-{}", Uuid::new_v4().simple()),
            drain: consumer::DEFAULT_DRAIN,
        }
    }

    /// Reads `TRANSLATION_MODELS`, `TRANSLATION_MODEL`, `MODELS_DIR`, `DEVICE`, `COMPUTE_TYPE`, `CPU_THREADS`,
    /// `TRANSLATION_MAX_BATCH`, `TRANSLATION_BEAM_SIZE` and `WORKER_NAME`. Without any model named, the one that ships translates English to Spanish.
    pub fn from_env(env: &mut Env) -> Self {
        let (pairs, any) = models(env);
        let defaults = Self { any, ..Self::of_models(pairs) };
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
            max_batch: max_batch.max(1),
            name: env.get(ENV_WORKER_NAME).unwrap_or_else(|| defaults.name.clone()),
            ..defaults
        }
    }
}

fn models(env: &mut Env) -> (BTreeMap<Pair, PathBuf>, Option<PathBuf>) {
    let (many, one) = (env.get(ENV_MODELS).unwrap_or_default(), env.get(ENV_MODEL));
    let mut named: Vec<(&str, &str)> =
        many.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| (ENV_MODELS, item)).collect();
    named.extend(one.as_deref().map(|item| (ENV_MODEL, item)));
    if named.is_empty() {
        named.push((ENV_MODEL, DEFAULT_TRANSLATION_MODEL));
    }
    let (mut models, mut any) = (BTreeMap::new(), None);
    for (key, item) in named {
        if let Some(model) = item.strip_prefix("*=") {
            if any.replace(dir_or_fault(env, model)).is_some() {
                env.fault(format!("{key}: there are two models for all pairs"));
            }
            continue;
        }
        let (pair, model) = match item.split_once('=') {
            Some((pair, model)) => (pair.parse::<Pair>().ok(), model),
            None => (Pair::of_model_name(item), item),
        };
        let Some(pair) = pair else {
            env.fault(format!("{key}: `{item}` does not tell its language pair; write en-es=MODEL, or *=MODEL for one of many languages"));
            continue;
        };
        let dir = dir_or_fault(env, model);
        if models.insert(pair.clone(), dir).is_some() {
            env.fault(format!("{key}: there are two models for {pair}"));
        }
    }
    (models, any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of<const N: usize>(pairs: [(&str, &str); N]) -> String {
        let mut env = Env::of(pairs);
        TranslationConfig::from_env(&mut env);
        env.finish().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn pairs_come_from_the_table_and_from_the_name() {
        let mut env = Env::of([("TRANSLATION_MODELS", "en-es=/tmp, en-fr=/"), ("TRANSLATION_MODEL", "fr-en=/tmp")]);
        let config = TranslationConfig::from_env(&mut env);
        assert_eq!(env.finish(), Ok(()));
        let pairs: Vec<String> = config.models.keys().map(ToString::to_string).collect();
        assert_eq!(pairs, ["en-es", "en-fr", "fr-en"]);
    }

    #[test]
    fn a_model_of_many_languages_serves_all_pairs_without_their_own() {
        let mut env = Env::of([("TRANSLATION_MODELS", "*=/tmp,en-fr=/")]);
        let config = TranslationConfig::from_env(&mut env);
        assert_eq!(env.finish(), Ok(()));
        assert_eq!((config.any, config.models.len()), (Some(PathBuf::from("/tmp")), 1));
        assert!(faults_of([("TRANSLATION_MODELS", "*=/tmp,*=/")]).contains("two models for all pairs"));
    }

    #[test]
    fn what_cannot_be_understood_or_found_is_named() {
        assert!(faults_of([("TRANSLATION_MODEL", "my-model")]).contains("`my-model` does not tell its language pair"));
        assert!(faults_of([("TRANSLATION_MODELS", "en-es=/tmp,en-es=/")]).contains("two models for en-es"));
        let missing = faults_of([("TRANSLATION_MODEL", "Helsinki-NLP/opus-mt-en-fr"), ("MODELS_DIR", "/nonexistent")]);
        assert!(missing.contains("subtide models pull Helsinki-NLP/opus-mt-en-fr"), "{missing}");
    }

    #[test]
    fn the_model_that_ships_is_the_default() {
        let fault = faults_of([("MODELS_DIR", "/nonexistent")]);
        assert!(fault.contains("/nonexistent/demo-mt-en-es"), "{fault}");
    }
}
