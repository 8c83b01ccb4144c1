//! A model directory in the Hugging Face layout: its JSON files and its weights.

mod gguf;
mod gguf_header;
mod pickle;
mod pickle_file;
#[doc(hidden)]
pub mod probe;
mod safetensors_file;
mod weights;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::alignment::AlignmentHead;
use crate::error::ModelError;
use gguf::GgufFile;
use pickle_file::PickleFile;
use safetensors_file::SafetensorsFile;
use weights::Source;
pub use weights::Weights;

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

    /// The model's weights as 32-bit floats on `device`: see [`ModelDirectory::weights_as`].
    ///
    /// # Errors
    /// [`ModelError::NoWeights`], or a file that makes no sense.
    pub fn weights(&self, device: &Device) -> Result<Weights, ModelError> {
        self.weights_as(device, DType::F32)
    }

    /// The model's weights, handed out as `dtype` on `device`, whatever the files hold. Only the files' indexes are read
    /// here; a tensor is read when it is asked for, so that no more than one is in memory twice.
    ///
    /// The first of these that is there: `model.safetensors` or its shards, `pytorch_model.bin` or its shards, a single
    /// `*.gguf` file.
    ///
    /// # Errors
    /// [`ModelError::NoWeights`], or a file that makes no sense.
    pub fn weights_as(&self, device: &Device, dtype: DType) -> Result<Weights, ModelError> {
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        if let Some(files) = self.shards("model.safetensors")? {
            for file in files {
                sources.push(Box::new(SafetensorsFile::open(file)?));
            }
        } else if let Some(files) = self.shards("pytorch_model.bin")? {
            for file in files {
                sources.push(Box::new(PickleFile::open(file)?));
            }
        } else {
            sources.push(Box::new(GgufFile::open(self.gguf()?)?));
        }
        Ok(Weights::new(self.path.clone(), sources, device.clone(), dtype))
    }

    /// The file `name`, or the files its index lists.
    fn shards(&self, name: &str) -> Result<Option<Vec<PathBuf>>, ModelError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: HashMap<String, String>,
        }
        if let Some(single) = self.file(name) {
            return Ok(Some(vec![single]));
        }
        let index_name = format!("{name}.index.json");
        if self.file(&index_name).is_none() {
            return Ok(None);
        }
        let index: Index = self.json(&index_name)?;
        let names: BTreeSet<String> = index.weight_map.into_values().collect();
        // A shard is a plain name in this directory: an index must not reach outside of it.
        match names.iter().find(|name| Path::new(name).components().count() != 1 || name.as_str() == "..") {
            Some(name) => Err(ModelError::Malformed {
                path: self.path.join(index_name),
                reason: format!("weight_map names \"{name}\", which is not a file beside it"),
            }),
            None => Ok(Some(names.iter().map(|name| self.path.join(name)).collect())),
        }
    }

    fn gguf(&self) -> Result<PathBuf, ModelError> {
        let fault = |e: std::io::Error| ModelError::Read { path: self.path.clone(), reason: e.to_string() };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            if path.extension().is_some_and(|extension| extension == "gguf") {
                found.push(path);
            }
        }
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(ModelError::NoWeights { path: self.path.clone() }),
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(ModelError::Malformed {
                path: self.path.clone(),
                reason: "holds several *.gguf files; keep the one to use".to_owned(),
            }),
        }
    }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|e| ModelError::Read { path: path.to_owned(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

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
