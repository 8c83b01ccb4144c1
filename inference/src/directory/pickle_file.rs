//! A `pytorch_model.bin`, read tensor by tensor: torch.save's zip archive, or its one file from before torch 1.6.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::PathBuf;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Value, View};
use super::weights::{Source, elements, open, read_part};
use crate::error::ModelError;

/// How the older files begin: a pickle of torch's magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// What checkpoints of training runs keep the weights under.
const NESTED: [&str; 3] = ["state_dict", "model_state_dict", "model"];

#[derive(Debug)]
pub(super) struct PickleFile {
    path: PathBuf,
    tensors: HashMap<String, Place>,
}

/// Where a tensor's bytes lie.
#[derive(Debug, Clone)]
struct Place {
    dtype: DType,
    dims: Vec<usize>,
    /// Elements from one to the next, in each dimension.
    strides: Vec<usize>,
    /// Its first byte in the file.
    start: u64,
    /// Elements from its first to behind its last.
    span: usize,
}

/// Where a storage begins in the file, and its length in bytes.
type Storages = HashMap<String, (u64, u64)>;

impl PickleFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, ModelError> {
        let (file, length) = open(&path)?;
        let fault = |reason: String| ModelError::Malformed { path: path.clone(), reason };
        let mut reader = BufReader::new(file);
        let mut head = Vec::new();
        let begun = reader.by_ref().take(LEGACY.len() as u64).read_to_end(&mut head);
        begun.and_then(|_| reader.rewind()).map_err(|e| fault(e.to_string()))?;
        let (root, storages) = if head == LEGACY {
            legacy(&mut reader, length).map_err(|e| fault(format!("no weights of torch.save: {e}")))?
        } else {
            zipped(reader).map_err(|e| fault(format!("no weights of torch.save: {e}")))?
        };
        let mut tensors = HashMap::new();
        for (name, view) in state(&root) {
            let place = place(&view, &storages).map_err(|reason| fault(format!("tensor {name} {reason}")))?;
            tensors.insert(name, place);
        }
        if tensors.is_empty() {
            return Err(fault("holds no tensors by name".to_owned()));
        }
        Ok(Self { path, tensors })
    }
}

impl Source for PickleFile {
    fn tensors(&self) -> Vec<(&str, &[usize])> {
        self.tensors.iter().map(|(name, place)| (name.as_str(), place.dims.as_slice())).collect()
    }

    fn read(&self, name: &str, device: &Device) -> Result<Tensor, String> {
        let place = self.tensors.get(name).ok_or("is missing")?;
        let size = place.dtype.size_in_bytes();
        let bytes = read_part(&self.path, place.start, place.span * size)?;
        let bytes = if contiguous(place) { bytes } else { gathered(place, &bytes, size) };
        Tensor::from_raw_buffer(&bytes, place.dtype, &place.dims, device).map_err(|e| e.to_string())
    }
}

/// The archive has one folder: `data.pkl`, and each storage as a file in `data/`, uncompressed.
fn zipped(reader: BufReader<File>) -> Result<(Value, Storages), String> {
    let mut archive = ZipArchive::new(reader).map_err(|e| e.to_string())?;
    let (mut root, mut storages) = (None, Storages::new());
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|e| e.to_string())?;
        let name = entry.name().map_err(|e| e.to_string())?.into_owned();
        if name.ends_with("/data.pkl") {
            if root.is_some() {
                return Err("the archive has several data.pkl".to_owned());
            }
            root = Some(pickle::read(&mut BufReader::new(&mut entry))?);
        } else if let Some((_, key)) = name.split_once("/data/") {
            let start = entry.data_start().filter(|_| entry.compression() == CompressionMethod::Stored);
            storages.insert(key.to_owned(), (start.ok_or_else(|| format!("{name} is compressed"))?, entry.size()));
        }
    }
    Ok((root.ok_or("the archive has no data.pkl")?, storages))
}

