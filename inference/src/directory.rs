//! A model directory in the Hugging Face layout: its JSON files and its weights.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::alignment::AlignmentHead;
use crate::error::ModelError;

/// Token rules of `generation_config.json`; where that file is silent, of `config.json`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct GenerationConfig {
    /// Ids that must never be decoded.
    #[serde(default)]
    pub suppress_tokens: Option<Vec<i64>>,
    /// Ids that must not be decoded first.
    #[serde(default)]
    pub begin_suppress_tokens: Option<Vec<i64>>,
    /// Sequences that must never be decoded; only those of one token are heeded (Marian's padding).
    #[serde(default)]
    pub bad_words_ids: Option<Vec<Vec<i64>>>,
    /// Whisper: language token, written `<|en|>`, to its id. Restricts the model to these languages.
    #[serde(default)]
    pub lang_to_id: Option<HashMap<String, u32>>,
    /// Whisper: false for the English-only models, whose prompt has neither language nor task.
    #[serde(default)]
    pub is_multilingual: Option<bool>,
    /// Whisper: the heads of the cross-attention that follow the voice.
    #[serde(default)]
    pub alignment_heads: Option<Vec<AlignmentHead>>,
    /// Whisper: the first timestamp of a text is at most so many steps of 20 ms in.
    #[serde(default)]
    pub max_initial_timestamp_index: Option<u32>,
}

impl GenerationConfig {
    /// `self`, with what it leaves open taken from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            suppress_tokens: self.suppress_tokens.or(other.suppress_tokens),
            begin_suppress_tokens: self.begin_suppress_tokens.or(other.begin_suppress_tokens),
            bad_words_ids: self.bad_words_ids.or(other.bad_words_ids),
            lang_to_id: self.lang_to_id.or(other.lang_to_id),
            is_multilingual: self.is_multilingual.or(other.is_multilingual),
            alignment_heads: self.alignment_heads.or(other.alignment_heads),
            max_initial_timestamp_index: self.max_initial_timestamp_index.or(other.max_initial_timestamp_index),
        }
    }
}

/// The files of one model.
#[derive(Debug, Clone)]
pub struct ModelDirectory {
    path: PathBuf,
}

impl ModelDirectory {
    /// # Errors
    /// [`ModelError::NoDirectory`] when `path` is not a directory.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if !path.is_dir() {
            return Err(ModelError::NoDirectory { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's path when the directory has it.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        let path = self.path.join(name);
        path.is_file().then_some(path)
    }

    /// Reads a JSON file that must be there.
    ///
    /// # Errors
    /// When it cannot be read, or lacks a key; the message names the file and the key.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, ModelError> {
        let path = self.path.join(name);
        let bytes = read(&path)?;
        serde_json::from_slice(&bytes).map_err(|e| ModelError::Malformed { path, reason: e.to_string() })
    }

    /// `generation_config.json` over the same keys of `config.json`; both may be silent.
    ///
    /// # Errors
    /// When either file makes no sense.
    pub fn generation(&self) -> Result<GenerationConfig, ModelError> {
        let own = if self.file("generation_config.json").is_some() {
            self.json("generation_config.json")?
        } else {
            GenerationConfig::default()
        };
        Ok(own.or(self.json("config.json")?))
    }

    /// Reads all weights: `model.safetensors`, or the shards `model.safetensors.index.json` lists.
    /// They are handed out as 32-bit floats on `device`, whatever the file holds.
    ///
    /// # Errors
    /// [`ModelError::NoWeights`], or a file that cannot be read.
    pub fn weights(&self, device: &Device) -> Result<Weights, ModelError> {
        let mut tensors = HashMap::new();
        for file in self.weight_files()? {
            let loaded = candle_core::safetensors::load(&file, &Device::Cpu)
                .map_err(|e| ModelError::Malformed { path: file, reason: e.to_string() })?;
            tensors.extend(loaded);
        }
        Ok(Weights { path: self.path.clone(), tensors, device: device.clone() })
    }

    fn weight_files(&self) -> Result<Vec<PathBuf>, ModelError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: HashMap<String, String>,
        }
        const INDEX: &str = "model.safetensors.index.json";
        if let Some(single) = self.file("model.safetensors") {
            return Ok(vec![single]);
        }
        if self.file(INDEX).is_none() {
            return Err(ModelError::NoWeights { path: self.path.clone() });
        }
        let index: Index = self.json(INDEX)?;
        let names: BTreeSet<String> = index.weight_map.into_values().collect();
        // A shard is a plain name in this directory: an index must not reach outside of it.
        match names.iter().find(|name| Path::new(name).components().count() != 1 || name.as_str() == "..") {
            Some(name) => Err(ModelError::Malformed {
                path: self.path.join(INDEX),
                reason: format!("weight_map names \"{name}\", which is not a file beside it"),
            }),
            None => Ok(names.iter().map(|name| self.path.join(name)).collect()),
        }
    }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|e| ModelError::Read { path: path.to_owned(), reason: e.to_string() })
}

