//! What can go wrong with a model.

use std::path::PathBuf;

/// A fault of a model: of its files (at load) or of one request. Never holds spoken or translated text.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ModelError {
    /// The directory is not there.
    #[error("no model directory at {}; fetch one with `subtide models pull NAME`", path.display())]
    NoDirectory {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The directory holds no weights in a format we read.
    #[error("{} has no model.safetensors, pytorch_model.bin or .gguf file; fetch a complete model with `subtide models pull NAME`", path.display())]
    NoWeights {
        /// The model directory.
        path: PathBuf,
    },
    /// The directory holds no tokenizer in a format we read.
    #[error("{} has no {wanted}; fetch a complete model with `subtide models pull NAME`", path.display())]
    NoTokenizer {
        /// The model directory.
        path: PathBuf,
        /// The file or files that would do.
        wanted: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word for it.
        reason: String,
    },
    /// A file was read and makes no sense.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, with the key at fault.
        reason: String,
    },
    /// A tensor is missing or has another shape than the configuration says.
    #[error("{}: tensor {tensor} {reason}", path.display())]
    Tensor {
        /// The model directory.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The device cannot be had at present.
    #[error("device {device}: {reason}")]
    Device {
        /// As it was asked for.
        device: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// There is no such device, or not in this build.
    #[error("device {device}: {reason}")]
    NoSuchDevice {
        /// As it was asked for.
        device: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The device does not compute in this type, or there is no such type.
    #[error("compute type {wanted}: {reason}")]
    ComputeType {
        /// As it was asked for.
        wanted: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The model was not made for this language.
    #[error("the model knows no language \"{language}\"; it knows {known}")]
    Language {
        /// The language asked for.
        language: String,
        /// The languages it has, comma-separated.
        known: String,
    },
    /// A request is larger than the model takes.
    #[error("{what} has {got}, the model takes at most {limit}")]
    TooLong {
        /// What is too long, with its unit.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The most the model takes.
        limit: usize,
    },
    /// The device has no memory left for a batch of this size.
    #[error("the device has no memory left for this batch: {0}")]
    OutOfMemory(String),
    /// The arithmetic failed (a shape that does not fit, a device that went away).
    #[error("the model's computation failed: {0}")]
    Compute(String),
    /// The model thread has ended: loading failed, or the process is going down.
    #[error("the model is not running: it failed to load or is shutting down")]
    Stopped,
}

impl ModelError {
    /// Whether loading again a little later can help: a volume that is not mounted yet, a disk that stumbles, a device or its
    /// memory in somebody else's use. What is wrong in a file or in a setting stays wrong.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoDirectory { .. } | Self::NoWeights { .. } | Self::NoTokenizer { .. } | Self::Read { .. } => true,
            Self::Device { .. } | Self::OutOfMemory(_) | Self::Stopped => true,
            Self::Malformed { .. } | Self::Tensor { .. } | Self::NoSuchDevice { .. } | Self::ComputeType { .. } => {
                false
            }
            Self::Language { .. } | Self::TooLong { .. } | Self::Compute(_) => false,
        }
    }

    /// Whether it may be the device that is at fault, rather than what was asked of it.
    pub(crate) fn casts_doubt(&self) -> bool {
        matches!(self, Self::OutOfMemory(_) | Self::Compute(_))
    }
}

impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        // What follows the first line is a backtrace.
        let text = error.to_string().lines().next().unwrap_or_default().to_owned();
        // candle passes on what CUDA says: CUDA_ERROR_OUT_OF_MEMORY, CUBLAS_STATUS_ALLOC_FAILED.
        let small = text.to_ascii_lowercase();
        let full = ["out_of_memory", "out of memory", "alloc_failed"].iter().any(|word| small.contains(word));
        if full { Self::OutOfMemory(text) } else { Self::Compute(text) }
    }
}
