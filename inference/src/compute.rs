//! How a model computes: with our own kernels on a CPU, or with candle's operations on any device.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};
pub use kernels::Precision;

use crate::device::DeviceChoice;
use crate::error::ModelError;

/// The type weights are held and multiplied in, under the names operators know (`COMPUTE_TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComputeType {
    /// 8-bit integers on a CPU, bfloat16 on an NVIDIA GPU, 16-bit floats on an Apple one.
    #[default]
    Auto,
    /// 32-bit floats: the reference.
    F32,
    /// 32-bit floats whose products are rounded to 10 bits of fraction on the way in: several times as fast on NVIDIA GPUs
    /// from Ampere on. GPU only.
    Tf32,
    /// bfloat16 weights; products are summed in 32-bit floats.
    Bf16,
    /// 16-bit floats, GPU only.
    F16,
    /// 8-bit integer weights, one scale a row; activations quantised on the fly, one scale a row. CPU only.
    Int8,
}

impl fmt::Display for ComputeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for ComputeType {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let all = [Self::Auto, Self::F32, Self::Tf32, Self::Bf16, Self::F16, Self::Int8];
        all.into_iter().find(|kind| kind.to_string() == text).ok_or_else(|| ModelError::ComputeType {
            wanted: text.to_owned(),
            reason: "not a compute type; use auto, f32, tf32, bf16, f16 or int8".to_owned(),
        })
    }
}

/// Threads of a model that is told no number: with more, a step of decoding is too short to be shared.
pub const MOST_THREADS: usize = 8;

/// What an engine is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineOptions {
    /// The processor.
    pub device: DeviceChoice,
    /// The type weights are held in.
    pub compute: ComputeType,
    /// CPU threads; 0 means as many as there are cores, at most [`MOST_THREADS`].
    pub threads: usize,
}

impl EngineOptions {
    /// Threads to start.
    pub(crate) fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.threads == 0 { cores().min(MOST_THREADS) } else { self.threads }
    }
}

/// Where tensors live and who multiplies them.
#[derive(Debug, Clone)]
pub struct Compute {
    device: Device,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Our kernels, on a CPU; activations are 32-bit floats.
    Host(Precision),
    /// candle's operations in this type.
    Candle(DType),
}

impl Compute {
    /// Opens the device.
    ///
    /// # Errors
    /// When the device is absent, or does not compute in that type.
    pub fn open(options: &EngineOptions) -> Result<Self, ModelError> {
        let device = options.device.open()?;
        let refuse = |reason: &str| {
            Err(ModelError::ComputeType { wanted: options.compute.to_string(), reason: reason.to_owned() })
        };
        let kind = match (options.device, options.compute) {
            (DeviceChoice::Cpu, ComputeType::Auto | ComputeType::Int8) => Kind::Host(Precision::Int8),
            (DeviceChoice::Cpu, ComputeType::F32) => Kind::Host(Precision::F32),
            (DeviceChoice::Cpu, ComputeType::Bf16) => Kind::Host(Precision::Bf16),
            (DeviceChoice::Cpu, ComputeType::F16 | ComputeType::Tf32) => {
                return refuse("not on a CPU; use int8, bf16 or f32");
            }
            (DeviceChoice::Metal, ComputeType::Tf32) => return refuse("NVIDIA GPUs only; use f16, bf16 or f32"),
            (DeviceChoice::Metal, ComputeType::Auto) => Kind::Candle(DType::F16),
            (_, ComputeType::Auto | ComputeType::Bf16) => Kind::Candle(DType::BF16),
            (_, ComputeType::F16) => Kind::Candle(DType::F16),
            (_, ComputeType::F32 | ComputeType::Tf32) => Kind::Candle(DType::F32),
            (_, ComputeType::Int8) => return refuse("not on a GPU; use bf16, f16 or f32"),
        };
        candle_core::cuda::set_gemm_reduced_precision_f32(options.compute == ComputeType::Tf32);
        Ok(Self { device, kind })
    }

    /// Our kernels on a CPU.
    pub fn host(precision: Precision) -> Self {
        Self { device: Device::Cpu, kind: Kind::Host(precision) }
    }

    /// candle's operations on `device`, in 32-bit floats: what our kernels are held against.
    pub fn candle(device: &Device) -> Self {
        Self { device: device.clone(), kind: Kind::Candle(DType::F32) }
    }

    /// Where tensors live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision of our kernels; `None` where candle computes.
    pub fn host_precision(&self) -> Option<Precision> {
        match self.kind {
            Kind::Host(precision) => Some(precision),
            Kind::Candle(_) => None,
        }
    }

    /// The type of activations.
    pub fn dtype(&self) -> DType {
        match self.kind {
            Kind::Host(_) => DType::F32,
            Kind::Candle(dtype) => dtype,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_types_parse_print_and_are_refused_where_they_cannot_be() {
        for name in ["auto", "f32", "tf32", "bf16", "f16", "int8"] {
            assert_eq!(name.parse::<ComputeType>().unwrap().to_string(), name);
        }
        let error = "int4".parse::<ComputeType>().unwrap_err().to_string();
        assert!(error.contains("int4") && error.contains("int8"), "{error}");
        let options = EngineOptions { compute: ComputeType::F16, ..EngineOptions::default() };
        let error = Compute::open(&options).unwrap_err().to_string();
        assert!(error.contains("f16") && error.contains("int8"), "{error}");
    }

    #[test]
    fn a_cpu_computes_with_our_kernels() {
        let compute = Compute::open(&EngineOptions::default()).unwrap();
        assert_eq!((compute.host_precision(), compute.dtype()), (Some(Precision::Int8), DType::F32));
    }
}
