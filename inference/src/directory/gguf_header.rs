//! The head of a GGUF file: which tensors it has, and where.
//!
//! candle's own reader keeps all that the head says besides, vocabularies of many megabytes among it, and panics at an alignment of
//! nothing. This one keeps the tensors, and believes no length that the file has no room for. It refuses what the specification
//! does not know: an alignment that is no u32, a tensor without elements, two of one name.

use std::collections::HashMap;
use std::io::{self, Read};

use candle_core::Shape;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::TensorInfo;

use super::weights::elements;

/// Where tensors begin unless the file says otherwise: at multiples of so many bytes.
const ALIGNMENT: u64 = 32;
/// ggml's limit on the dimensions of a tensor.
const MAX_DIMS: u32 = 4;
/// Lists in lists, so deep; real files have none.
const MAX_DEPTH: u32 = 16;
/// A list, among the kinds of values.
const LIST: u32 = 9;
/// A whole number of 32 bits without a sign, likewise.
const U32: u32 = 4;

/// What the head of a file says of its tensors.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) tensors: HashMap<String, TensorInfo>,
    /// Where their bytes begin: offsets count from here.
    pub(super) start: u64,
}

impl Header {
    /// Reads it from a file of `length` bytes; each tensor lies within them.
    ///
    /// Layout (the specification in ggml's `docs/gguf.md`): magic, version, how many tensors and values there are; the values by
    /// name; the tensors by name; room up to the alignment; the tensors' bytes.
    pub(super) fn read(input: &mut impl Read, length: u64) -> Result<Self, String> {
        let mut fields = Fields { input, left: length, wide: true };
        if &fields.bytes()? != b"GGUF" {
            return Err("no GGUF file".to_owned());
        }
        match fields.u32()? {
            1 => fields.wide = false,
            2 | 3 => {}
            other => return Err(format!("GGUF version {other}; 1 to 3 can be read")),
        }
        let (tensors, values) = (fields.length()?, fields.length()?);
        let alignment = fields.alignment(values)?;
        let tensors = fields.tensors(tensors)?;
        let start = (length - fields.left).next_multiple_of(alignment);
        for (name, info) in &tensors {
            let size =
                size(info).ok_or_else(|| format!("tensor {name} cannot have the shape {:?}", info.shape.dims()))?;
            let end = size.checked_add(info.offset).and_then(|end| end.checked_add(start));
            if end.is_none_or(|end| end > length) {
                return Err(format!("tensor {name} lies beyond its end; the file is cut short"));
            }
        }
        Ok(Self { tensors, start })
    }
}

/// The length of a tensor, in bytes; `None` where it is no whole number of blocks.
fn size(info: &TensorInfo) -> Option<u64> {
    let (count, block) = (elements(info.shape.dims())?, info.ggml_dtype.block_size());
    let blocks = count.is_multiple_of(block).then_some(count / block)?;
    blocks.checked_mul(info.ggml_dtype.type_size())?.try_into().ok()
}

struct Fields<'a, R> {
    input: &'a mut R,
    /// Bytes behind what was read.
    left: u64,
    /// Lengths have 8 bytes, and not 4.
    wide: bool,
}

impl<R: Read> Fields<'_, R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.leave(N as u64)?;
        self.input.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Result<u64, String> {
        if self.wide { self.u64() } else { self.u32().map(u64::from) }
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        self.leave(length)?;
        let mut bytes = Vec::new();
        self.input.take(length).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        // Some writers end texts with a zero, as C does.
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_end_matches('\0').to_owned())
    }

    fn skip(&mut self, length: u64) -> Result<(), String> {
        self.leave(length)?;
        let passed = io::copy(&mut self.input.take(length), &mut io::sink()).map_err(|e| e.to_string())?;
        if passed == length { Ok(()) } else { Err("it is cut short".to_owned()) }
    }

    /// So many bytes are read next.
    fn leave(&mut self, length: u64) -> Result<(), String> {
        let left = self.left.checked_sub(length);
        self.left = left.ok_or_else(|| format!("speaks of {length} bytes where {} are left", self.left))?;
        Ok(())
    }

    /// Passes over the values; the alignment that they name.
    fn alignment(&mut self, values: u64) -> Result<u64, String> {
        let mut alignment = ALIGNMENT;
        for _ in 0..values {
            let (name, kind) = (self.text()?, self.u32()?);
            if name != "general.alignment" {
                self.value(kind, 0)?;
                continue;
            }
            alignment = if kind == U32 { self.u32()?.into() } else { 0 };
            if alignment == 0 {
                return Err("its general.alignment is no number of bytes".to_owned());
            }
        }
        Ok(alignment)
    }

    /// Passes over a value.
    fn value(&mut self, kind: u32, depth: u32) -> Result<(), String> {
        if let Some(size) = fixed(kind) {
            return self.skip(size);
        }
        if kind != LIST {
            // A text, the only other kind there is.
            let length = self.length()?;
            return if kind == LIST - 1 {
                self.skip(length)
            } else {
                Err(format!("a value of the unknown kind {kind}"))
            };
        }
        if depth == MAX_DEPTH {
            return Err("lists in lists without end".to_owned());
        }
        let (kind, count) = (self.u32()?, self.length()?);
        match fixed(kind) {
            Some(size) => self.skip(count.saturating_mul(size)),
            None => (0..count).try_for_each(|_| self.value(kind, depth + 1)),
        }
    }

    fn tensors(&mut self, count: u64) -> Result<HashMap<String, TensorInfo>, String> {
        let mut tensors = HashMap::new();
        for _ in 0..count {
            let name = self.text()?;
            let dims = self.u32()?;
            if dims > MAX_DIMS {
                return Err(format!("tensor {name} has {dims} dimensions, more than {MAX_DIMS}"));
            }
            let dims = (0..dims).map(|_| self.length()).collect::<Result<Vec<_>, _>>()?;
            // The file names the fastest first.
            let dims: Result<Vec<usize>, _> = dims.into_iter().rev().map(usize::try_from).collect();
            let dims = dims.map_err(|_| format!("tensor {name} is too large for this machine"))?;
            let (kind, offset) = (self.u32()?, self.u64()?);
            let ggml_dtype = ggml_dtype(kind).ok_or_else(|| format!("tensor {name} is of the unknown type {kind}"))?;
            // candle makes slices of what holds nothing, in a way that debug builds stop at.
            if dims.contains(&0) {
                return Err(format!("tensor {name} is empty"));
            }
            let info = TensorInfo { ggml_dtype, shape: Shape::from(dims), offset };
            if tensors.insert(name.clone(), info).is_some() {
                return Err(format!("two tensors are called {name}"));
            }
        }
        Ok(tensors)
    }
}

