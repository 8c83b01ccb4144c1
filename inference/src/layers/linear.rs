//! Projections: one matrix product, with what follows it fused in where our kernels compute.

use candle_core::quantized::QMatMul;
use candle_core::{Module, Result, Tensor};
use kernels::{Finish, Matrix};

use super::{Activation, Loader, host};
use crate::error::ModelError;

/// One or more projections of the same input, side by side, so that they cost one matrix product.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Bias>,
    outputs: usize,
}

#[derive(Debug)]
enum Weight {
    /// For our kernels.
    Packed(Matrix),
    /// (in, out), a transposed view.
    Plain(Tensor),
    /// As the file has them, one for each part.
    Quantised(Vec<QMatMul>),
}

#[derive(Debug)]
struct Bias {
    tensor: Tensor,
    values: Vec<f32>,
}

/// One of the projections side by side.
pub(crate) struct Part<'a> {
    /// The name of its module in the file.
    pub(crate) name: &'a str,
    /// What its outputs are multiplied by.
    pub(crate) factor: f64,
}

impl<'a> Part<'a> {
    pub(crate) fn plain(name: &'a str) -> Self {
        Self { name, factor: 1.0 }
    }
}

/// What is done to a product, in this order.
#[derive(Default, Clone, Copy)]
pub(crate) struct After<'a> {
    pub(crate) activation: Option<Activation>,
    pub(crate) gate: Option<&'a Tensor>,
    pub(crate) add: Option<&'a Tensor>,
}

impl Linear {
    pub(crate) fn load(
        weights: &Loader,
        name: &str,
        input: usize,
        output: usize,
    ) -> std::result::Result<Self, ModelError> {
        Self::side_by_side(weights, &[Part::plain(name)], input, output)
    }

    /// Each part has `output` outputs. A part without bias gets zeros, unless none has one.
    pub(crate) fn side_by_side(
        weights: &Loader,
        parts: &[Part<'_>],
        input: usize,
        output: usize,
    ) -> std::result::Result<Self, ModelError> {
        let (mut columns, mut biases, mut biased) = (Vec::new(), Vec::new(), false);
        let mut quantised = Vec::new();
        for part in parts {
            // A factor cannot go into quantised weights.
            if let Some(tensor) = weights.quantized(&format!("{}.weight", part.name), &[output, input])?
                && part.factor == 1.0
            {
                quantised.push(QMatMul::from_arc(tensor)?);
            }
        }
        let whole = quantised.len() == parts.len();
        for part in parts {
            if !whole {
                columns.push((weights.get(&format!("{}.weight", part.name), &[output, input])? * part.factor)?);
            }
            let bias = weights.optional(&format!("{}.bias", part.name), &[output])?;
            biased |= bias.is_some();
            let none = || Tensor::zeros(output, weights.dtype(), weights.device());
            biases.push((bias.map_or_else(none, Ok)? * part.factor)?);
        }
        let bias = if biased { Some(Tensor::cat(&biases, 0)?) } else { None };
        if whole {
            let bias = bias.map(Bias::new).transpose()?;
            return Ok(Self { weight: Weight::Quantised(quantised), bias, outputs: output * parts.len() });
        }
        Self::new(weights, &Tensor::cat(&columns, 0)?, bias)
    }

    /// From a weight (out, in) that is there already.
    pub(crate) fn new(
        weights: &Loader,
        weight: &Tensor,
        bias: Option<Tensor>,
    ) -> std::result::Result<Self, ModelError> {
        let (outputs, inputs) = weight.dims2()?;
        let bias = bias.map(Bias::new).transpose()?;
        let weight = match weights.compute().host_precision() {
            Some(precision) => {
                let pack = |values: &[f32]| Matrix::pack(values, outputs, inputs, precision);
                Weight::Packed(host::read(&weight.contiguous()?, pack)?)
            }
            None => Weight::Plain(weight.t()?),
        };
        Ok(Self { weight, bias, outputs })
    }

    /// Columns of its product.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// (n, in) to (n, out)
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_then(x, After::default())
    }

    pub(crate) fn forward_then(&self, x: &Tensor, after: After<'_>) -> Result<Tensor> {
        let rows = x.dims2()?.0;
        if let Weight::Packed(matrix) = &self.weight {
            let values = host::read(x, |x| {
                host::read_any(after.gate, |gate| {
                    host::read_any(after.add, |add| self.multiply(matrix, x, after.activation, gate, add))
                })
            })???;
            return host::matrix(values, rows, self.outputs);
        }
        let mut y = match &self.weight {
            Weight::Plain(weight) => x.matmul(weight)?,
            Weight::Quantised(parts) => {
                let x = x.to_dtype(candle_core::DType::F32)?;
                let parts = parts.iter().map(|part| part.forward(&x)).collect::<Result<Vec<_>>>()?;
                Tensor::cat(&parts, 1)?.to_dtype(after.add.map_or(x.dtype(), Tensor::dtype))?
            }
            Weight::Packed(_) => unreachable!("handled above"),
        };
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&bias.tensor)?;
        }
        if let Some(activation) = after.activation {
            y = activation.apply(&y)?;
        }
        if let Some(gate) = after.gate {
            y = (y * gate)?;
        }
        match after.add {
            Some(add) => y + add,
            None => Ok(y),
        }
    }

    /// The product as plain values where our kernels compute; `None` elsewhere.
    pub(crate) fn forward_host(&self, x: &Tensor) -> Option<Result<Vec<f32>>> {
        let Weight::Packed(matrix) = &self.weight else { return None };
        Some(host::read(x, |x| self.multiply(matrix, x, None, None, None)))
    }

    /// The weight where our kernels hold it: an embedding is one of its rows.
    pub(crate) fn packed(&self) -> Option<&Matrix> {
        if let Weight::Packed(matrix) = &self.weight { Some(matrix) } else { None }
    }

    fn multiply(
        &self,
        matrix: &Matrix,
        x: &[f32],
        activation: Option<Activation>,
        gate: Option<&[f32]>,
        add: Option<&[f32]>,
    ) -> Vec<f32> {
        let rows = x.len() / matrix.inputs().max(1);
        let mut out = vec![0.0; rows * self.outputs];
        let bias = self.bias.as_ref().map(|bias| bias.values.as_slice());
        matrix.multiply(x, &mut out, &Finish { bias, activation: activation.map(Activation::kernel), gate, add });
        out
    }
}

impl Bias {
    fn new(tensor: Tensor) -> Result<Self> {
        let values = if tensor.device().is_cpu() { host::values(&tensor)? } else { Vec::new() };
        Ok(Self { tensor, values })
    }
}
