//! The keys and values that attention remembers of one row.

use crate::precision::{Precision, from_bf16, to_bf16};

/// Keys and values of one row (a text or an utterance) of one layer; grows.
#[derive(Debug, Clone)]
pub struct KeysValues {
    width: usize,
    precision: Precision,
    pub(crate) keys: Vec<f32>,
    pub(crate) values: Vec<f32>,
    len: usize,
}

impl KeysValues {
    /// An empty memory of `heads` heads of `size` values. `Int8` is held as `Bf16`.
    pub fn new(heads: usize, size: usize, precision: Precision) -> Self {
        Self { width: heads * size, precision, keys: Vec::new(), values: Vec::new(), len: 0 }
    }

    /// Makes room for `positions` more positions.
    pub fn reserve(&mut self, positions: usize) {
        self.keys.reserve(positions * self.width);
        self.values.reserve(positions * self.width);
    }

    /// Appends `n` positions. Position i's keys are `keys[i * stride..][..heads * size]`; values likewise.
    pub fn push(&mut self, keys: &[f32], values: &[f32], stride: usize, n: usize) {
        for i in 0..n {
            for (to, from) in [(&mut self.keys, keys), (&mut self.values, values)] {
                let from = &from[i * stride..][..self.width];
                match self.precision {
                    Precision::F32 => to.extend_from_slice(from),
                    _ => to.extend(from.iter().map(|value| from_bf16(to_bf16(*value)))),
                }
            }
        }
        self.len += n;
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all but the first `n` positions.
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(n);
        self.keys.truncate(self.len * self.width);
        self.values.truncate(self.len * self.width);
    }

    /// Becomes a copy of `other`, in the allocation already held where it is large enough.
    pub fn clone_from_filled(&mut self, other: &KeysValues) {
        self.width = other.width;
        self.precision = other.precision;
        self.keys.clone_from(&other.keys);
        self.values.clone_from(&other.values);
        self.len = other.len;
    }
}
