//! T5 and MADLAD-400: configuration, weights, and the encoder from source tokens (arXiv 1910.10683, 2309.04662).
//!
//! No biases, root-mean-square normalisation, and no positions in the embeddings: how far apart two tokens are is added
//! to the attention scores, from a table that all layers of a stack share.

use std::sync::Arc;

use candle_core::Tensor;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::compute::Compute;
use crate::decoder::{Decoder, DecoderParts, Embedding, Positions, RelativeBias};
use crate::directory::ModelDirectory;
use crate::error::ModelError;
use crate::layers::{Activation, BlockShape, EncoderStack, Linear, Loader, NormKind, Piece, StackNames};
use crate::text_network::{Rows, TextNetwork};

/// The keys of `config.json` that shape the network. Defaults are those of the reference's `T5Config`.
#[derive(Debug, Clone, Deserialize)]
pub struct T5Config {
    /// Width of every layer.
    pub d_model: usize,
    /// Width of an attention head; the heads together may be wider than the layer.
    pub d_kv: usize,
    /// Inner width of the feed-forward blocks.
    pub d_ff: usize,
    /// Layers of the encoder.
    pub num_layers: usize,
    /// Layers of the decoder; as many as the encoder's where the file is silent.
    #[serde(default)]
    pub num_decoder_layers: Option<usize>,
    /// Attention heads of each layer.
    pub num_heads: usize,
    /// Tokens.
    pub vocab_size: usize,
    /// Kinds of distance between two tokens.
    #[serde(default = "buckets")]
    pub relative_attention_num_buckets: usize,
    /// From here on all distances are alike.
    #[serde(default = "greatest")]
    pub relative_attention_max_distance: usize,
    /// Added to the mean square before its root is taken.
    #[serde(default = "epsilon")]
    pub layer_norm_epsilon: f64,
    /// How feed-forward blocks are built.
    #[serde(default)]
    pub feed_forward_proj: T5FeedForward,
    /// Whether the embeddings score tokens too. Then the hidden states are divided by the root of the width before.
    #[serde(default = "tied")]
    pub tie_word_embeddings: bool,
    /// Tokens of the texts it was trained on. The architecture has no limit; ours is this one.
    #[serde(default = "trained_length")]
    pub n_positions: usize,
    /// The token that fills short rows; never decoded.
    #[serde(default)]
    pub pad_token_id: u32,
    /// The token that ends a text, and a source.
    #[serde(default = "end")]
    pub eos_token_id: u32,
    /// The token decoding starts from; padding where the file is silent.
    #[serde(default)]
    pub decoder_start_token_id: Option<u32>,
}

fn buckets() -> usize {
    32
}

fn greatest() -> usize {
    128
}

fn epsilon() -> f64 {
    1e-6
}

fn tied() -> bool {
    true
}

fn trained_length() -> usize {
    512
}

fn end() -> u32 {
    1
}

/// The feed-forward blocks of a T5: `relu`, or `gated-gelu` and its like (arXiv 2002.05202).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct T5FeedForward {
    /// Function of the first half.
    pub activation: Activation,
    /// A second projection is multiplied with it.
    pub gated: bool,
}

impl Default for T5FeedForward {
    fn default() -> Self {
        Self { activation: Activation::Relu, gated: false }
    }
}

impl TryFrom<String> for T5FeedForward {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let gated = text.strip_prefix("gated-");
        // The reference reads "gated-gelu", and only that, as the tanh approximation.
        let name = if text == "gated-gelu" { "gelu_new" } else { gated.unwrap_or(&text) };
        let name: StrDeserializer<'_, ValueError> = name.into_deserializer();
        Ok(Self { activation: Activation::deserialize(name)?, gated: gated.is_some() })
    }
}

impl T5Config {
    fn block(&self) -> BlockShape {
        BlockShape {
            width: self.d_model,
            heads: self.num_heads,
            head_size: self.d_kv,
            inner: self.d_ff,
            activation: self.feed_forward_proj.activation,
            gated: self.feed_forward_proj.gated,
            norm: NormKind::Rms { epsilon: self.layer_norm_epsilon },
            norm_first: true,
            scaled: false,
        }
    }

    fn names(&self, side: Side) -> StackNames {
        let piece = match (side, self.feed_forward_proj.gated) {
            (Side::Encoder, false) => piece::<false, false>,
            (Side::Encoder, true) => piece::<false, true>,
            (Side::Decoder, false) => piece::<true, false>,
            (Side::Decoder, true) => piece::<true, true>,
        };
        let prefix = side.name();
        StackNames { prefix: prefix.to_owned(), piece, final_norm: Some(format!("{prefix}.final_layer_norm")) }
    }

    fn bias(&self, weights: &Loader, side: Side) -> Result<RelativeBias, ModelError> {
        let name = format!("{}.block.0.layer.0.SelfAttention.relative_attention_bias.weight", side.name());
        let table = weights.get(&name, &[self.relative_attention_num_buckets, self.num_heads])?;
        Ok(RelativeBias::new(&table, self.relative_attention_max_distance, side == Side::Encoder)?)
    }

