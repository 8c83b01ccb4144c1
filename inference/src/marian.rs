//! Marian: configuration, weights, and the encoder from source tokens.

use std::sync::Arc;

use candle_core::Tensor;
use serde::Deserialize;

use crate::compute::Compute;
use crate::decoder::{Decoder, DecoderParts, Embedding, Positions};
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::layers::{Activation, BlockShape, EncoderStack, Linear, Loader, StackNames, sinusoids};
use crate::text_network::{Rows, TextNetwork};

/// The keys of `config.json` that shape the network.
#[derive(Debug, Clone, Deserialize)]
pub struct MarianConfig {
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
    /// Tokens of the source.
    pub vocab_size: usize,
    /// Tokens of the target, where it has a vocabulary of its own.
    #[serde(default)]
    pub decoder_vocab_size: Option<usize>,
    /// Tokens a text may have, on either side.
    pub max_position_embeddings: usize,
    /// Function of the feed-forward blocks.
    pub activation_function: Activation,
    /// Multiply embeddings by the square root of the width.
    #[serde(default)]
    pub scale_embedding: bool,
    /// Normalise before each sublayer and after the last one.
    #[serde(default)]
    pub normalize_before: bool,
    /// The token that fills short rows; never decoded.
    pub pad_token_id: u32,
    /// The token that ends a text.
    pub eos_token_id: u32,
    /// The token decoding starts from; padding where the file is silent.
    #[serde(default)]
    pub decoder_start_token_id: Option<u32>,
}

impl MarianConfig {
    fn block(&self, heads: usize, inner: usize) -> BlockShape {
        BlockShape::bart(self.d_model, heads, inner, self.activation_function, self.normalize_before)
    }

    /// The token decoding starts from.
    pub fn start(&self) -> u32 {
        self.decoder_start_token_id.unwrap_or(self.pad_token_id)
    }
}

/// The network.
#[derive(Debug)]
pub struct Marian {
    config: MarianConfig,
    embedding: Embedding,
    positions: Tensor,
    encoder: EncoderStack,
    decoder: Decoder,
}

impl Marian {
    /// Loads `config.json` and the weights.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong; the message names it.
    pub fn load(directory: &ModelDirectory, compute: &Compute) -> Result<Self, ModelError> {
        let config: MarianConfig = directory.json("config.json")?;
        let weights = Loader::open(directory, compute)?;
        let width = config.d_model;
        let target_size = config.decoder_vocab_size.unwrap_or(config.vocab_size);
        let (shared, encoder, decoder) =
            ("model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight");
        let factor = if config.scale_embedding { (width as f64).sqrt() } else { 1.0 };
        let bias = weights.optional("final_logits_bias", &[1, target_size])?;
        let bias = bias.map(|bias| bias.flatten_all()).transpose()?;
        let target = weights.any(&[shared, decoder], &[target_size, width])?;
        let (target_embedding, mut output) = Embedding::tied(&weights, &target, factor, bias.clone())?;
        // One matrix where both sides share it, and the scores too unless the file has another for them.
        let embedding = if weights.has(encoder) && !weights.has(shared) {
            Embedding::new(&weights, &weights.get(encoder, &[config.vocab_size, width])?, factor)?
        } else {
            target_embedding.clone()
        };
        if let Some(head) = weights.optional("lm_head.weight", &[target_size, width])? {
            output = Arc::new(Linear::new(&weights, &head, bias)?);
        }
        let positions = sinusoids(config.max_position_embeddings, width, 2.0 / width as f64)?
            .to_dtype(compute.dtype())?
            .to_device(compute.device())?;
        let encoder_shape = config.block(config.encoder_attention_heads, config.encoder_ffn_dim);
        let parts = DecoderParts {
            layers: config.decoder_layers,
            shape: config.block(config.decoder_attention_heads, config.decoder_ffn_dim),
            names: StackNames::bart("model.decoder"),
            embedding: target_embedding,
            positions: Positions::Table(positions.clone()),
            output,
            output_factor: 1.0,
        };
        let names = StackNames::bart("model.encoder");
        Ok(Self {
            encoder: EncoderStack::load(&weights, &names, config.encoder_layers, &encoder_shape)?,
            decoder: Decoder::load(&weights, parts)?,
            embedding,
            positions,
            config,
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &MarianConfig {
        &self.config
    }
}

impl TextNetwork for Marian {
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
