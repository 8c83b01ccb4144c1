//! An encoder's attention, straight from its fused projection.

#![allow(unsafe_code)]

use crate::{
    buffer::with_scratch,
    head::{Head, scratch_words},
    memory::{BLOCK, Fill, Layout},
    precision::Precision,
    simd::Level,
    threads::{self, Shared},
};

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
    let level = Level::current();
    let to = Shared(out.as_mut_ptr());
    with_scratch(a.rows * a.heads * words, |packed| {
        let packed = Shared(packed.as_mut_ptr());
        threads::each(a.rows * a.heads, |unit| {
            let (row, head) = (unit / a.heads, unit % a.heads);
            let length = a.lengths[row].min(a.steps);
            for from in (0..length).step_by(BLOCK) {
                // SAFETY: `packed` has `words` words for each unit, enough for `steps` positions; `qkv` is as long as
                // was asserted.
                let fill = unsafe {
                    let keys = a.qkv.as_ptr().add((row * a.steps + from) * 3 * width + width + head * a.size);
                    Fill {
                        layout,
                        to: packed.get().add(unit * words + from / BLOCK * layout.block_words()),
                        keys,
                        values: keys.add(width),
                        stride: 3 * width,
                        from: 0,
                        count: (length - from).min(BLOCK),
                    }
                };
                level.run(fill);
            }
        });
        let chunks = a.steps.div_ceil(CHUNK);
        threads::each(a.rows * a.heads * chunks, |task| {
            let (unit, from) = (task / chunks, task % chunks * CHUNK);
            let (row, head) = (unit / a.heads, unit % a.heads);
            with_scratch(scratch_words(layout, a.steps), |scratch| {
                // SAFETY: as above; each task writes the outputs of its own queries, a head of them.
                let head = unsafe {
                    Head {
                        layout,
                        words: packed.get().add(unit * words),
                        jump: layout.block_words(),
                        positions: a.lengths[row].min(a.steps),
                        causal_from: None,
                        queries: a.qkv.as_ptr().add((row * a.steps + from) * 3 * width + head * a.size),
                        query_stride: 3 * width,
                        n: (a.steps - from).min(CHUNK),
                        bias: a
                            .bias
                            .map_or(std::ptr::null(), |bias| bias.as_ptr().add((head * a.steps + from) * a.steps)),
                        bias_stride: a.steps,
                        out: to.get().add((row * a.steps + from) * width + head * a.size),
                        out_stride: width,
                        weights: false,
                        scratch: scratch.as_mut_ptr(),
                    }
                };
                level.run(head);
            });
        });
    });
}
