//! Which of a model's files inference needs. Pure.

use super::hub::HubFile;

/// Wanted where they are there: settings, tokenizers and vocabularies.
const SMALL_FILES: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "source.spm",
    "target.spm",
    "target_vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
];
/// Formats of weights, the best first: the file, or else shards with their index.
const WEIGHTS: [Format; 2] = [
    Format { whole: "model.safetensors", index: "model.safetensors.index.json", shard: ("model-", ".safetensors") },
    Format { whole: "pytorch_model.bin", index: "pytorch_model.bin.index.json", shard: ("pytorch_model-", ".bin") },
];

struct Format {
    whole: &'static str,
    index: &'static str,
    /// What the names of shards begin and end with, around their numbers.
    shard: (&'static str, &'static str),
}

/// Why a model on the hub is of no use here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// The hub names a file that would lie outside the model's directory.
    #[error("the hub lists a file named `{file}` for {model}: such a name could lead out of its directory; not pulled")]
    UnsafeName {
        /// The model.
        model: String,
        /// The name.
        file: String,
    },
    /// Without it the kind of model is unknown.
    #[error("{model} has no config.json: it is not a model in the Hugging Face layout")]
    NoConfig {
        /// The model.
        model: String,
    },
    /// No weights at all.
    #[error(
        "{model} has no weights Subtide can load (model.safetensors, pytorch_model.bin, or shards of either){}",
        if ggufs.is_empty() { String::new() } else { format!("; with --gguf it can be one of {}", ggufs.join(", ")) }
    )]
    NoWeights {
        /// The model.
        model: String,
        /// The GGUF files it has.
        ggufs: Vec<String>,
    },
    /// It has not the file that was asked for.
    #[error("{model} has no {file}; it has {}", if ggufs.is_empty() { "no GGUF file".to_owned() } else { ggufs.join(", ") })]
    NoGguf {
        /// The model.
        model: String,
        /// The file asked for.
        file: String,
        /// The GGUF files it has.
        ggufs: Vec<String>,
    },
}

/// The files to get, small ones first, so that a directory with weights is a whole one. `gguf` names a file to take
/// instead of the other weights.
///
/// # Errors
/// When a name is unsafe, or the model could not be loaded.
pub(super) fn select<'a>(
    model: &str,
    files: &'a [HubFile],
    gguf: Option<&str>,
) -> Result<Vec<&'a HubFile>, SelectionError> {
    let model = model.to_owned();
    if let Some(bad) = files.iter().find(|file| is_unsafe(&file.name)) {
        return Err(SelectionError::UnsafeName { model, file: bad.name.clone() });
    }
    let find = |name: &str| files.iter().find(|file| file.name == name);
    if find("config.json").is_none() {
        return Err(SelectionError::NoConfig { model });
    }
    let mut selected: Vec<_> = SMALL_FILES.into_iter().filter_map(find).collect();
    let top_gguf = |name: &str| name.ends_with(".gguf") && !name.contains('/');
    let ggufs = || files.iter().map(|file| file.name.clone()).filter(|name| top_gguf(name)).collect();
    if let Some(file) = gguf {
        let wanted = find(file).filter(|file| top_gguf(&file.name));
        selected.push(wanted.ok_or_else(|| SelectionError::NoGguf { model, file: file.to_owned(), ggufs: ggufs() })?);
        return Ok(selected);
    }
    let weights = WEIGHTS.iter().find_map(|format| format.of(files));
    selected.extend(weights.ok_or_else(|| SelectionError::NoWeights { model, ggufs: ggufs() })?);
    Ok(selected)
}

