//! The building blocks encoder and decoder share. Activations are (rows x steps, width), row after row.
//!
//! Each block computes in one of two ways, chosen where the model is loaded ([`Compute`](crate::compute::Compute)): with
//! our own kernels on a CPU, or with candle's operations on any device.

use candle_core::{Result, Tensor};
use serde::Deserialize;

pub(crate) mod attention;
mod encoder;
mod feed_forward;
pub(crate) mod host;
pub(crate) mod linear;
mod loader;
mod norm;

pub(crate) use encoder::EncoderStack;
pub(crate) use feed_forward::{FeedForward, Residual};
pub(crate) use linear::Linear;
pub(crate) use loader::Loader;
pub(crate) use norm::{Norm, NormKind};

/// The function between the two halves of a feed-forward block, under the names `config.json` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The exact GELU, not its tanh approximation (arXiv 1606.08415).
    Gelu,
    /// Its tanh approximation.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// max(0, x)
    Relu,
    /// x * sigmoid(x)
    #[serde(alias = "silu")]
    Swish,
}

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Relu => x.relu(),
            Self::Swish => x.silu(),
        }
    }

    fn kernel(self) -> kernels::Activation {
        match self {
            Self::Gelu => kernels::Activation::Gelu,
            Self::GeluTanh => kernels::Activation::GeluTanh,
            Self::Relu => kernels::Activation::Relu,
            Self::Swish => kernels::Activation::Silu,
        }
    }
}

/// What all blocks of one stack have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShape {
    /// Columns of the activations.
    pub(crate) width: usize,
    /// Attention heads...
    pub(crate) heads: usize,
    /// ...and the columns each has.
    pub(crate) head_size: usize,
    /// Columns between the halves of a feed-forward block.
    pub(crate) inner: usize,
    pub(crate) activation: Activation,
    /// Feed-forward blocks have a second, gating projection (T5 1.1).
    pub(crate) gated: bool,
    pub(crate) norm: NormKind,
    /// Normalise before each sublayer (Whisper), not after its residual (Marian).
    pub(crate) norm_first: bool,
    /// Divide scores by the root of the head size; T5 does not.
    pub(crate) scaled: bool,
}

impl BlockShape {
    /// Whisper's, Marian's and M2M100's: heads share the width, layer normalisation.
    pub(crate) fn bart(width: usize, heads: usize, inner: usize, activation: Activation, norm_first: bool) -> Self {
        Self {
            width,
            heads,
            head_size: width / heads.max(1),
            inner,
            activation,
            gated: false,
            norm: NormKind::Layer { epsilon: 1e-5 },
            norm_first,
            scaled: true,
        }
    }

    /// Columns of queries, keys or values.
    pub(crate) fn projected(&self) -> usize {
        self.heads * self.head_size
    }

    /// The queries' factor, folded into their projection.
    pub(crate) fn query_factor(&self) -> f64 {
        if self.scaled { (self.head_size as f64).powf(-0.5) } else { 1.0 }
    }
}

/// The pieces of a layer, each a module with a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Query,
    Key,
    Value,
    Output,
    Norm,
    CrossQuery,
    CrossKey,
    CrossValue,
    CrossOutput,
    CrossNorm,
    Widen,
    Gate,
    Narrow,
    FeedForwardNorm,
}

/// How a stack's modules are called in the file.
pub(crate) struct StackNames {
    /// The name the stack has, say `model.decoder`.
    pub(crate) prefix: String,
    /// The name of a layer's piece behind the prefix.
    pub(crate) piece: fn(layer: usize, piece: Piece) -> String,
    /// The normalisation after the last layer.
    pub(crate) final_norm: Option<String>,
}

impl StackNames {
    /// Whisper's, Marian's and M2M100's names.
    pub(crate) fn bart(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), piece: bart_piece, final_norm: Some(format!("{prefix}.layer_norm")) }
    }

    pub(crate) fn of(&self, layer: usize, piece: Piece) -> String {
        format!("{}.{}", self.prefix, (self.piece)(layer, piece))
    }
}

fn bart_piece(layer: usize, piece: Piece) -> String {
    let name = match piece {
        Piece::Query => "self_attn.q_proj",
        Piece::Key => "self_attn.k_proj",
        Piece::Value => "self_attn.v_proj",
        Piece::Output => "self_attn.out_proj",
        Piece::Norm => "self_attn_layer_norm",
        Piece::CrossQuery => "encoder_attn.q_proj",
        Piece::CrossKey => "encoder_attn.k_proj",
        Piece::CrossValue => "encoder_attn.v_proj",
        Piece::CrossOutput => "encoder_attn.out_proj",
        Piece::CrossNorm => "encoder_attn_layer_norm",
        Piece::Widen => "fc1",
        Piece::Gate => "fc_gate",
        Piece::Narrow => "fc2",
        Piece::FeedForwardNorm => "final_layer_norm",
    };
    format!("layers.{layer}.{name}")
}

/// Fixed positions, (positions, width): sines in the first half of the columns, cosines in the second.
/// Column i turns with the angle `position / 10000^(i * step)`.
pub(crate) fn sinusoids(positions: usize, width: usize, step: f64) -> Result<Tensor> {
    let half = width / 2;
    let angle = |position: usize, i: usize| position as f64 * (-(i as f64) * step * 10_000_f64.ln()).exp();
    let row = |p: usize| {
        (0..width).map(move |i| if i < half { angle(p, i).sin() as f32 } else { angle(p, i - half).cos() as f32 })
    };
    let table: Vec<f32> = (0..positions).flat_map(row).collect();
    Tensor::from_vec(table, (positions, width), &candle_core::Device::Cpu)
}
