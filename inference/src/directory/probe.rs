//! For the fuzz targets alone (`tests/src/fuzzing`): files of weights as they are read.

use std::io::Cursor;
use std::path::PathBuf;

use candle_core::Device;
use candle_core::quantized::gguf_file::TensorInfo;

use super::{gguf_header::Header, pickle, pickle_file::PickleFile, safetensors_file::SafetensorsFile, weights::Source};

/// Opens a file and reads every tensor it speaks of; for each its shape, and how many elements it has.
///
/// # Errors
/// What is wrong with it.
pub fn tensors(path: PathBuf, pickled: bool) -> Result<Vec<(Vec<usize>, usize)>, String> {
    let source: Box<dyn Source> = if pickled {
        Box::new(PickleFile::open(path).map_err(|error| error.to_string())?)
    } else {
        Box::new(SafetensorsFile::open(path).map_err(|error| error.to_string())?)
    };
    let read = |(name, dims): (&str, &[usize])| {
        source.read(name, &Device::Cpu).map(|tensor| (dims.to_vec(), tensor.elem_count()))
    };
    source.tensors().into_iter().map(read).collect()
}

/// Reads the head of a GGUF file and every tensor it speaks of; for each its shape, and how many elements it has.
///
/// # Errors
/// What is wrong with it.
pub fn gguf(bytes: &[u8]) -> Result<Vec<(Vec<usize>, usize)>, String> {
    let header = Header::read(&mut &*bytes, bytes.len() as u64)?;
    let read = |info: &TensorInfo| {
        let tensor = info.read(&mut Cursor::new(bytes), header.start, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        Ok((info.shape.dims().to_vec(), tensor.elem_count()))
    };
    let tensors: Result<_, candle_core::Error> = header.tensors.values().map(read).collect();
    tensors.map_err(|error| error.to_string())
}

/// Reads a pickle; how many bytes of it were read.
///
/// # Errors
/// What is wrong with it.
pub fn pickle(mut bytes: &[u8]) -> Result<usize, String> {
    let whole = bytes.len();
    pickle::read(&mut bytes).map(|_| whole - bytes.len())
}
