//! The weights of a model by name, whatever files they lie in.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Device, Tensor};

use crate::error::ModelError;

/// A file of tensors. Reasons of failures are texts: [`Weights`] says which tensor is at fault.
pub(super) trait Source: Debug + Send + Sync {
    /// The names and shapes of its tensors.
    fn tensors(&self) -> Vec<(&str, &[usize])>;

    /// Reads a tensor it has.
    fn read(&self, name: &str, device: &Device) -> Result<Tensor, String>;

    /// Reads a tensor as it is, when it is quantised.
    fn quantized(&self, _name: &str, _device: &Device) -> Result<Option<QTensor>, String> {
        Ok(None)
    }
}

/// The tensors of a model by name. A tensor is read from its file when it is asked for.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    sources: Vec<Box<dyn Source>>,
    /// Name to the source that has it and its shape there.
    places: HashMap<String, (usize, Vec<usize>)>,
    device: Device,
    dtype: DType,
}

impl Weights {
    pub(super) fn new(path: PathBuf, sources: Vec<Box<dyn Source>>, device: Device, dtype: DType) -> Self {
        let mut places = HashMap::new();
        for (i, source) in sources.iter().enumerate() {
            let tensors = source.tensors().into_iter();
            places.extend(tensors.map(|(name, dims)| (name.to_owned(), (i, dims.to_vec()))));
        }
        Self { path, sources, places, device, dtype }
    }

    /// What tensors are handed out as.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where tensors are handed out.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The first of `names` that the files have, with the shape `dims`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when there is none, or its shape is another.
    pub fn any(&self, names: &[&str], dims: &[usize]) -> Result<Tensor, ModelError> {
        match names.iter().find(|name| self.has(name)) {
            Some(name) => self.get(name, dims),
            None => Err(self.fault(&names.join(" or "), "is missing".to_owned())),
        }
    }

    /// The tensor `name` with the shape `dims`; a quantised one is expanded.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when it is missing, its shape is another, or it cannot be read.
    pub fn get(&self, name: &str, dims: &[usize]) -> Result<Tensor, ModelError> {
        let source = self.find(name, dims)?;
        let tensor = source.read(name, &self.device).map_err(|reason| self.fault(name, reason))?;
        tensor.to_dtype(self.dtype).map_err(|e| self.fault(name, e.to_string()))
    }

    /// Like [`Weights::get`], but `None` when the files have no such tensor.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when its shape is another, or it cannot be read.
    pub fn optional(&self, name: &str, dims: &[usize]) -> Result<Option<Tensor>, ModelError> {
        if self.has(name) { self.get(name, dims).map(Some) } else { Ok(None) }
    }

    /// The tensor `name` with the shape `dims` in the blocks it is quantised in. `None` when it is missing or not
    /// quantised.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when its shape is another, or it cannot be read.
    pub fn quantized(&self, name: &str, dims: &[usize]) -> Result<Option<Arc<QTensor>>, ModelError> {
        if !self.has(name) {
            return Ok(None);
        }
        let found = self.find(name, dims)?.quantized(name, &self.device);
        found.map(|tensor| tensor.map(Arc::new)).map_err(|reason| self.fault(name, reason))
    }

    fn find(&self, name: &str, dims: &[usize]) -> Result<&dyn Source, ModelError> {
        let (source, found) = self.places.get(name).ok_or_else(|| self.fault(name, "is missing".to_owned()))?;
        if found != dims {
            return Err(self.fault(name, format!("has the shape {found:?}, config.json asks for {dims:?}")));
        }
        Ok(self.sources[*source].as_ref())
    }

    fn fault(&self, tensor: &str, reason: String) -> ModelError {
        ModelError::Tensor { path: self.path.clone(), tensor: tensor.to_owned(), reason }
    }
}

/// How many elements a tensor of this shape has. `None` where they are too many to count, or would be if no dimension were empty:
/// strides are products of the others.
pub(super) fn elements(dims: &[usize]) -> Option<usize> {
    let most = dims.iter().try_fold(1_usize, |count, dim| count.checked_mul((*dim).max(1)))?;
    Some(if dims.contains(&0) { 0 } else { most })
}

/// Opens a file; also says how long it is, in bytes.
pub(super) fn open(path: &Path) -> Result<(File, u64), ModelError> {
    let fault = |e: std::io::Error| ModelError::Read { path: path.to_owned(), reason: e.to_string() };
    let file = File::open(path).map_err(fault)?;
    let length = file.metadata().map_err(fault)?.len();
    Ok((file, length))
}

/// Reads `length` bytes from `start`.
pub(super) fn read_part(path: &Path, start: u64, length: usize) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = vec![0; length];
    let done = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
    done.map(|()| bytes).map_err(|e| e.to_string())
}
