//! As much of Python's pickle as `torch.save` writes. Nothing is executed: what is no tensor is passed over.
//!
//! What is remembered is shared and never copied, and nothing is nested without end: a pickle takes no more memory than some multiple
//! of its length, and no more stack than [`MAX_DEPTH`] values in one another.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::rc::Rc;

use candle_core::DType;

/// Values in one another, so deep. A checkpoint has some six, with the state of its optimiser ten.
const MAX_DEPTH: usize = 64;
/// Most dimensions of a tensor: more than any model has.
const MAX_DIMS: usize = 16;

/// A tensor as a view of a storage: in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) storage: Rc<Storage>,
    pub(super) offset: usize,
    pub(super) dims: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A stretch of bytes that tensors are views of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    /// Its name in the container.
    pub(super) key: Rc<str>,
    pub(super) dtype: DType,
    /// Its length in elements.
    pub(super) count: usize,
}

/// A Python object.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Number(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A class or function: module and name.
    Global(Rc<str>, Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<View>),
    /// Something that holds no tensor.
    Other,
    /// Where a tuple, a list or a dictionary began.
    Mark,
}

impl Value {
    pub(super) fn number(&self) -> Option<usize> {
        if let Self::Number(n) = self { usize::try_from(*n).ok() } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) => Some(items),
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// As the sizes of a tensor.
    fn dims(&self) -> Option<Vec<usize>> {
        let items = self.items().filter(|items| items.len() <= MAX_DIMS)?;
        items.iter().map(Self::number).collect()
    }
}

/// A value, and how deep the values in it lie: a number is 0 deep, a list of numbers 1.
#[derive(Debug, Clone)]
struct Held {
    value: Value,
    depth: usize,
}

/// How deep something is that has these in it.
fn deepest(items: &[Held]) -> usize {
    items.iter().map(|item| item.depth + 1).max().unwrap_or(0)
}

fn values(items: Vec<Held>) -> Vec<Value> {
    items.into_iter().map(|item| item.value).collect()
}

/// Reads one pickle to its end.
pub(super) fn read(input: &mut impl BufRead) -> Result<Value, String> {
    let mut machine = Machine { input, stack: Vec::new(), memo: HashMap::new() };
    loop {
        let code = machine.byte()?;
        if code == b'.' {
            return machine.pop();
        }
        machine.step(code)?;
    }
}

struct Machine<'a, R> {
    input: &'a mut R,
    stack: Vec<Held>,
    memo: HashMap<u32, Held>,
}

