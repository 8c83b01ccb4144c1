//! A weight matrix packed for products, and what follows a product.

use crate::precision::{Precision, from_bf16, to_bf16};

/// What a product is passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x * Phi(x), exact.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x * sigmoid(x).
    Silu,
}

impl Activation {
    pub(crate) fn apply(self, x: f32) -> f32 {
        match self {
            Self::Gelu => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044715 * x * x * x)).tanh()),
            Self::Relu => x.max(0.0),
            Self::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| <= 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * x.abs());
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    (1.0 - p * (-x * x).exp()).copysign(x)
}

/// What is done to a product, in the order of the fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finish<'a> {
    /// Added to each row (outputs).
    pub bias: Option<&'a [f32]>,
    /// Applied to each value.
    pub activation: Option<Activation>,
    /// Multiplied by, value for value (rows x outputs).
    pub gate: Option<&'a [f32]>,
    /// Added last, value for value (rows x outputs).
    pub add: Option<&'a [f32]>,
}

/// A weight matrix packed once at load.
#[derive(Debug, Clone)]
pub struct Matrix {
    weights: Vec<f32>,
    outputs: usize,
    inputs: usize,
    precision: Precision,
}

impl Matrix {
    /// Packs `weights` (outputs x inputs, as checkpoints hold them).
    pub fn pack(weights: &[f32], outputs: usize, inputs: usize, precision: Precision) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "weights are outputs x inputs");
        let mut weights = weights.to_vec();
        match precision {
            Precision::F32 => {}
            Precision::Bf16 => weights.iter_mut().for_each(|w| *w = from_bf16(to_bf16(*w))),
            Precision::Int8 => {
                for row in weights.chunks_mut(inputs.max(1)) {
                    let most = row.iter().fold(0f32, |most, w| most.max(w.abs()));
                    let scale = most / 127.0;
                    if scale > 0.0 {
                        row.iter_mut().for_each(|w| *w = (*w / scale).round_ties_even() * scale);
                    }
                }
            }
        }
        Self { weights, outputs, inputs, precision }
    }

    /// Rows of the weights: values of one row of a product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the weights: values of one row of what is multiplied.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes the packed weights take.
    pub fn bytes(&self) -> usize {
        self.weights.len() * 4
    }

    /// How the weights are held.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// `x` (rows x inputs) times the weights -> `out` (rows x outputs), finished as `finish` says.
    pub fn multiply(&self, x: &[f32], out: &mut [f32], finish: &Finish<'_>) {
        self.multiply_strided(x, self.inputs, out, finish);
    }

    pub(crate) fn multiply_strided(&self, x: &[f32], stride: usize, out: &mut [f32], finish: &Finish<'_>) {
        for (row, out) in out.chunks_mut(self.outputs.max(1)).enumerate() {
            let x = &x[row * stride..][..self.inputs];
            for (column, out) in out.iter_mut().enumerate() {
                let weights = &self.weights[column * self.inputs..][..self.inputs];
                let at = row * self.outputs + column;
                let mut sum: f32 = x.iter().zip(weights).map(|(x, w)| x * w).sum();
                sum += finish.bias.map_or(0.0, |bias| bias[column]);
                sum = finish.activation.map_or(sum, |activation| activation.apply(sum));
                *out = sum * finish.gate.map_or(1.0, |gate| gate[at]) + finish.add.map_or(0.0, |add| add[at]);
            }
        }
    }

    /// One row of the weights as f32 (an embedding), into `out` (inputs).
    pub fn row(&self, index: usize, out: &mut [f32]) {
        assert!(index < self.outputs, "row {index} of {}", self.outputs);
        out[..self.inputs].copy_from_slice(&self.weights[index * self.inputs..][..self.inputs]);
    }
}