/// Pickles in a row (magic number, version, system, weights, the storages' names), then each storage: its length in
/// elements in eight bytes, and its bytes.
fn legacy(reader: &mut BufReader<File>, length: u64) -> Result<(Value, Storages), String> {
    for _ in 0..3 {
        pickle::read(reader)?;
    }
    let root = pickle::read(reader)?;
    let Value::List(keys) = pickle::read(reader)? else { return Err("it does not list its storages".to_owned()) };
    let sizes: HashMap<Rc<str>, usize> =
        state(&root).map(|(_, view)| (view.storage.key.clone(), view.storage.dtype.size_in_bytes())).collect();
    let mut storages = Storages::new();
    for key in keys.iter().filter_map(Value::text) {
        let size = *sizes.get(key).ok_or("a storage that no tensor uses")?;
        let mut count = [0; 8];
        reader.read_exact(&mut count).map_err(|_| "it is cut short")?;
        let start = reader.stream_position().map_err(|e| e.to_string())?;
        let bytes = u64::from_le_bytes(count).checked_mul(size as u64).filter(|bytes| *bytes <= length - start);
        let bytes = bytes.ok_or("it is cut short")?;
        reader.seek_relative(bytes.cast_signed()).map_err(|e| e.to_string())?;
        storages.insert(key.to_owned(), (start, bytes));
    }
    Ok((root, storages))
}

/// The tensors of a dictionary by name, or of the dictionary of weights in it.
fn state(root: &Value) -> impl Iterator<Item = (String, View)> {
    let entries = |value: &Value| if let Value::Dict(entries) = value { entries.clone() } else { Vec::new() };
    let mut found = entries(root);
    if !found.iter().any(|(_, value)| matches!(value, Value::Tensor(_))) {
        let inner = found.iter().find(|(key, _)| key.text().is_some_and(|key| NESTED.contains(&key)));
        found = inner.map(|(_, value)| entries(value)).unwrap_or_default();
    }
    found.into_iter().filter_map(|(key, value)| match value {
        Value::Tensor(view) => Some((key.text()?.to_owned(), (*view).clone())),
        _ => None,
    })
}

/// Checks that a view lies within its storage, and the storage within the file.
fn place(view: &View, storages: &Storages) -> Result<Place, String> {
    let (start, bytes) = storages.get(&*view.storage.key).ok_or("has no storage")?;
    let size = view.storage.dtype.size_in_bytes();
    let count = elements(&view.dims);
    let reach = view
        .dims
        .iter()
        .zip(&view.strides)
        .try_fold(1_usize, |reach, (dim, stride)| reach.checked_add(dim.saturating_sub(1).checked_mul(*stride)?));
    let span = if count == Some(0) { Some(0) } else { reach };
    let end = span.and_then(|span| span.checked_add(view.offset)).and_then(|end| end.checked_mul(size));
    let held = *bytes / size as u64;
    match (count, span, end) {
        (Some(count), Some(span), Some(end)) if end as u64 <= *bytes && count as u64 <= held => Ok(Place {
            dtype: view.storage.dtype,
            dims: view.dims.clone(),
            strides: view.strides.clone(),
            start: start + (view.offset * size) as u64,
            span,
        }),
        _ => Err(format!("of shape {:?} does not fit its storage of {held} elements", view.dims)),
    }
}

fn contiguous(place: &Place) -> bool {
    let mut step = 1;
    place.dims.iter().zip(&place.strides).rev().all(|(dim, stride)| {
        let fits = *dim == 1 || *stride == step;
        step *= dim;
        fits
    })
}

/// The elements of a strided view, one after the other.
fn gathered(place: &Place, bytes: &[u8], size: usize) -> Vec<u8> {
    let count = place.dims.iter().product();
    let mut out = Vec::with_capacity(count * size);
    for mut i in 0..count {
        let mut at = 0;
        for (dim, stride) in place.dims.iter().zip(&place.strides).rev() {
            at += i % dim * stride;
            i /= dim;
        }
        out.extend_from_slice(&bytes[at * size..(at + 1) * size]);
    }
    out
}
