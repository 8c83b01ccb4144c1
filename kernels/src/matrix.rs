//! A weight matrix packed for products, and what follows a product.

use crate::{
    buffer::Buffer,
    multiply::multiply,
    precision::{Precision, from_bf16, to_bf16},
    rows::per_word,
    simd::PANEL,
    threads::{self, Shared},
};

/// What a product is passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x * Phi(x), exact to 1e-6.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x * sigmoid(x).
    Silu,
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

/// A weight matrix packed once at load: panels of 64 outputs, see `tile`.
#[derive(Debug, Clone)]
pub struct Matrix {
    pub(crate) panels: Buffer,
    /// What one step of an output's bytes stands for (whole panels; empty unless int8).
    pub(crate) scales: Vec<f32>,
    outputs: usize,
    inputs: usize,
    precision: Precision,
}

impl Matrix {
    /// Packs `weights` (outputs x inputs, as checkpoints hold them).
    ///
    /// Int8 has one symmetric scale for each output: its largest |weight| / 127.
    pub fn pack(weights: &[f32], outputs: usize, inputs: usize, precision: Precision) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "weights are outputs x inputs");
        let count = outputs.div_ceil(PANEL);
        let words = inputs.div_ceil(per_word(precision)) * PANEL;
        let mut panels = Buffer::zeros(count * words);
        let mut scales = Vec::new();
        if precision == Precision::Int8 {
            let most = |row: &[f32]| row.iter().fold(0f32, |most, w| most.max(w.abs()));
            let scale = |output: usize| {
                if output < outputs { most(&weights[output * inputs..][..inputs]) / 127.0 } else { 0.0 }
            };
            scales = (0..count * PANEL).map(scale).collect();
        }
        let to = Shared(panels.words_mut().as_mut_ptr());
        threads::each(count, |panel| {
            let from = Panel { weights, outputs, inputs, first: panel * PANEL, scales: &scales, precision };
            from.write(to, panel * words);
        });
        Self { panels, scales, outputs, inputs, precision }
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
        (self.panels.words().len() + self.scales.len()) * 4
    }

    /// How the weights are held.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Words of one output's weights.
    pub(crate) fn steps(&self) -> usize {
        self.inputs.div_ceil(per_word(self.precision))
    }

    /// `x` (rows x inputs) times the weights -> `out` (rows x outputs), finished as `finish` says.
    pub fn multiply(&self, x: &[f32], out: &mut [f32], finish: &Finish<'_>) {
        assert_eq!(x.len() * self.outputs, out.len() * self.inputs, "x is rows x inputs, out rows x outputs");
        multiply(self, x, self.inputs, out, finish);
    }

    /// One row of the weights as f32 (an embedding), into `out` (inputs).
    pub fn row(&self, index: usize, out: &mut [f32]) {
        assert!(index < self.outputs, "row {index} of {}", self.outputs);
        assert_eq!(out.len(), self.inputs, "out holds one row");
        let per = per_word(self.precision);
        let start = index / PANEL * self.steps() * PANEL + index % PANEL;
        let words = self.panels.words();
        for (at, out) in out.iter_mut().enumerate() {
            let word = words[start + at / per * PANEL];
            *out = match self.precision {
                Precision::F32 => f32::from_bits(word),
                Precision::Bf16 => from_bf16((word >> (at % 2 * 16)) as u16),
                Precision::Int8 => (i32::from(word.to_le_bytes()[at % 4]) - 128) as f32 * self.scales[index],
            };
        }
    }
}

/// Where one panel of a matrix comes from.
struct Panel<'a> {
    weights: &'a [f32],
    outputs: usize,
    inputs: usize,
    first: usize,
    scales: &'a [f32],
    precision: Precision,
}

impl Panel<'_> {
    /// Writes the panel's words at `start`. Sixteen inputs at a time, so that what is written stays in the cache.
    #[allow(unsafe_code)]
    fn write(&self, to: Shared<u32>, start: usize) {
        let per = per_word(self.precision);
        let columns = PANEL.min(self.outputs - self.first);
        for block in (0..self.inputs).step_by(16) {
            for column in 0..columns {
                let row = &self.weights[(self.first + column) * self.inputs..][..self.inputs];
                let ends = (block + 16).min(self.inputs);
                for (step, values) in row[block..ends].chunks(per).enumerate() {
                    let word = self.word(values, column);
                    // SAFETY: `to` has room for every panel's steps x 64 words, and no other task writes this panel.
                    unsafe { to.get().add(start + (block / per + step) * PANEL + column).write(word) };
                }
            }
        }
    }

    fn word(&self, values: &[f32], column: usize) -> u32 {
        match self.precision {
            Precision::F32 => values[0].to_bits(),
            Precision::Bf16 => {
                u32::from(to_bf16(values[0])) | u32::from(values.get(1).map_or(0, |value| to_bf16(*value))) << 16
            }
            Precision::Int8 => {
                let scale = self.scales[self.first + column];
                let byte = |value: &f32| {
                    let step = if scale > 0.0 { (value / scale).round_ties_even() } else { 0.0 };
                    (step.clamp(-127.0, 127.0) as i32 + 128) as u8
                };
                u32::from_le_bytes(std::array::from_fn(|at| values.get(at).map_or(128, byte)))
            }
        }
    }
}
