//! Which network a directory holds, and the special tokens the loop needs of it.

use serde::Deserialize;

use crate::compute::Compute;
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::m2m100::M2m100;
use crate::marian::Marian;
use crate::t5::T5;
use crate::text_network::TextNetwork;

const CONFIG: &str = "config.json";

/// The keys that say which architecture it is.
#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(default)]
    model_type: Option<String>,
}

/// A network and the tokens around its texts.
pub(super) struct Loaded {
    pub(super) network: Box<dyn TextNetwork>,
    /// Decoding starts from it.
    pub(super) start: u32,
    /// It ends a text.
    pub(super) end: u32,
    /// It fills short rows.
    pub(super) pad: u32,
}

/// Loads what `model_type` in `config.json` names.
pub(super) fn load(directory: &ModelDirectory, compute: &Compute) -> Result<Loaded, ModelError> {
    let kind: Kind = directory.json(CONFIG)?;
    let kind = kind.model_type.unwrap_or_else(|| "marian".to_owned());
    // The families' configurations are types of their own, with these three under the same names.
    macro_rules! loaded {
        ($family:ty) => {{
            let network = <$family>::load(directory, compute)?;
            let config = network.config();
            let (start, end, pad) = (config.start(), config.eos_token_id, config.pad_token_id);
            Ok(Loaded { network: Box::new(network), start, end, pad })
        }};
    }
    match kind.as_str() {
        "marian" => loaded!(Marian),
        "m2m_100" => loaded!(M2m100),
        "t5" | "mt5" => loaded!(T5),
        other => {
            let reason = format!(
                "model_type \"{other}\" does not translate here; marian (opus-mt), m2m_100 (M2M100, NLLB-200) and t5 \
                 (MADLAD-400) do"
            );
            Err(ModelError::Malformed { path: directory.path().join(CONFIG), reason })
        }
    }
}
