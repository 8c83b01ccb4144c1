//! The convolutions of Whisper's stem: kernel 3, padding 1, exact GELU.

use crate::{
    matrix::{Activation, Finish, Matrix},
    multiply::multiply,
    precision::Precision,
};

/// A convolution over time of kernel 3 and padding 1, with a bias and exact GELU.
#[derive(Debug, Clone)]
pub struct Convolution {
    weights: Matrix,
    bias: Vec<f32>,
    channels: usize,
    stride: usize,
}

impl Convolution {
    /// Packs `weights` (outputs x channels x 3, as checkpoints hold them) and `bias` (outputs).
    pub fn pack(
        weights: &[f32],
        bias: &[f32],
        channels: usize,
        outputs: usize,
        stride: usize,
        precision: Precision,
    ) -> Self {
        assert_eq!(weights.len(), outputs * channels * 3, "weights are outputs x channels x 3");
        assert_eq!(bias.len(), outputs, "a bias for each output");
        let mut by_tap = Vec::with_capacity(weights.len());
        for output in weights.chunks_exact((channels * 3).max(1)) {
            for tap in 0..3 {
                by_tap.extend((0..channels).map(|channel| output[channel * 3 + tap]));
            }
        }
        let weights = Matrix::pack(&by_tap, outputs, channels * 3, precision);
        Self { weights, bias: bias.to_vec(), channels, stride: stride.max(1) }
    }

    /// Frames that come out of `frames`.
    pub fn frames(&self, frames: usize) -> usize {
        frames.div_ceil(self.stride)
    }

    /// `x` (frames x channels) -> `out` (frames / stride, rounded up, x outputs); `add` (as `out`) is added last.
    pub fn forward(&self, x: &[f32], frames: usize, add: Option<&[f32]>, out: &mut [f32]) {
        assert_eq!(x.len(), frames * self.channels, "x is frames x channels");
        assert_eq!(out.len(), self.frames(frames) * self.weights.outputs(), "out is frames / stride x outputs");
        // With a frame of zeros at either end, the three frames under a kernel are one run of memory.
        let mut padded = vec![0.0; (frames + 2) * self.channels];
        padded[self.channels..][..x.len()].copy_from_slice(x);
        let finish = Finish { bias: Some(&self.bias), activation: Some(Activation::Gelu), gate: None, add };
        multiply(&self.weights, &padded, self.stride * self.channels, out, &finish);
    }
}
