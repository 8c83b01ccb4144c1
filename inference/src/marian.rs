//! Marian: configuration, weights, and the encoder from source tokens.

use candle_core::{Device, Tensor};
use serde::Deserialize;

use crate::decoder::{Decoder, DecoderParts, DecoderState};
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::layers::{Activation, BlockShape, EncoderStack, padding_mask, sinusoids};

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
        let (width, activation) = (self.d_model, self.activation_function);
        BlockShape { width, heads, inner, activation, norm_first: self.normalize_before }
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
    device: Device,
    embeddings: Tensor,
    embedding_scale: f64,
    positions: Tensor,
    encoder: EncoderStack,
    decoder: Decoder,
}

impl Marian {
    /// Loads `config.json` and the weights.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong; the message names it.
    pub fn load(directory: &ModelDirectory, device: &Device) -> Result<Self, ModelError> {
        let config: MarianConfig = directory.json("config.json")?;
        let weights = directory.weights(device)?;
        let width = config.d_model;
        let target_size = config.decoder_vocab_size.unwrap_or(config.vocab_size);
        let source_names = ["model.shared.weight", "model.encoder.embed_tokens.weight"];
        let target_names = ["model.shared.weight", "model.decoder.embed_tokens.weight"];
        let embeddings = weights.any(&source_names, &[config.vocab_size, width])?;
        let target = weights.any(&target_names, &[target_size, width])?;
        let output = weights.optional("lm_head.weight", &[target_size, width])?;
        let embedding_scale = if config.scale_embedding { (width as f64).sqrt() } else { 1.0 };
        let positions = sinusoids(config.max_position_embeddings, width, 2.0 / width as f64, device)?;
        let encoder_shape = config.block(config.encoder_attention_heads, config.encoder_ffn_dim);
        let parts = DecoderParts {
            layers: config.decoder_layers,
            shape: config.block(config.decoder_attention_heads, config.decoder_ffn_dim),
            output: output.unwrap_or_else(|| target.clone()),
            embeddings: target,
            embedding_scale,
            positions: positions.clone(),
            output_bias: weights.optional("final_logits_bias", &[1, target_size])?,
        };
        Ok(Self {
            encoder: EncoderStack::load(&weights, "model.encoder", config.encoder_layers, &encoder_shape)?,
            decoder: Decoder::load(&weights, "model.decoder", parts)?,
            device: device.clone(),
            embeddings,
            embedding_scale,
            positions,
            config,
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &MarianConfig {
        &self.config
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Source rows of any length, each ending in the end token, to the encoder's output, (rows, longest, width).
    /// Shorter rows are padded, the padding hidden.
    ///
    /// # Errors
    /// When a row has more tokens than the model has positions.
    pub fn encode(&self, sources: &[Vec<u32>]) -> Result<Tensor, ModelError> {
        let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
        let limit = self.config.max_position_embeddings;
        if longest > limit {
            return Err(ModelError::TooLong { what: "source text (tokens)", got: longest, limit });
        }
        let padding = std::iter::repeat(self.config.pad_token_id);
        let tokens: Vec<u32> =
            sources.iter().flat_map(|row| row.iter().copied().chain(padding.clone()).take(longest)).collect();
        let x = self.embeddings.index_select(&Tensor::new(tokens, &self.device)?, 0)?;
        let x = (x * self.embedding_scale)?.reshape((sources.len(), longest, self.config.d_model))?;
        let x = x.broadcast_add(&self.positions.narrow(0, 0, longest)?)?;
        Ok(self.encoder.forward(&x, self.mask(sources)?.as_ref())?)
    }

    /// Encodes, and projects the result for the decoder.
    ///
    /// # Errors
    /// As [`Marian::encode`].
    pub fn begin(&self, sources: &[Vec<u32>]) -> Result<DecoderState, ModelError> {
        self.decoder.begin(&self.encode(sources)?, self.mask(sources)?)
    }

    fn mask(&self, sources: &[Vec<u32>]) -> Result<Option<Tensor>, ModelError> {
        let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
        Ok(padding_mask(&lengths, &self.device)?)
    }
}
