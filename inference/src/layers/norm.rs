//! Normalisation of activations, row by row.

use candle_core::{D, DType, Result, Tensor};

use super::{Loader, host};
use crate::error::ModelError;

/// Which normalisation an architecture has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NormKind {
    /// Subtracts the mean, divides by the standard deviation (arXiv 1607.06450).
    Layer { epsilon: f64 },
    /// Divides by the root of the mean square (arXiv 1910.07467).
    Rms { epsilon: f64 },
}

#[derive(Debug)]
pub(crate) struct Norm {
    kind: NormKind,
    weight: Tensor,
    bias: Option<Tensor>,
    on_host: bool,
}

impl Norm {
    pub(crate) fn load(
        weights: &Loader,
        name: &str,
        width: usize,
        kind: NormKind,
    ) -> std::result::Result<Self, ModelError> {
        let weight = weights.get(&format!("{name}.weight"), &[width])?;
        let bias = match kind {
            NormKind::Layer { .. } => Some(weights.get(&format!("{name}.bias"), &[width])?),
            NormKind::Rms { .. } => None,
        };
        Ok(Self { kind, weight, bias, on_host: weights.compute().host_precision().is_some() })
    }

    /// The same with its output multiplied by `factor`.
    pub(crate) fn scaled(self, factor: f64) -> Result<Self> {
        let bias = self.bias.as_ref().map(|bias| bias * factor).transpose()?;
        Ok(Self { weight: (&self.weight * factor)?, bias, ..self })
    }

    /// (n, width) to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.on_host {
            return self.forward_host(x);
        }
        // Means and variances in 32-bit floats, whatever the activations are.
        let wide = x.to_dtype(DType::F32)?;
        let (wide, epsilon) = match self.kind {
            NormKind::Layer { epsilon } => (wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?, epsilon),
            NormKind::Rms { epsilon } => (wide, epsilon),
        };
        let variance = wide.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = wide.broadcast_div(&(variance + epsilon)?.sqrt()?)?.to_dtype(x.dtype())?;
        let normal = normal.broadcast_mul(&self.weight)?;
        match &self.bias {
            Some(bias) => normal.broadcast_add(bias),
            None => Ok(normal),
        }
    }

    fn forward_host(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let mut out = vec![0.0; rows * width];
        host::read(x, |x| {
            host::read(&self.weight, |weight| {
                host::read_any(self.bias.as_ref(), |bias| match (self.kind, bias) {
                    (NormKind::Layer { epsilon }, Some(bias)) => {
                        kernels::layer_norm(x, weight, bias, epsilon as f32, &mut out)
                    }
                    (NormKind::Layer { epsilon } | NormKind::Rms { epsilon }, _) => {
                        kernels::rms_norm(x, weight, epsilon as f32, &mut out)
                    }
                })
            })
        })???;
        host::matrix(out, rows, width)
    }
}
