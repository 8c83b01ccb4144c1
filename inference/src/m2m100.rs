//! M2M100 and NLLB-200: configuration, weights, and the encoder from source tokens (arXiv 2010.11125, 2207.04672).
//!
//! One model for all languages: a source starts with its language's token and ends with the end token; a translation is
//! told its language by the first token after the start.

use std::sync::Arc;

use candle_core::Tensor;
use serde::Deserialize;

use crate::compute::Compute;
use crate::decoder::{Decoder, DecoderParts, Embedding, Positions};
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::layers::{Activation, BlockShape, EncoderStack, Linear, Loader, StackNames, sinusoids};
use crate::text_network::{Rows, TextNetwork};

/// The keys of `config.json` that shape the network. Defaults are those of the reference's `M2M100Config`.
#[derive(Debug, Clone, Deserialize)]
pub struct M2m100Config {
    /// Width of every layer.
    pub d_model: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Attention heads of each.
    pub encoder_attention_heads: usize,
    /// Inner width of their feed-forward blocks.
    pub encoder_ffn_dim: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Attention heads of each.
    pub decoder_attention_heads: usize,
    /// Inner width of their feed-forward blocks.
    pub decoder_ffn_dim: usize,
    /// Tokens of all languages, language tokens included.
    pub vocab_size: usize,
    /// Tokens a text may have, on either side.
    pub max_position_embeddings: usize,
    /// Function of the feed-forward blocks.
    #[serde(default = "relu")]
    pub activation_function: Activation,
    /// Multiply embeddings by the square root of the width.
    #[serde(default = "yes")]
    pub scale_embedding: bool,
    /// The token that fills short rows; never decoded. Positions count from behind it.
    #[serde(default = "pad")]
    pub pad_token_id: u32,
    /// The token that ends a text, and a source.
    #[serde(default = "end")]
    pub eos_token_id: u32,
    /// The token decoding starts from; the end token where the file is silent.
    #[serde(default)]
    pub decoder_start_token_id: Option<u32>,
}

fn relu() -> Activation {
    Activation::Relu
}

fn yes() -> bool {
    true
}

fn pad() -> u32 {
    1
}

fn end() -> u32 {
    2
}

impl M2m100Config {
    fn block(&self, heads: usize, inner: usize) -> BlockShape {
        BlockShape::bart(self.d_model, heads, inner, self.activation_function, true)
    }

    /// The token decoding starts from.
    pub fn start(&self) -> u32 {
        self.decoder_start_token_id.unwrap_or(self.eos_token_id)
    }

    /// A source as the encoder wants it: its language's token, its words, the end token.
    pub fn source(&self, language: u32, words: &[u32]) -> Vec<u32> {
        [&[language], words, &[self.eos_token_id]].concat()
    }

    /// What a translation into a language starts with.
    pub fn prompt(&self, language: u32) -> [u32; 2] {
        [self.start(), language]
    }

    /// The vectors of the positions, (positions, width): sinusoids whose first row belongs to the position behind
    /// padding's number. That is how fairseq counts, and what `M2M100SinusoidalPositionalEmbedding` computes for
    /// tokens that are not padding.
    fn positions(&self, compute: &Compute) -> candle_core::Result<Tensor> {
        let (width, first) = (self.d_model, self.pad_token_id as usize + 1);
        let step = 1.0 / (width / 2).saturating_sub(1).max(1) as f64;
        sinusoids(first + self.max_position_embeddings, width, step)?
            .narrow(0, first, self.max_position_embeddings)?
            .contiguous()?
            .to_dtype(compute.dtype())?
            .to_device(compute.device())
    }
}

/// The network.
#[derive(Debug)]
pub struct M2m100 {
    config: M2m100Config,
    embedding: Embedding,
    positions: Tensor,
    encoder: EncoderStack,
    decoder: Decoder,
}

impl M2m100 {
    /// Loads `config.json` and the weights.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong; the message names it.
    pub fn load(directory: &ModelDirectory, compute: &Compute) -> Result<Self, ModelError> {
        let config: M2m100Config = directory.json("config.json")?;
        let weights = Loader::open(directory, compute)?;
        let (width, size) = (config.d_model, config.vocab_size);
        let names = ["model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"];
        let factor = if config.scale_embedding { (width as f64).sqrt() } else { 1.0 };
        let table = weights.any(&names, &[size, width])?;
        let (embedding, mut output) = Embedding::tied(&weights, &table, factor, None)?;
        if let Some(head) = weights.optional("lm_head.weight", &[size, width])? {
            output = Arc::new(Linear::new(&weights, &head, None)?);
        }
        let positions = config.positions(compute)?;
        let parts = DecoderParts {
            layers: config.decoder_layers,
            shape: config.block(config.decoder_attention_heads, config.decoder_ffn_dim),
            names: StackNames::bart("model.decoder"),
            embedding: embedding.clone(),
            positions: Positions::Table(positions.clone()),
            output,
            output_factor: 1.0,
        };
        let (names, layers) = (StackNames::bart("model.encoder"), config.encoder_layers);
        let encoder_shape = config.block(config.encoder_attention_heads, config.encoder_ffn_dim);
        Ok(Self {
            encoder: EncoderStack::load(&weights, &names, layers, &encoder_shape)?,
            decoder: Decoder::load(&weights, parts)?,
            embedding,
            positions,
            config,
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &M2m100Config {
        &self.config
    }
}

impl TextNetwork for M2m100 {
    fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    fn max_source_tokens(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn encode(&self, sources: &[Vec<u32>]) -> Result<Tensor, ModelError> {
        let rows = Rows::new(sources, self.config.pad_token_id, self.max_source_tokens())?;
        let x = self.embedding.of(&rows.tokens)?.reshape((sources.len(), rows.longest, self.config.d_model))?;
        let x = x.broadcast_add(&self.positions.narrow(0, 0, rows.longest)?)?;
        Ok(self.encoder.forward(&x, &rows.lengths, None)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn config() -> M2m100Config {
        let json = r#"{"d_model": 8, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8,
            "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 20,
            "max_position_embeddings": 4}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_first_position_is_the_one_behind_padding() {
        let table = config().positions(&Compute::candle(&Device::Cpu)).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(table.len(), 4);
        // Half of the width turns from 1 down to 1/10000: position 2 of the first and of the last pair.
        for (column, angle) in [(0, 2f32), (3, 2e-4)] {
            assert!((table[0][column] - angle.sin()).abs() < 1e-6, "{table:?}");
            assert!((table[0][column + 4] - angle.cos()).abs() < 1e-6, "{table:?}");
        }
    }

    #[test]
    fn sources_and_translations_carry_their_language() {
        let config = config();
        assert_eq!(config.source(17, &[5, 6]), [17, 5, 6, 2]);
        assert_eq!(config.prompt(18), [2, 18]);
    }
}