/// The length of a value whose kind says it, in bytes.
fn fixed(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// ggml's numbers of the types that candle knows (`enum ggml_type` in ggml.h).
fn ggml_dtype(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        9 => GgmlDType::Q8_1,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        15 => GgmlDType::Q8K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Magic and version, how many tensors and values there are, and what follows.
    fn file(tensors: u64, values: u64, rest: &[&[u8]]) -> Vec<u8> {
        let head = [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &values.to_le_bytes()].concat();
        [head, rest.concat()].concat()
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn fault(file: &[u8]) -> String {
        Header::read(&mut &*file, file.len() as u64).unwrap_err()
    }

    /// A tensor called `a`.
    fn tensor(dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
        let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
        let count = (dims.len() as u32).to_le_bytes();
        [&text("a")[..], &count, &dims_bytes, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
    }

    #[test]
    fn claims_that_the_file_has_no_room_for_are_errors() {
        let many = 1 << 60;
        assert!(fault(&file(many, 0, &[&[0; 16]])).contains("are left"));
        assert!(fault(&file(0, many, &[&[0; 16]])).contains("are left"));
        let key = text("k");
        let long = u64::MAX.to_le_bytes();
        assert!(fault(&file(0, 1, &[&long, b"name"])).contains("are left"), "a name");
        assert!(fault(&file(0, 1, &[&key, &8_u32.to_le_bytes(), &long])).contains("are left"), "a text");
        for kind in 0..=12_u32 {
            let list = [&key[..], &LIST.to_le_bytes(), &kind.to_le_bytes(), &long].concat();
            assert!(fault(&file(0, 1, &[&list])).contains("are left"), "a list of kind {kind}");
        }
        assert!(fault(&file(0, 1, &[&key, &13_u32.to_le_bytes(), &[0; 8]])).contains("unknown kind 13"));
        let list = [&LIST.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
        let deep = [&key[..], &LIST.to_le_bytes(), &list.repeat(9000)].concat();
        assert!(fault(&file(0, 1, &[&deep])).contains("lists in lists"));
    }

    #[test]
    fn tensors_that_cannot_be_are_errors() {
        let one = |dims: &[u64], kind, offset| fault(&file(1, 0, &[&tensor(dims, kind, offset), &[0; 64]]));
        for dims in [&[1 << 60][..], &[1 << 32, 1 << 29], &[64]] {
            assert!(one(dims, 0, 0).contains("cut short"), "{dims:?}");
        }
        for dims in [&[1 << 32, 1 << 32][..], &[1 << 63], &[u64::MAX, u64::MAX, u64::MAX, 1]] {
            assert!(one(dims, 0, 0).contains("the shape"), "{dims:?}");
        }
        assert!(one(&[1], 0, u64::MAX).contains("cut short"));
        assert!(one(&[31], 8, 0).contains("the shape"), "no whole block");
        assert!(one(&[0, 1 << 60, 1 << 60], 0, 0).contains("empty"));
        assert!(one(&[1; 5], 0, 0).contains("5 dimensions"));
        assert!(one(&[1], 77, 0).contains("type 77"));
        let twice = fault(&file(2, 0, &[&tensor(&[1], 0, 0), &tensor(&[1], 0, 0), &[0; 64]]));
        assert!(twice.contains("two tensors"), "{twice}");
    }

    #[test]
    fn tensors_begin_where_the_alignment_says() {
        let aligned = |to: u32| {
            let value = [&text("general.alignment")[..], &U32.to_le_bytes(), &to.to_le_bytes()].concat();
            file(1, 1, &[&value, &tensor(&[1], 0, 0), &[0; 256]])
        };
        // 8 + 16 of the head, 25 + 8 of the value, 33 of the tensor.
        for (to, start) in [(1, 90), (8, 96), (64, 128), (100, 100)] {
            let bytes = aligned(to);
            let header = Header::read(&mut &*bytes, bytes.len() as u64).unwrap();
            assert_eq!((header.start, header.tensors["a"].shape.dims()), (start, &[1][..]));
        }
        assert!(fault(&aligned(0)).contains("general.alignment"));
        assert!(fault(&aligned(u32::MAX)).contains("cut short"));
    }
}
