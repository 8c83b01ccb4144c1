//! A model's weights as its layers want them.

use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};

use crate::compute::Compute;
use crate::directory::{ModelDirectory, Weights};
use crate::error::ModelError;

/// Hands out tensors in the type the layers compute in.
#[derive(Debug)]
pub(crate) struct Loader {
    weights: Weights,
    compute: Compute,
}

impl Loader {
    pub(crate) fn open(directory: &ModelDirectory, compute: &Compute) -> Result<Self, ModelError> {
        Ok(Self { weights: directory.weights_as(compute.device(), compute.dtype())?, compute: compute.clone() })
    }

    pub(crate) fn compute(&self) -> &Compute {
        &self.compute
    }

    pub(crate) fn device(&self) -> &Device {
        self.compute.device()
    }

    pub(crate) fn dtype(&self) -> DType {
        self.compute.dtype()
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.weights.has(name)
    }

    pub(crate) fn get(&self, name: &str, dims: &[usize]) -> Result<Tensor, ModelError> {
        self.weights.get(name, dims)
    }

    /// The first of `names` that is there.
    pub(crate) fn any(&self, names: &[&str], dims: &[usize]) -> Result<Tensor, ModelError> {
        self.weights.any(names, dims)
    }

    pub(crate) fn optional(&self, name: &str, dims: &[usize]) -> Result<Option<Tensor>, ModelError> {
        self.weights.optional(name, dims)
    }

    /// A tensor the file holds quantised, to be multiplied as it is. None for our own kernels, which have packings of
    /// their own: larger than 4 bits, and several times as fast.
    pub(crate) fn quantized(&self, name: &str, dims: &[usize]) -> Result<Option<Arc<QTensor>>, ModelError> {
        if self.compute.host_precision().is_some() { Ok(None) } else { self.weights.quantized(name, dims) }
    }
}
