//! The keys and values that attention remembers of one row.
//!
//! Positions lie in blocks of 64. A block holds, head for head, the keys as a panel whose columns are the positions
//! (so that scores need no sum across a vector), then the values as panels whose steps are the positions: both as
//! `tile` wants its weights.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::{
    buffer::Buffer,
    head::row_to_bf16,
    precision::Precision,
    rows::per_word,
    simd::{Level, PANEL, Simd, Work},
    threads::{self, Shared},
};

/// Positions of a block.
pub(crate) const BLOCK: usize = PANEL;
/// Numbers below which pushing is not shared among threads.
const SMALL: usize = 32 * 1024;

/// How the keys and values of a number of heads lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) heads: usize,
    pub(crate) size: usize,
    /// Never `Int8`.
    pub(crate) precision: Precision,
}

impl Layout {
    pub(crate) fn new(heads: usize, size: usize, precision: Precision) -> Self {
        let precision = if precision == Precision::F32 { Precision::F32 } else { Precision::Bf16 };
        Self { heads, size, precision }
    }

    /// Steps along a key.
    pub(crate) fn key_steps(&self) -> usize {
        self.size.div_ceil(per_word(self.precision))
    }

    /// Steps along the positions of a block.
    pub(crate) fn value_steps(&self) -> usize {
        BLOCK / per_word(self.precision)
    }

    /// Words of one head's keys in a block, after which come its values.
    pub(crate) fn key_words(&self) -> usize {
        self.key_steps() * PANEL
    }

    /// Words of one head in a block.
    pub(crate) fn head_words(&self) -> usize {
        self.key_words() + self.size.div_ceil(PANEL) * self.value_steps() * PANEL
    }

    pub(crate) fn block_words(&self) -> usize {
        self.heads * self.head_words()
    }

    /// Words that hold so many positions.
    pub(crate) fn words(&self, positions: usize) -> usize {
        positions.div_ceil(BLOCK) * self.block_words()
    }
}

/// Some positions of one head on their way into one block.
pub(crate) struct Fill {
    pub(crate) layout: Layout,
    /// The head's words in the block.
    pub(crate) to: *mut u32,
    /// The first position's key and value, and the numbers from one position to the next.
    pub(crate) keys: *const f32,
    pub(crate) values: *const f32,
    pub(crate) stride: usize,
    /// Positions of the block that are filled.
    pub(crate) from: usize,
    pub(crate) count: usize,
}

impl Work for Fill {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { layout, to, keys, values, stride, from, count } = self;
        let size = layout.size;
        let panel_of = |base: *mut u32, d: usize| base.add(d / PANEL * layout.value_steps() * PANEL + d % PANEL);
        let value_words = to.add(layout.key_words());
        if layout.precision == Precision::F32 {
            for d in 0..size {
                let row = to.add(d * PANEL + from);
                for p in 0..count {
                    row.add(p).write(keys.add(p * stride + d).read().to_bits());
                }
            }
            for p in 0..count {
                for d in (0..size).step_by(PANEL) {
                    let row = panel_of(value_words, d).add((from + p) * PANEL);
                    std::ptr::copy_nonoverlapping(values.add(p * stride + d).cast(), row, (size - d).min(PANEL));
                }
            }
            return;
        }
        // Sixty-four numbers of each position at a time.
        let mut rounded = [[0u16; PANEL]; BLOCK];
        for d in (0..size).step_by(PANEL) {
            let width = (size - d).min(PANEL);
            for p in 0..count {
                row_to_bf16::<S>(keys.add(p * stride + d), rounded[p].as_mut_ptr(), width);
            }
            for step in 0..width.div_ceil(2) {
                let row = to.add((d / 2 + step) * PANEL + from);
                for p in 0..count {
                    let pair = rounded[p].as_ptr().add(2 * step).cast::<u32>().read_unaligned();
                    row.add(p).write(pair);
                }
            }
            for p in 0..count {
                row_to_bf16::<S>(values.add(p * stride + d), rounded[p].as_mut_ptr(), width);
            }
            let panel = panel_of(value_words, d);
            for at in (from / 2 * 2..from + count).step_by(2) {
                let words = std::slice::from_raw_parts_mut(panel.add(at / 2 * PANEL), width);
                // An even position clears what an earlier, longer memory left in the odd one after it.
                let high = if at + 1 < from + count { rounded[at + 1 - from] } else { [0; PANEL] };
                if at < from {
                    words
                        .iter_mut()
                        .zip(high)
                        .for_each(|(word, high)| *word = (*word & 0xffff) | u32::from(high) << 16);
                } else {
                    let pairs = rounded[at - from].into_iter().zip(high);
                    words.iter_mut().zip(pairs).for_each(|(word, (low, high))| {
                        *word = u32::from(low) | u32::from(high) << 16;
                    });
                }
            }
        }
    }
}

/// Keys and values of one row (a text or an utterance) of one layer; grows.
#[derive(Debug, Clone)]
pub struct KeysValues {
    pub(crate) layout: Layout,
    pub(crate) blocks: Buffer,
    len: usize,
}

impl KeysValues {
    /// An empty memory of `heads` heads of `size` values. `Int8` is held as `Bf16`.
    pub fn new(heads: usize, size: usize, precision: Precision) -> Self {
        Self { layout: Layout::new(heads, size, precision), blocks: Buffer::default(), len: 0 }
    }

    /// Makes room for `positions` more positions.
    pub fn reserve(&mut self, positions: usize) {
        self.blocks.reserve(self.layout.words(self.len + positions));
    }

    /// Appends `n` positions. Position i's keys are `keys[i * stride..][..heads * size]`; values likewise.
    pub fn push(&mut self, keys: &[f32], values: &[f32], stride: usize, n: usize) {
        if n == 0 {
            return;
        }
        let layout = self.layout;
        let width = layout.heads * layout.size;
        assert!(keys.len() >= (n - 1) * stride + width, "keys of every position");
        assert!(values.len() >= (n - 1) * stride + width, "values of every position");
        let (start, end) = (self.len, self.len + n);
        self.blocks.grow(layout.words(end));
        let level = Level::current();
        let to = Shared(self.blocks.words_mut().as_mut_ptr());
        let first = start / BLOCK;
        let task = |at: usize| {
            let (block, head) = (first + at / layout.heads, at % layout.heads);
            let (from, until) = (start.max(block * BLOCK), end.min((block + 1) * BLOCK));
            let source = (from - start) * stride + head * layout.size;
            // SAFETY: the blocks hold `end` positions, each task writes a head of a block of its own, and the keys and
            // values are as long as was asserted.
            let fill = unsafe {
                Fill {
                    layout,
                    to: to.get().add(block * layout.block_words() + head * layout.head_words()),
                    keys: keys.as_ptr().add(source),
                    values: values.as_ptr().add(source),
                    stride,
                    from: from - block * BLOCK,
                    count: until - from,
                }
            };
            level.run(fill);
        };
        let tasks = (end.div_ceil(BLOCK) - first) * layout.heads;
        if n * width < SMALL {
            (0..tasks).for_each(task)
        } else {
            threads::each(tasks, task)
        }
        self.len = end;
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
    }

    /// Becomes a copy of `other`, in the allocation already held where it is large enough.
    pub fn clone_from_filled(&mut self, other: &KeysValues) {
        self.layout = other.layout;
        self.len = other.len;
        self.blocks.copy_front(&other.blocks, other.layout.words(other.len));
    }
}
