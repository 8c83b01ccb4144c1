//! The layers of an encoder.

use candle_core::{Result, Tensor};

use super::attention::Whole;
use super::linear::{After, Part};
use super::{BlockShape, FeedForward, Linear, Loader, Norm, Piece, Residual, StackNames};
use crate::compute::Compute;
use crate::error::ModelError;

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
    norm: Option<Norm>,
    heads: usize,
    compute: Compute,
}

impl EncoderStack {
    pub(crate) fn load(
        weights: &Loader,
        names: &StackNames,
        layers: usize,
        shape: &BlockShape,
    ) -> std::result::Result<Self, ModelError> {
        let layers = (0..layers)
            .map(|i| EncoderLayer::load(weights, shape, &|piece| names.of(i, piece)))
            .collect::<std::result::Result<_, _>>()?;
        let norm = names.final_norm.as_ref().filter(|_| shape.norm_first);
        let norm = norm.map(|name| Norm::load(weights, name, shape.width, shape.norm)).transpose()?;
        Ok(Self { layers, norm, heads: shape.heads, compute: weights.compute().clone() })
    }

    /// (rows, steps, width) to the same shape. The first `lengths[row]` steps are real, the rest padding.
    /// `bias`, (heads, steps, steps), is added to the scores.
    pub(crate) fn forward(&self, x: &Tensor, lengths: &[usize], bias: Option<&Tensor>) -> Result<Tensor> {
        let (rows, steps, width) = x.dims3()?;
        let whole = Whole { heads: self.heads, steps, lengths, bias };
        let mut x = x.reshape((rows * steps, width))?;
        for layer in &self.layers {
            x = layer.forward(&x, &whole, &self.compute)?;
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x)?;
        }
        x.reshape((rows, steps, width))
    }
}

impl EncoderLayer {
    fn load(
        weights: &Loader,
        shape: &BlockShape,
        name: &dyn Fn(Piece) -> String,
    ) -> std::result::Result<Self, ModelError> {
        let (q, k, v) = (name(Piece::Query), name(Piece::Key), name(Piece::Value));
        let parts = [Part { name: &q, factor: shape.query_factor() }, Part::plain(&k), Part::plain(&v)];
        Ok(Self {
            residual: Residual::load(weights, &name(Piece::Norm), shape)?,
            project: Linear::side_by_side(weights, &parts, shape.width, shape.projected())?,
            output: Linear::load(weights, &name(Piece::Output), shape.projected(), shape.width)?,
            feed_forward: FeedForward::load(weights, shape, name)?,
        })
    }

    fn forward(&self, x: &Tensor, whole: &Whole<'_>, compute: &Compute) -> Result<Tensor> {
        let x = self.residual.around(x, |x, add| {
            let seen = whole.attend(&self.project.forward(x)?, compute)?;
            self.output.forward_then(&seen, After { add: Some(add), ..After::default() })
        })?;
        self.feed_forward.forward(&x)
    }
}
