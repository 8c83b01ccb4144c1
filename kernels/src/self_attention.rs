//! An encoder's attention, straight from its fused projection.

use std::ops::Range;

use crate::{
    buffer::with_scratch,
    head::{Head, scratch_words},
    memory::{BLOCK, Fill, Layout},
    precision::Precision,
    simd::Level,
    threads::{self, Shared},
};

/// Multiplications below which a second thread costs more than it does.
const SMALL: usize = 128 * 1024;
/// Queries of a task: enough that its keys and values are worth fetching.
const CHUNK: usize = 240;

/// Self-attention of a padded batch.
#[derive(Debug, Clone, Copy)]
pub struct SelfAttention<'a> {
    /// Queries (already scaled), keys and values: rows * steps x 3 * heads * size.
    pub qkv: &'a [f32],
    /// Rows of the batch.
    pub rows: usize,
    /// Steps each row is padded to.
    pub steps: usize,
    /// Heads.
    pub heads: usize,
    /// Values of a head.
    pub size: usize,
    /// Row r's first `lengths[r]` steps are real; the rest are hidden as keys, and what they give is finite and else
    /// unspecified.
    pub lengths: &'a [usize],
    /// Added to the scores of every row (heads x steps x steps).
    pub bias: Option<&'a [f32]>,
    /// F32: f32 arithmetic. Others: scores and weighted sums of bf16 products, summed in f32.
    pub precision: Precision,
}

/// Attends every step of each row to the row's real steps, into `out` (rows * steps x heads * size).
pub fn self_attention(a: &SelfAttention<'_>, out: &mut [f32]) {
    let width = a.heads * a.size;
    assert_eq!(a.qkv.len(), a.rows * a.steps * 3 * width, "qkv is rows * steps x 3 * heads * size");
    assert_eq!(out.len(), a.rows * a.steps * width, "out is rows * steps x heads * size");
    assert_eq!(a.lengths.len(), a.rows, "a length for each row");
    assert!(a.bias.is_none_or(|bias| bias.len() == a.heads * a.steps * a.steps), "bias is heads x steps x steps");
    let layout = Layout::new(1, a.size, a.precision);
    let words = layout.words(a.steps);
    let all = Batch { a, layout, level: Level::current(), to: Shared(out.as_mut_ptr()) };
    let units = a.rows * a.heads;
    let threads = threads::available();
    if threads == 1 || units >= 8 * threads || units * a.steps * a.steps * a.size < SMALL {
        // A unit is packed and attended to by one thread, which has it in its cache.
        let one = |unit: usize| {
            with_scratch(words, |packed| {
                all.pack(unit, packed.as_mut_ptr());
                all.attend(unit, packed.as_ptr(), 0..a.steps);
            });
        };
        return if threads == 1 || units < threads { (0..units).for_each(one) } else { threads::each(units, one) };
    }
    with_scratch(units * words, |packed| {
        let packed = Shared(packed.as_mut_ptr());
        threads::each(units, |unit| all.pack(unit, packed.get().wrapping_add(unit * words)));
        let chunks = a.steps.div_ceil(CHUNK);
        threads::each(units * chunks, |task| {
            let (unit, from) = (task / chunks, task % chunks * CHUNK);
            all.attend(unit, packed.get().wrapping_add(unit * words), from..(from + CHUNK).min(a.steps));
        });
    });
}

struct Batch<'a> {
    a: &'a SelfAttention<'a>,
    layout: Layout,
    level: Level,
    to: Shared<f32>,
}

impl Batch<'_> {
    /// Where a head of a step's queries is in the projection; keys and values are one and two widths on.
    fn at(&self, unit: usize, step: usize) -> *const f32 {
        let (row, head) = (unit / self.a.heads, unit % self.a.heads);
        let width = self.a.heads * self.a.size;
        self.a.qkv.as_ptr().wrapping_add((row * self.a.steps + step) * 3 * width + head * self.a.size)
    }

    fn length(&self, unit: usize) -> usize {
        self.a.lengths[unit / self.a.heads].min(self.a.steps)
    }

    /// Packs the keys and values of a unit (a head of a row) into `to`, which holds every step.
    fn pack(&self, unit: usize, to: *mut u32) {
        let width = self.a.heads * self.a.size;
        let length = self.length(unit);
        for from in (0..length).step_by(BLOCK) {
            let keys = self.at(unit, from).wrapping_add(width);
            let fill = Fill {
                layout: self.layout,
                to: to.wrapping_add(from / BLOCK * self.layout.block_words()),
                keys,
                values: keys.wrapping_add(width),
                stride: 3 * width,
                from: 0,
                count: (length - from).min(BLOCK),
            };
            self.level.run(fill);
        }
    }

    /// Attends the queries of some steps to what `pack` wrote. Each call writes its own steps' and head's outputs.
    fn attend(&self, unit: usize, packed: *const u32, steps: Range<usize>) {
        let (a, width) = (self.a, self.a.heads * self.a.size);
        let (row, head) = (unit / a.heads, unit % a.heads);
        let bias = |bias: &[f32]| bias.as_ptr().wrapping_add((head * a.steps + steps.start) * a.steps);
        with_scratch(scratch_words(self.layout, a.steps, steps.len()), |scratch| {
            let head = Head {
                layout: self.layout,
                words: packed,
                jump: self.layout.block_words(),
                positions: self.length(unit),
                causal_from: None,
                queries: self.at(unit, steps.start),
                query_stride: 3 * width,
                n: steps.len(),
                bias: a.bias.map_or(std::ptr::null(), bias),
                bias_stride: a.steps,
                out: self.to.get().wrapping_add((row * a.steps + steps.start) * width + head * a.size),
                out_stride: width,
                weights: false,
                scratch: scratch.as_mut_ptr(),
            };
            self.level.run(head);
        });
    }
}
