//! Which of a model's files inference needs. Pure.

use super::hub::HubFile;

/// Wanted where they are there: settings, tokenizers and vocabularies.
const SMALL_FILES: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "source.spm",
    "target.spm",
];
const WEIGHTS: &str = "model.safetensors";
const SHARD_INDEX: &str = "model.safetensors.index.json";
const PICKLED_WEIGHTS: &str = "pytorch_model.bin";

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
    /// Only the pickle format.
    #[error(
        "{model} has its weights only as pytorch_model.bin, which Subtide cannot load yet; if the model's page shows a \
         pull request N that adds model.safetensors, use `--revision refs/pr/N`, or convert it with the transformers \
         library: AutoModel.from_pretrained(..).save_pretrained(..)"
    )]
    OnlyPickled {
        /// The model.
        model: String,
    },
    /// No weights at all.
    #[error("{model} has no weights (neither model.safetensors nor shards of it)")]
    NoWeights {
        /// The model.
        model: String,
    },
}

/// The files to get, small ones first, so that a directory with weights is a whole one.
///
/// # Errors
/// When a name is unsafe, or the model could not be loaded.
pub(super) fn select<'a>(model: &str, files: &'a [HubFile]) -> Result<Vec<&'a HubFile>, SelectionError> {
    let model = model.to_owned();
    if let Some(bad) = files.iter().find(|file| is_unsafe(&file.name)) {
        return Err(SelectionError::UnsafeName { model, file: bad.name.clone() });
    }
    let find = |name: &str| files.iter().find(|file| file.name == name);
    if find("config.json").is_none() {
        return Err(SelectionError::NoConfig { model });
    }
    let mut selected: Vec<_> = SMALL_FILES.into_iter().filter_map(find).collect();
    let shards: Vec<_> = files.iter().filter(|file| is_shard(&file.name)).collect();
    match (find(WEIGHTS), find(SHARD_INDEX)) {
        (Some(weights), _) => selected.push(weights),
        (None, Some(index)) if !shards.is_empty() => {
            selected.push(index);
            selected.extend(shards);
        }
        _ if find(PICKLED_WEIGHTS).is_some() => return Err(SelectionError::OnlyPickled { model }),
        _ => return Err(SelectionError::NoWeights { model }),
    }
    Ok(selected)
}

/// `model-00001-of-00002.safetensors`, at the top.
fn is_shard(name: &str) -> bool {
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("model-")
        .and_then(|rest| rest.strip_suffix(".safetensors"))
        .and_then(|rest| rest.split_once("-of-"))
        .is_some_and(|(n, of)| number(n) && number(of))
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
        Ok(select("o/m", &listed(names))?.into_iter().map(|file| file.name.clone()).collect())
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
    fn a_model_that_could_not_be_loaded_is_refused() {
        let model = "o/m".to_owned();
        let pickled = ["config.json", "pytorch_model.bin"];
        assert_eq!(selected(&pickled), Err(SelectionError::OnlyPickled { model: model.clone() }));
        assert_eq!(selected(&["config.json"]), Err(SelectionError::NoWeights { model: model.clone() }));
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
