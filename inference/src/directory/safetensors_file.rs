//! A safetensors file, read tensor by tensor.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};

use super::weights::{Source, elements, open, read_part};
use crate::error::ModelError;

/// The format's limit on its header, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

#[derive(Debug)]
pub(super) struct SafetensorsFile {
    path: PathBuf,
    tensors: HashMap<String, TensorInfo>,
    /// Where the tensors' bytes begin.
    start: u64,
}

impl SafetensorsFile {
    /// Layout: the header's length in 8 bytes, the header (JSON), the tensors' bytes.
    pub(super) fn open(path: PathBuf) -> Result<Self, ModelError> {
        let (mut file, length) = open(&path)?;
        let fault = |reason: String| ModelError::Malformed { path: path.clone(), reason };
        let cut = |_| fault("no safetensors file: it is cut short".to_owned());
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(cut)?;
        let size = u64::from_le_bytes(size);
        if size > LONGEST_HEADER || size + 8 > length {
            return Err(fault(format!("no safetensors file: {length} bytes hold no header of {size}")));
        }
        let mut header = vec![0; size as usize];
        file.read_exact(&mut header).map_err(cut)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| fault(format!("its header: {e}")))?;
        let wanted = (metadata.data_len() as u64).saturating_add(size + 8);
        if wanted != length {
            return Err(fault(format!("has {length} bytes, its header speaks of {wanted}")));
        }
        if let Some((name, _)) = metadata.tensors().iter().find(|(_, info)| elements(&info.shape).is_none()) {
            return Err(fault(format!("tensor {name} has a shape that nothing can have")));
        }
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        Ok(Self { path, tensors, start: size + 8 })
    }
}

impl Source for SafetensorsFile {
    fn tensors(&self) -> Vec<(&str, &[usize])> {
        self.tensors.iter().map(|(name, info)| (name.as_str(), info.shape.as_slice())).collect()
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor, String> {
        let info = self.tensors.get(name).ok_or("is missing")?;
        let (start, end) = info.data_offsets;
        let bytes = read_part(&self.path, self.start + start as u64, end - start)?;
        let dtype = DType::try_from(info.dtype).map_err(|e| e.to_string())?;
        Tensor::from_raw_buffer(&bytes, dtype, &info.shape, device).map_err(|e| e.to_string())
    }
}
