//! Where a model runs.

use std::fmt;
use std::str::FromStr;

use crate::error::ModelError;

/// The processor a model is loaded onto. Parses from `cpu`, `cuda` (the first GPU), `cuda:N` or `metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The CPU, all cores.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this number; needs a build with `--features cuda`.
    Cuda(usize),
    /// The Apple GPU; needs a build with `--features metal`.
    Metal,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`ModelError::Device`] when the GPU cannot be had, [`ModelError::NoSuchDevice`] when this build knows none.
    pub fn open(&self) -> Result<candle_core::Device, ModelError> {
        match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => {
                Err(self.absent("this build has no CUDA; rebuild with --features cuda"))
            }
            Self::Cuda(number) => candle_core::Device::new_cuda(*number).map_err(|e| self.refused(&e.to_string())),
            Self::Metal if !cfg!(feature = "metal") => {
                Err(self.absent("this build has no Metal; rebuild with --features metal"))
            }
            Self::Metal => candle_core::Device::new_metal(0).map_err(|e| self.refused(&e.to_string())),
        }
    }

    fn absent(&self, reason: &str) -> ModelError {
        ModelError::NoSuchDevice { device: self.to_string(), reason: reason.to_owned() }
    }

    fn refused(&self, reason: &str) -> ModelError {
        // What follows the first line is a backtrace.
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        ModelError::Device { device: self.to_string(), reason }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let choice = match text {
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            "metal" => Some(Self::Metal),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Self::Cuda),
        };
        choice.ok_or_else(|| ModelError::NoSuchDevice {
            device: text.to_owned(),
            reason: "not a device; use cpu, cuda, cuda:N or metal".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_and_print() {
        for (text, choice) in
            [("cpu", DeviceChoice::Cpu), ("cuda", DeviceChoice::Cuda(0)), ("cuda:3", DeviceChoice::Cuda(3))]
        {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert!("gpu".parse::<DeviceChoice>().is_err());
        assert!("cuda:x".parse::<DeviceChoice>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_without_cuda_says_how_to_get_it() {
        let error = DeviceChoice::Cuda(0).open().unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }
}