impl Format {
    /// The files that hold weights in this format; `None` when there are none.
    fn of<'a>(&self, files: &'a [HubFile]) -> Option<Vec<&'a HubFile>> {
        let find = |name: &str| files.iter().find(|file| file.name == name);
        if let Some(whole) = find(self.whole) {
            return Some(vec![whole]);
        }
        let shards: Vec<_> = files.iter().filter(|file| self.is_shard(&file.name)).collect();
        let index = find(self.index).filter(|_| !shards.is_empty())?;
        Some([vec![index], shards].concat())
    }

    /// `model-00001-of-00002.safetensors`, at the top.
    fn is_shard(&self, name: &str) -> bool {
        let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        name.strip_prefix(self.shard.0)
            .and_then(|rest| rest.strip_suffix(self.shard.1))
            .and_then(|rest| rest.split_once("-of-"))
            .is_some_and(|(n, of)| number(n) && number(of))
    }
}

/// Subdirectories are usual (and never selected); what climbs or starts elsewhere is not.
fn is_unsafe(name: &str) -> bool {
    name.is_empty()
        || name.contains(['\\', '\0', ':'])
        || name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::super::hub::Digest;
    use super::*;

    fn listed(names: &[&str]) -> Vec<HubFile> {
        let file = |name: &&str| HubFile { name: (*name).to_owned(), size: 1, digest: Digest::GitBlob(String::new()) };
        names.iter().map(file).collect()
    }

    fn selected(names: &[&str]) -> Result<Vec<String>, SelectionError> {
        Ok(select("o/m", &listed(names), None)?.into_iter().map(|file| file.name.clone()).collect())
    }

    #[test]
    fn only_what_inference_needs_is_taken_weights_last() {
        let names = [
            "model.safetensors",
            "README.md",
            "config.json",
            "flax_model.msgpack",
            "pytorch_model.bin",
            "model.fp32-00001-of-00002.safetensors",
            "onnx/model.onnx",
            "tokenizer.json",
            "model.safetensors.index.json",
        ];
        assert_eq!(selected(&names).unwrap(), ["config.json", "tokenizer.json", "model.safetensors"]);
    }

    #[test]
    fn shards_come_with_their_index() {
        let names = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model-x-of-y.safetensors",
            "model.safetensors.index.json",
            "config.json",
        ];
        let expected = [names[4], names[3], names[0], names[1]];
        assert_eq!(selected(&names).unwrap(), expected);
    }

    #[test]
    fn pickles_are_taken_where_there_is_nothing_better_and_a_gguf_file_when_asked_for() {
        let names = ["config.json", "pytorch_model.bin", "model-q4k.gguf", "spiece.model"];
        assert_eq!(selected(&names).unwrap(), ["config.json", "spiece.model", "pytorch_model.bin"]);
        let shards = ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json", "config.json"];
        assert_eq!(selected(&shards).unwrap(), [shards[2], shards[1], shards[0]]);
        let files = listed(&names);
        let gguf = select("o/m", &files, Some("model-q4k.gguf")).unwrap();
        assert_eq!(gguf.last().map(|file| file.name.as_str()), Some("model-q4k.gguf"));
        assert_eq!(gguf.len(), 3);
        let error = select("o/m", &files, Some("model-q8.gguf")).unwrap_err().to_string();
        assert!(error.contains("no model-q8.gguf; it has model-q4k.gguf"), "{error}");
    }

    #[test]
    fn a_model_that_could_not_be_loaded_is_refused() {
        let model = "o/m".to_owned();
        let none = |ggufs: &[&str]| {
            Err(SelectionError::NoWeights {
                model: model.clone(),
                ggufs: ggufs.iter().map(|s| s.to_string()).collect(),
            })
        };
        assert_eq!(selected(&["config.json"]), none(&[]));
        assert_eq!(selected(&["config.json", "q4k.gguf", "old/q8.gguf"]), none(&["q4k.gguf"]));
        assert_eq!(selected(&["model.safetensors"]), Err(SelectionError::NoConfig { model }));
    }

    #[test]
    fn a_file_name_cannot_lead_out_of_the_directory() {
        for name in ["../config.json", "a/../../x", "/etc/passwd", "..", "a//b", "C:\\x", "a\\..\\b", ""] {
            let file = name.to_owned();
            let refused = selected(&["config.json", "model.safetensors", name]);
            assert_eq!(refused, Err(SelectionError::UnsafeName { model: "o/m".to_owned(), file }), "{name}");
        }
    }
}