impl<R: BufRead> Machine<'_, R> {
    /// Instructions by their numbers in CPython's pickletools.
    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.flat(Value::Mark),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.flat(Value::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err("a class without a name".to_owned());
                };
                self.flat(Value::Global(module, name));
            }
            b'q' | b'r' | 0x94 => self.remember(code)?,
            b'h' | b'j' => {
                let id = if code == b'h' { u32::from(self.byte()?) } else { self.word()? };
                let value = self.memo.get(&id).ok_or("a reference to nothing")?.clone();
                self.stack.push(value);
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let made = call(&callable, &arguments)?;
                self.flat(made);
            }
            // An object's further state: of a dictionary, its `_metadata`.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(&id).ok_or("an unknown kind of storage")?;
                self.flat(Value::Storage(Rc::new(storage)));
            }
            _ => return self.plain(code),
        }
        Ok(())
    }

    /// Numbers, texts and what holds several values.
    fn plain(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Number(i64::from(code == 0x88)),
            b'K' => Value::Number(self.byte()?.into()),
            b'M' => Value::Number(self.take(2)?.iter().rev().fold(0, |n, byte| n << 8 | i64::from(*byte))),
            b'J' => Value::Number(i64::from(self.word()?.cast_signed())),
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            0x8a => {
                let length = self.byte()?;
                let bytes = self.take(length.into())?;
                long(&bytes)
            }
            b'X' => {
                let length = self.word()?;
                self.string(length)?
            }
            0x8c => {
                let length = self.byte()?.into();
                self.string(length)?
            }
            b')' => Value::Tuple(Rc::from([])),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            0x85..=0x87 | b't' | b'l' | b'd' => return self.gather(code),
            b'a' | b'e' | b's' | b'u' => return self.extend(code),
            other => return Err(format!("the instruction {other:#x}, which torch.save does not write")),
        };
        self.flat(value);
        Ok(())
    }

    /// Makes one value of several.
    fn gather(&mut self, code: u8) -> Result<(), String> {
        let items = if let 0x85..=0x87 = code { self.last(usize::from(code - 0x84))? } else { self.since_mark()? };
        let depth = deepest(&items);
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let value = match code {
            b'l' => Value::List(values(items)),
            b'd' => Value::Dict(pairs(items)),
            _ => Value::Tuple(values(items).into()),
        };
        self.stack.push(Held { value, depth });
        Ok(())
    }

    fn extend(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b'a' => self.last(1)?,
            b's' => self.last(2)?,
            _ => self.since_mark()?,
        };
        let Some(held) = self.stack.last_mut() else { return Err("an item that nothing takes".to_owned()) };
        held.depth = held.depth.max(deepest(&items));
        if held.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        match &mut held.value {
            Value::List(list) => list.extend(values(items)),
            Value::Dict(dict) => dict.extend(pairs(items)),
            Value::Other => held.depth = 0,
            _ => return Err("an item that nothing takes".to_owned()),
        }
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Result<(), String> {
        let id = match code {
            b'q' => u32::from(self.byte()?),
            b'r' => self.word()?,
            _ => self.memo.len() as u32,
        };
        let held = match self.stack.last() {
            // These are remembered empty and filled later; no file of weights refers to them again.
            Some(Held { value: Value::List(_) | Value::Dict(_), .. }) => Held { value: Value::Other, depth: 0 },
            Some(held) => held.clone(),
            None => return Err("an empty stack".to_owned()),
        };
        self.memo.insert(id, held);
        Ok(())
    }

    /// Puts something on the stack that has nothing in it.
    fn flat(&mut self, value: Value) {
        self.stack.push(Held { value, depth: 0 });
    }

    fn since_mark(&mut self) -> Result<Vec<Held>, String> {
        let mark = self.stack.iter().rposition(|held| matches!(held.value, Value::Mark));
        let mark = mark.ok_or("an end without a start")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn last(&mut self, count: usize) -> Result<Vec<Held>, String> {
        let from = self.stack.len().checked_sub(count).ok_or("an empty stack")?;
        Ok(self.stack.split_off(from))
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().map(|held| held.value).ok_or_else(|| "an empty stack".to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Result<u32, String> {
        Ok(self.take(4)?.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        // Through `take`, so that a damaged length reserves no memory.
        let got = self.input.by_ref().take(length as u64).read_to_end(&mut bytes);
        match got {
            Ok(got) if got == length => Ok(bytes),
            Ok(_) => Err("it is cut short".to_owned()),
            Err(e) => Err(e.to_string()),
        }
    }

    fn string(&mut self, length: u32) -> Result<Value, String> {
        let bytes = self.take(length as usize)?;
        Ok(Value::Text(String::from_utf8_lossy(&bytes).into()))
    }

    fn line(&mut self) -> Result<Rc<str>, String> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).into()),
            _ => Err("it is cut short".to_owned()),
        }
    }
}

fn pairs(items: Vec<Held>) -> Vec<(Value, Value)> {
    let mut items = items.into_iter().map(|item| item.value);
    std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
}

fn too_deep() -> String {
    format!("more than {MAX_DEPTH} values in one another")
}

/// A whole number of up to eight bytes; longer ones are no sizes.
fn long(bytes: &[u8]) -> Value {
    let Some((last, _)) = bytes.split_last().filter(|_| bytes.len() <= 8) else {
        return if bytes.is_empty() { Value::Number(0) } else { Value::Other };
    };
    let sign = if *last >= 0x80 { -1 } else { 0 };
    Value::Number(bytes.iter().rev().fold(sign, |n, byte| n << 8 | i64::from(*byte)))
}

fn call(callable: &Value, arguments: &Value) -> Result<Value, String> {
    let Value::Global(module, name) = callable else { return Ok(Value::Other) };
    let arguments = arguments.items().unwrap_or_default();
    match (&**module, &**name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => view(arguments)
            .map(|view| Value::Tensor(Rc::new(view)))
            .ok_or_else(|| "a tensor that makes no sense".to_owned()),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => match arguments.first() {
            Some(Value::Tensor(view)) => Ok(Value::Tensor(view.clone())),
            Some(_) => Ok(Value::Other),
            None => Err("a parameter without a tensor".to_owned()),
        },
        ("collections", "OrderedDict") => Ok(Value::Dict(Vec::new())),
        _ => Ok(Value::Other),
    }
}

