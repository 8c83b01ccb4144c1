//! The building blocks encoder and decoder share. Activations are (rows x steps, width), row after row.

use candle_core::{D, Result, Tensor};
use candle_nn::{LayerNorm, Module};
use serde::Deserialize;

use crate::directory::Weights;
use crate::error::ModelError;

/// Added to a score, it makes the softmax exactly 0. Finite, so that a row with nothing to see stays a number.
pub(crate) const MASKED: f32 = -30_000.0;

/// The function between the two halves of a feed-forward block, under the names `config.json` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The exact GELU, not its tanh approximation.
    Gelu,
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
            Self::Relu => x.relu(),
            Self::Swish => x.silu(),
        }
    }
}

/// What all blocks of one stack have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShape {
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) inner: usize,
    pub(crate) activation: Activation,
    /// Normalise before each sublayer (Whisper), not after its residual (Marian).
    pub(crate) norm_first: bool,
}

/// One or more projections of the same input, side by side, so that they cost one matrix product.
#[derive(Debug)]
pub(crate) struct Linear {
    /// (in, out), a transposed view.
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn load(
        weights: &Weights,
        name: &str,
        input: usize,
        output: usize,
    ) -> std::result::Result<Self, ModelError> {
        Self::side_by_side(weights, &[(name, 1.0)], input, output)
    }

    /// Each part is a name and a factor its outputs are multiplied by. A part without bias gets zeros.
    pub(crate) fn side_by_side(
        weights: &Weights,
        parts: &[(&str, f64)],
        input: usize,
        output: usize,
    ) -> std::result::Result<Self, ModelError> {
        let (mut columns, mut biases) = (Vec::new(), Vec::new());
        for (name, factor) in parts {
            let weight = weights.get(&format!("{name}.weight"), &[output, input])?;
            let bias = match weights.optional(&format!("{name}.bias"), &[output])? {
                Some(bias) => bias,
                None => Tensor::zeros(output, weight.dtype(), weight.device())?,
            };
            columns.push((weight * *factor)?);
            biases.push((bias * *factor)?);
        }
        Ok(Self { weight: Tensor::cat(&columns, 0)?.t()?, bias: Tensor::cat(&biases, 0)? })
    }

    /// (n, in) to (n, out)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

pub(crate) fn load_norm(weights: &Weights, name: &str, width: usize) -> std::result::Result<LayerNorm, ModelError> {
    const EPSILON: f64 = 1e-5;
    let weight = weights.get(&format!("{name}.weight"), &[width])?;
    let bias = weights.get(&format!("{name}.bias"), &[width])?;
    Ok(LayerNorm::new(weight, bias, EPSILON))
}

/// A sublayer with its residual and its normalisation, on the side the architecture has it.
#[derive(Debug)]
pub(crate) struct Residual {
    norm: LayerNorm,
    first: bool,
}

impl Residual {
    pub(crate) fn load(weights: &Weights, name: &str, shape: &BlockShape) -> std::result::Result<Self, ModelError> {
        Ok(Self { norm: load_norm(weights, name, shape.width)?, first: shape.norm_first })
    }