/// The tensors of a model by name.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    device: Device,
}

impl Weights {
    /// The first of `names` that the file has, with the shape `dims`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when there is none, or its shape is another.
    pub fn any(&self, names: &[&str], dims: &[usize]) -> Result<Tensor, ModelError> {
        match names.iter().find(|name| self.tensors.contains_key(**name)) {
            Some(name) => self.get(name, dims),
            None => Err(self.fault(names.join(" or "), "is missing".to_owned())),
        }
    }

    /// The tensor `name` with the shape `dims`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when it is missing or its shape is another.
    pub fn get(&self, name: &str, dims: &[usize]) -> Result<Tensor, ModelError> {
        let tensor = self.tensors.get(name).ok_or_else(|| self.fault(name.to_owned(), "is missing".to_owned()))?;
        if tensor.dims() != dims {
            let reason = format!("has the shape {:?}, config.json asks for {dims:?}", tensor.dims());
            return Err(self.fault(name.to_owned(), reason));
        }
        let ready = tensor.to_device(&self.device).and_then(|t| t.to_dtype(DType::F32));
        ready.map_err(|e| self.fault(name.to_owned(), e.to_string()))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Like [`Weights::get`], but `None` when the file has no such tensor.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when its shape is another.
    pub fn optional(&self, name: &str, dims: &[usize]) -> Result<Option<Tensor>, ModelError> {
        if self.tensors.contains_key(name) { self.get(name, dims).map(Some) } else { Ok(None) }
    }

    fn fault(&self, tensor: String, reason: String) -> ModelError {
        ModelError::Tensor { path: self.path.clone(), tensor, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("nowhere");
        let error = ModelDirectory::open(&gone).unwrap_err().to_string();
        assert!(error.contains("nowhere") && error.contains("subtide models pull"), "{error}");

        let model = ModelDirectory::open(dir.path()).unwrap();
        let error = model.weights(&Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("has no model.safetensors") && error.contains("subtide models pull"), "{error}");

        let error = model.json::<GenerationConfig>("config.json").unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
    }

    #[test]
    fn weights_come_from_one_file_or_from_shards_and_faults_name_the_tensor() {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelDirectory::open(dir.path()).unwrap();
        let half = tensor(&[1.0, 2.0]).to_dtype(DType::F16).unwrap();
        candle_core::safetensors::save(&HashMap::from([("a", half)]), dir.path().join("one.safetensors")).unwrap();
        candle_core::safetensors::save(&HashMap::from([("b", tensor(&[3.0]))]), dir.path().join("two.safetensors"))
            .unwrap();
        let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
        std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();

        let weights = model.weights(&Device::Cpu).unwrap();
        assert_eq!(weights.get("a", &[2]).unwrap().to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!(weights.get("b", &[1]).unwrap().to_vec1::<f32>().unwrap(), [3.0]);
        assert!(weights.optional("c", &[1]).unwrap().is_none());
        let error = weights.get("c", &[1]).unwrap_err().to_string();
        assert!(error.contains("tensor c is missing"), "{error}");
        let error = weights.get("b", &[4]).unwrap_err().to_string();
        assert!(error.contains("[1]") && error.contains("[4]"), "{error}");
    }

    #[test]
    fn an_index_cannot_name_files_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let index = r#"{"weight_map": {"a": "../secret.safetensors"}}"#;
        std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        let error = ModelDirectory::open(dir.path()).unwrap().weights(&Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("../secret.safetensors"), "{error}");
    }

    #[test]
    fn generation_config_wins_over_config() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), r#"{"suppress_tokens": [1], "begin_suppress_tokens": [2]}"#)
            .unwrap();
        std::fs::write(dir.path().join("generation_config.json"), r#"{"suppress_tokens": [9]}"#).unwrap();
        let rules = ModelDirectory::open(dir.path()).unwrap().generation().unwrap();
        assert_eq!((rules.suppress_tokens, rules.begin_suppress_tokens), (Some(vec![9]), Some(vec![2])));
    }
}
