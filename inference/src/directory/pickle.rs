//! As much of Python's pickle as `torch.save` writes. Nothing is executed: what is no tensor is passed over.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::rc::Rc;

use candle_core::DType;

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
    pub(super) key: String,
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

    fn numbers(&self) -> Option<Vec<usize>> {
        self.items()?.iter().map(Self::number).collect()
    }
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
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
}

impl<R: BufRead> Machine<'_, R> {
    /// Instructions by their numbers in CPython's pickletools.
    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.stack.push(Value::Mark),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |value: &Value| value.text().map(Rc::from).ok_or("a class without a name");
                self.stack.push(Value::Global(text(&module)?, text(&name)?));
            }
            b'q' | b'r' | 0x94 => self.remember(code)?,
            b'h' | b'j' => {
                let id = if code == b'h' { u32::from(self.byte()?) } else { self.word()? };
                let value = self.memo.get(&id).ok_or("a reference to nothing")?.clone();
                self.stack.push(value);
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.stack.push(call(&callable, &arguments)?);
            }
            // An object's further state: of a dictionary, its `_metadata`.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                self.stack.push(Value::Storage(Rc::new(storage(&id).ok_or("an unknown kind of storage")?)));
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
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or("an empty stack")?;
                Value::Tuple(self.stack.split_off(from).into())
            }
            b't' => Value::Tuple(self.since_mark()?.into()),
            b']' => Value::List(Vec::new()),
            b'l' => Value::List(self.since_mark()?),
            b'}' => Value::Dict(Vec::new()),
            b'd' => {
                let items = self.since_mark()?;
                Value::Dict(pairs(items))
            }
            b'a' | b'e' | b's' | b'u' => return self.extend(code),
            other => return Err(format!("the instruction {other:#x}, which torch.save does not write")),
        };
        self.stack.push(value);
        Ok(())
    }

    fn extend(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.since_mark()?,
        };
        match self.stack.last_mut() {
            Some(Value::List(list)) => list.extend(items),
            Some(Value::Dict(dict)) => dict.extend(pairs(items)),
            Some(Value::Other) => {}
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
        let value = match self.stack.last() {
            // These are remembered empty and filled later; no file of weights refers to them again.
            Some(Value::List(_) | Value::Dict(_)) => Value::Other,
            Some(value) => value.clone(),
            None => return Err("an empty stack".to_owned()),
        };
        self.memo.insert(id, value);
        Ok(())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark)).ok_or("an end without a start")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "an empty stack".to_owned())
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

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
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
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            arguments.first().cloned().ok_or_else(|| "a parameter without a tensor".to_owned())
        }
        ("collections", "OrderedDict") => Ok(Value::Dict(Vec::new())),
        _ => Ok(Value::Other),
    }
}

/// Storage, offset, size and stride are the first arguments of torch's functions that rebuild tensors.
fn view(arguments: &[Value]) -> Option<View> {
    let [Value::Storage(storage), offset, dims, strides, ..] = arguments else { return None };
    let (dims, strides) = (dims.numbers()?, strides.numbers()?);
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
    Some(Storage { key: key.text()?.to_owned(), dtype, count: count.number()? })
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

    #[test]
    fn numbers_of_any_length_are_read() {
        assert_eq!(long(&[]).number(), Some(0));
        assert_eq!(long(&[0, 1]).number(), Some(256));
        assert!(matches!(long(&[0xff]), Value::Number(-1)));
        assert!(matches!(long(&[0; 10]), Value::Other));
    }
}