    /// The token decoding starts from.
    pub fn start(&self) -> u32 {
        self.decoder_start_token_id.unwrap_or(self.pad_token_id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Encoder,
    Decoder,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }
}

/// A layer's sublayers are numbered: attention to itself, in the decoder attention to the source, feed-forward.
fn piece<const DECODER: bool, const GATED: bool>(layer: usize, piece: Piece) -> String {
    let last = if DECODER { 2 } else { 1 };
    let (sublayer, name) = match piece {
        Piece::Query => (0, "SelfAttention.q"),
        Piece::Key => (0, "SelfAttention.k"),
        Piece::Value => (0, "SelfAttention.v"),
        Piece::Output => (0, "SelfAttention.o"),
        Piece::Norm => (0, "layer_norm"),
        Piece::CrossQuery => (1, "EncDecAttention.q"),
        Piece::CrossKey => (1, "EncDecAttention.k"),
        Piece::CrossValue => (1, "EncDecAttention.v"),
        Piece::CrossOutput => (1, "EncDecAttention.o"),
        Piece::CrossNorm => (1, "layer_norm"),
        Piece::Widen if GATED => (last, "DenseReluDense.wi_0"),
        Piece::Widen => (last, "DenseReluDense.wi"),
        Piece::Gate => (last, "DenseReluDense.wi_1"),
        Piece::Narrow => (last, "DenseReluDense.wo"),
        Piece::FeedForwardNorm => (last, "layer_norm"),
    };
    format!("block.{layer}.layer.{sublayer}.{name}")
}

/// The network.
#[derive(Debug)]
pub struct T5 {
    config: T5Config,
    compute: Compute,
    embedding: Embedding,
    bias: RelativeBias,
    encoder: EncoderStack,
    decoder: Decoder,
}

impl T5 {
    /// Loads `config.json` and the weights.
    ///
    /// # Errors
    /// When a file, a key or a tensor is missing or wrong; the message names it.
    pub fn load(directory: &ModelDirectory, compute: &Compute) -> Result<Self, ModelError> {
        let config: T5Config = directory.json("config.json")?;
        let weights = Loader::open(directory, compute)?;
        let (width, size) = (config.d_model, config.vocab_size);
        let names = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
        let table = weights.any(&names, &[size, width])?;
        let (embedding, mut output) = Embedding::tied(&weights, &table, 1.0, None)?;
        if !config.tie_word_embeddings {
            output = Arc::new(Linear::new(&weights, &weights.get("lm_head.weight", &[size, width])?, None)?);
        }
        let parts = DecoderParts {
            layers: config.num_decoder_layers.unwrap_or(config.num_layers),
            shape: config.block(),
            names: config.names(Side::Decoder),
            embedding: embedding.clone(),
            positions: Positions::Relative { bias: config.bias(&weights, Side::Decoder)?, limit: config.n_positions },
            output,
            output_factor: if config.tie_word_embeddings { (width as f64).powf(-0.5) } else { 1.0 },
        };
        let names = config.names(Side::Encoder);
        Ok(Self {
            encoder: EncoderStack::load(&weights, &names, config.num_layers, &config.block())?,
            decoder: Decoder::load(&weights, parts)?,
            bias: config.bias(&weights, Side::Encoder)?,
            compute: compute.clone(),
            embedding,
            config,
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &T5Config {
        &self.config
    }
}

impl TextNetwork for T5 {
    fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    fn max_source_tokens(&self) -> usize {
        self.config.n_positions
    }

    fn encode(&self, sources: &[Vec<u32>]) -> Result<Tensor, ModelError> {
        let rows = Rows::new(sources, self.config.pad_token_id, self.max_source_tokens())?;
        let steps = rows.longest;
        let x = self.embedding.of(&rows.tokens)?.reshape((sources.len(), steps, self.config.d_model))?;
        let bias = self.bias.of(0, steps, steps);
        let bias = Tensor::from_vec(bias, (self.config.num_heads, steps, steps), self.compute.device())?;
        Ok(self.encoder.forward(&x, &rows.lengths, Some(&bias))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed_forward(text: &str) -> Result<T5FeedForward, serde_json::Error> {
        serde_json::from_value(serde_json::Value::from(text))
    }

    #[test]
    fn feed_forward_blocks_are_read_as_the_reference_reads_them() {
        let block = |activation, gated| T5FeedForward { activation, gated };
        assert_eq!(feed_forward("relu").unwrap(), block(Activation::Relu, false));
        assert_eq!(feed_forward("gelu").unwrap(), block(Activation::Gelu, false));
        assert_eq!(feed_forward("gated-gelu").unwrap(), block(Activation::GeluTanh, true));
        assert_eq!(feed_forward("gated-silu").unwrap(), block(Activation::Swish, true));
        assert!(feed_forward("gated-nothing").unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn pieces_carry_the_names_of_the_file() {
        let of = |piece: fn(usize, Piece) -> String, what| piece(3, what);
        assert_eq!(of(piece::<false, false>, Piece::Widen), "block.3.layer.1.DenseReluDense.wi");
        assert_eq!(of(piece::<true, true>, Piece::Widen), "block.3.layer.2.DenseReluDense.wi_0");
        assert_eq!(of(piece::<true, true>, Piece::CrossNorm), "block.3.layer.1.layer_norm");
        assert_eq!(of(piece::<false, true>, Piece::Output), "block.3.layer.0.SelfAttention.o");
    }
}