/// Storage, offset, size and stride are the first arguments of torch's functions that rebuild tensors.
fn view(arguments: &[Value]) -> Option<View> {
    let [Value::Storage(storage), offset, dims, strides, ..] = arguments else { return None };
    let (dims, strides) = (dims.dims()?, strides.dims()?);
    (dims.len() == strides.len()).then_some(View { storage: storage.clone(), offset: offset.number()?, dims, strides })
}

/// ("storage", type, key, device, length, ...)
fn storage(id: &Value) -> Option<Storage> {
    let [_, Value::Global(_, kind), key, _, count, ..] = id.items()? else { return None };
    let dtype = match &**kind {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "ByteStorage" | "BoolStorage" => DType::U8,
        _ => return None,
    };
    let Value::Text(key) = key else { return None };
    Some(Storage { key: key.clone(), dtype, count: count.number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [
            &b""[..],
            b"\x80\x02",
            b".",
            b"R.",
            b"\x80\x02}q\x00(X\xff\xff\xff\xff",
            b"h\x07.",
            b"t.",
            b"K\x01K\x02s.",
            b"\xfe",
        ] {
            assert!(read(&mut &*bytes).is_err(), "{bytes:?}");
        }
        let rebuild = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.";
        assert!(read(&mut &rebuild[..]).unwrap_err().contains("no sense"));
    }

    /// Dropping what lies in one another without end would overflow the stack.
    #[test]
    fn values_in_one_another_without_end_are_an_error() {
        let (tuples, lists) = (vec![0x85; 1_000_000], b"]".repeat(1_000_000));
        let nested = |before: &[u8], after: &[u8]| read(&mut &*[before, after, b"."].concat());
        assert!(nested(b")", &tuples).unwrap_err().contains("in one another"));
        assert!(nested(&lists, &b"a".repeat(999_999)).unwrap_err().contains("in one another"));
        assert!(nested(b"}", &b"K\x00}s".repeat(9)).is_ok(), "one beside the other");
        let remembered = b"\x94h\x00\x86\x94h\x01\x86\x94h\x02\x86".to_vec();
        assert!(nested(b")", &remembered).is_ok());
        let ever: Vec<u8> = (0..=255_u8).flat_map(|id| [0x94, b'h', id, 0x86]).collect();
        assert!(nested(b")", &ever).unwrap_err().contains("in one another"));
        assert!(nested(b")", &tuples[..MAX_DEPTH]).is_ok());
        assert!(nested(b")", &tuples[..=MAX_DEPTH]).is_err());
    }

    /// What is said once and referred to often is there once: else a few bytes would fill any memory.
    #[test]
    fn what_is_remembered_is_not_copied() {
        // A list in a tuple, taken out of it as a parameter ten thousand times.
        let list = [&b"(]("[..], &b"N".repeat(10_000), b"e\x85q\x00ctorch._utils\n_rebuild_parameter\nq\x01"].concat();
        let Ok(Value::Tuple(items)) = read(&mut &*[&list[..], &b"h\x01h\x00R".repeat(10_000), b"t."].concat()) else {
            panic!("it is a tuple");
        };
        assert!(items.iter().filter(|item| matches!(item, Value::Other)).count() == 10_000);
        // A name ten thousand times as long as what refers to it.
        let name = [&b"(X\x10\x27\0\0"[..], &b"n".repeat(10_000), b"q\x00h\x00\x93q\x01"].concat();
        let Ok(Value::Tuple(items)) = read(&mut &*[&name[..], &b"h\x00h\x00\x93".repeat(9), b"t."].concat()) else {
            panic!("it is a tuple");
        };
        let names = |item: &Value| if let Value::Global(module, _) = item { Some(module.clone()) } else { None };
        let names: Vec<_> = items.iter().filter_map(names).collect();
        assert!(names.len() == 10 && names.iter().all(|name| Rc::ptr_eq(name, &names[0])));
        // Sizes that no tensor has.
        let ids = Value::Tuple(vec![Value::Number(1); MAX_DIMS + 1].into());
        assert!(ids.dims().is_none());
    }

    #[test]
    fn numbers_of_any_length_are_read() {
        assert_eq!(long(&[]).number(), Some(0));
        assert_eq!(long(&[0, 1]).number(), Some(256));
        assert!(matches!(long(&[0xff]), Value::Number(-1)));
        assert!(matches!(long(&[0; 10]), Value::Other));
    }
}