    pub(crate) fn around(&self, x: &Tensor, sublayer: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if self.first { x + sublayer(&self.norm.forward(x)?)? } else { self.norm.forward(&(x + sublayer(x)?)?) }
    }
}

/// The two-layer block after attention, with its residual.
#[derive(Debug)]
pub(crate) struct FeedForward {
    residual: Residual,
    widen: Linear,
    narrow: Linear,
    activation: Activation,
}

impl FeedForward {
    pub(crate) fn load(weights: &Weights, layer: &str, shape: &BlockShape) -> std::result::Result<Self, ModelError> {
        Ok(Self {
            residual: Residual::load(weights, &format!("{layer}.final_layer_norm"), shape)?,
            widen: Linear::load(weights, &format!("{layer}.fc1"), shape.width, shape.inner)?,
            narrow: Linear::load(weights, &format!("{layer}.fc2"), shape.inner, shape.width)?,
            activation: shape.activation,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.residual.around(x, |x| self.narrow.forward(&self.activation.apply(&self.widen.forward(x)?)?))
    }
}

/// Part number `part` of `parts` projections: (rows x steps, parts x width) to (rows, heads, steps, width / heads).
pub(crate) fn heads_of(x: &Tensor, rows: usize, heads: usize, part: usize, parts: usize) -> Result<Tensor> {
    let (total, width) = x.dims2()?;
    let x = x.reshape((rows, total / rows, parts, heads, width / parts / heads))?;
    x.narrow(2, part, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()
}

/// Scaled queries over keys and values, all (rows, heads, steps, size), to (rows x steps, heads x size).
/// `keys` come transposed: (rows, heads, size, steps). `mask` is added to the scores.
pub(crate) fn attend(queries: &Tensor, keys: &Tensor, values: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let (rows, heads, steps, size) = queries.dims4()?;
    let scores = queries.matmul(keys)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    let seen = candle_nn::ops::softmax_last_dim(&scores)?.matmul(values)?;
    seen.transpose(1, 2)?.reshape((rows * steps, heads * size))
}

/// The queries' factor, folded into their projection.
pub(crate) fn query_scale(shape: &BlockShape) -> f64 {
    ((shape.width / shape.heads) as f64).powf(-0.5)
}

#[derive(Debug)]
struct EncoderLayer {
    residual: Residual,
    project: Linear,
    output: Linear,
    feed_forward: FeedForward,
}

/// The layers of an encoder, and the normalisation after them where the architecture has one.
#[derive(Debug)]
pub(crate) struct EncoderStack {
    layers: Vec<EncoderLayer>,
    norm: Option<LayerNorm>,
    heads: usize,
}

impl EncoderStack {
    /// `prefix` is the name the stack has in the file, say `model.encoder`.
    pub(crate) fn load(
        weights: &Weights,
        prefix: &str,
        layers: usize,
        shape: &BlockShape,
    ) -> std::result::Result<Self, ModelError> {
        let layers = (0..layers)
            .map(|i| EncoderLayer::load(weights, &format!("{prefix}.layers.{i}"), shape))
            .collect::<std::result::Result<_, _>>()?;
        let norm =
            shape.norm_first.then(|| load_norm(weights, &format!("{prefix}.layer_norm"), shape.width)).transpose()?;
        Ok(Self { layers, norm, heads: shape.heads })
    }

    /// (rows, steps, width) to the same shape. `mask`, (rows, 1, 1, steps), hides padding.
    pub(crate) fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (rows, steps, width) = x.dims3()?;
        let mut x = x.reshape((rows * steps, width))?;
        for layer in &self.layers {
            x = layer.forward(&x, rows, self.heads, mask)?;
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x)?;
        }
        x.reshape((rows, steps, width))
    }
}

impl EncoderLayer {
    fn load(weights: &Weights, layer: &str, shape: &BlockShape) -> std::result::Result<Self, ModelError> {
        let part = |name: &str| format!("{layer}.self_attn.{name}_proj");
        let (q, k, v) = (part("q"), part("k"), part("v"));
        let parts = [(q.as_str(), query_scale(shape)), (k.as_str(), 1.0), (v.as_str(), 1.0)];
        Ok(Self {
            residual: Residual::load(weights, &format!("{layer}.self_attn_layer_norm"), shape)?,
            project: Linear::side_by_side(weights, &parts, shape.width, shape.width)?,
            output: Linear::load(weights, &part("out"), shape.width, shape.width)?,
            feed_forward: FeedForward::load(weights, layer, shape)?,
        })
    }

    fn forward(&self, x: &Tensor, rows: usize, heads: usize, mask: Option<&Tensor>) -> Result<Tensor> {
        let x = self.residual.around(x, |x| {
            let projected = self.project.forward(x)?;
            let part = |i| heads_of(&projected, rows, heads, i, 3);
            self.output.forward(&attend(&part(0)?, &part(1)?.t()?, &part(2)?, mask)?)
        })?;
        self.feed_forward.forward(&x)
    }
}

/// A mask (rows, 1, 1, longest) that hides what lies beyond each row's length; `None` when all are equally long.
pub(crate) fn padding_mask(lengths: &[usize], device: &candle_core::Device) -> Result<Option<Tensor>> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    if lengths.iter().all(|length| *length == longest) {
        return Ok(None);
    }
    let row = |length: &usize| {
        let length = *length;
        (0..longest).map(move |i| if i < length { 0.0 } else { MASKED })
    };
    let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
    Tensor::from_vec(mask, (lengths.len(), 1, 1, longest), device).map(Some)
}

/// Fixed positions, (positions, width): sines in the first half of the columns, cosines in the second.
/// Column i turns with the angle `position / 10000^(i * step)`.
pub(crate) fn sinusoids(positions: usize, width: usize, step: f64, device: &candle_core::Device) -> Result<Tensor> {
    let half = width / 2;
    let angle = |position: usize, i: usize| position as f64 * (-(i as f64) * step * 10_000_f64.ln()).exp();
    let row = |p: usize| {
        (0..width).map(move |i| if i < half { angle(p, i).sin() as f32 } else { angle(p, i - half).cos() as f32 })
    };
    let table: Vec<f32> = (0..positions).flat_map(row).collect();
    Tensor::from_vec(table, (positions, width), device)
}

/// Index of the largest value of each row and the logarithm of its share in the softmax: (rows, 2) as floats,
/// in which every id under 2^24 is exact. One transfer tells the host both.
pub(crate) fn best(logits: &Tensor) -> Result<Vec<(u32, f32)>> {
    let id = logits.argmax_keepdim(D::Minus1)?;
    let top = logits.gather(&id, D::Minus1)?;
    let total = logits.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let both = Tensor::cat(&[id.to_dtype(logits.dtype())?, total.neg()?], 1)?.to_vec2::<f32>()?;
    Ok(both.iter().map(|pair| (pair[0] as u32, pair[1])).collect())
}
