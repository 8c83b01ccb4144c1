//! The two-layer block after attention, and the residual around every block.

use candle_core::{Result, Tensor};

use super::linear::After;
use super::{Activation, BlockShape, Linear, Loader, Norm, Piece};
use crate::error::ModelError;

/// A sublayer with its residual and its normalisation, on the side the architecture has it.
#[derive(Debug)]
pub(crate) struct Residual {
    norm: Norm,
    first: bool,
}

impl Residual {
    pub(crate) fn load(weights: &Loader, name: &str, shape: &BlockShape) -> std::result::Result<Self, ModelError> {
        Ok(Self { norm: Norm::load(weights, name, shape.width, shape.norm)?, first: shape.norm_first })
    }

    /// `sublayer` gets its input and what it has to add to its output.
    pub(crate) fn around(
        &self,
        x: &Tensor,
        sublayer: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if self.first { sublayer(&self.norm.forward(x)?, x) } else { self.norm.forward(&sublayer(x, x)?) }
    }
}

#[derive(Debug)]
pub(crate) struct FeedForward {
    residual: Residual,
    widen: Linear,
    /// Multiplied with the activated half (arXiv 2002.05202).
    gate: Option<Linear>,
    narrow: Linear,
    activation: Activation,
}

impl FeedForward {
    pub(crate) fn load(
        weights: &Loader,
        shape: &BlockShape,
        name: &dyn Fn(Piece) -> String,
    ) -> std::result::Result<Self, ModelError> {
        let wide = |piece| Linear::load(weights, &name(piece), shape.width, shape.inner);
        Ok(Self {
            residual: Residual::load(weights, &name(Piece::FeedForwardNorm), shape)?,
            widen: wide(Piece::Widen)?,
            gate: shape.gated.then(|| wide(Piece::Gate)).transpose()?,
            narrow: Linear::load(weights, &name(Piece::Narrow), shape.inner, shape.width)?,
            activation: shape.activation,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.residual.around(x, |x, add| {
            let gate = self.gate.as_ref().map(|gate| gate.forward(x)).transpose()?;
            let after = After { activation: Some(self.activation), gate: gate.as_ref(), add: None };
            let wide = self.widen.forward_then(x, after)?;
            self.narrow.forward_then(&wide, After { add: Some(add), ..After::default() })
        })
    }
}
