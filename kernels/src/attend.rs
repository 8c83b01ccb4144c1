//! Attention of queries over the keys and values of a memory: a step of decoding.

#![allow(unsafe_code)]

use crate::{
    buffer::with_scratch,
    head::{Head, scratch_words},
    memory::KeysValues,
    simd::Level,
    threads::{self, Shared},
};

/// Multiplications below which a second thread costs more than it does.
const SMALL: usize = 128 * 1024;
/// Queries of a task at most, so that a long text is shared among threads.
const CHUNK: usize = 96;

/// Queries of one row, over its own memory.
#[derive(Debug, Clone, Copy)]
pub struct Attend<'a> {
    /// What is attended to.
    pub memory: &'a KeysValues,
    /// Query i is `queries[i * query_stride..][..heads * size]`, already scaled.
    pub queries: &'a [f32],
    /// Floats from one query to the next.
    pub query_stride: usize,
    /// Queries.
    pub n: usize,
    /// Positions of the memory that the first query may see; query i sees i more. None: all see everything.
    pub causal_from: Option<usize>,
    /// Added to the scores (heads x n x positions).
    pub bias: Option<&'a [f32]>,
}

impl Attend<'_> {
    fn check(&self, heads: usize, size: usize) {
        let layout = self.memory.layout;
        assert_eq!((layout.heads, layout.size), (heads, size), "the memory has other heads");
        let need = if self.n == 0 { 0 } else { (self.n - 1) * self.query_stride + heads * size };
        assert!(self.queries.len() >= need, "every query");
        let scores = heads * self.n * self.memory.len();
        assert!(self.bias.is_none_or(|bias| bias.len() == scores), "bias is heads x n x positions");
    }

    /// Queries `from..from + n` of `head`, which give `out`.
    ///
    /// # Safety
    /// As `check` asserts; `out` and `scratch` are large enough.
    unsafe fn head(&self, head: usize, from: usize, n: usize, out: *mut f32, scratch: *mut u32) -> Head {
        let KeysValues { layout, ref blocks, .. } = *self.memory;
        let positions = self.memory.len();
        // SAFETY: the memory has a block for every position and a part of it for every head, the queries and the bias
        // are as long as `check` asserts.
        unsafe {
            Head {
                layout,
                words: blocks.words().as_ptr().wrapping_add(head * layout.head_words()),
                jump: layout.block_words(),
                positions,
                causal_from: self.causal_from.map(|seen| seen + from),
                queries: self.queries.as_ptr().add(from * self.query_stride + head * layout.size),
                query_stride: self.query_stride,
                n,
                bias: self.bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add((head * self.n + from) * positions)),
                bias_stride: positions,
                out,
                out_stride: layout.heads * layout.size,
                weights: false,
                scratch,
            }
        }
    }
}

/// Attends each task's queries to its memory; `out` holds for each task in order n x (heads * size). A query that
/// sees nothing gets zeros.
pub fn attend(tasks: &[Attend<'_>], heads: usize, size: usize, out: &mut [f32]) {
    let width = heads * size;
    let mut units = Vec::with_capacity(tasks.len());
    let (mut start, mut work) = (0, 0);
    for task in tasks {
        task.check(heads, size);
        for from in (0..task.n).step_by(CHUNK) {
            units.push((task, from, start + from * width));
        }
        start += task.n * width;
        work += task.n * task.memory.len() * width;
    }
    assert_eq!(out.len(), start, "out is n x (heads * size) for each task");
    let level = Level::current();
    let to = Shared(out.as_mut_ptr());
    let one = |at: usize| {
        let (task, from, start) = units[at / heads];
        let head = at % heads;
        with_scratch(scratch_words(task.memory.layout, task.memory.len(), task.n), |scratch| {
            let n = (task.n - from).min(CHUNK);
            // SAFETY: checked above; each unit writes its own queries' part of `out`, a head of it.
            let head = unsafe { task.head(head, from, n, to.get().add(start + head * size), scratch.as_mut_ptr()) };
            level.run(head);
        });
    };
    let units = units.len() * heads;
    if work < SMALL { (0..units).for_each(one) } else { threads::each(units, one) }
}

/// Softmax weights of the `chosen` heads: for each, n x positions. For word times and streaming policies.
pub fn attention_weights(task: &Attend<'_>, heads: usize, size: usize, chosen: &[usize]) -> Vec<Vec<f32>> {
    task.check(heads, size);
    let positions = task.memory.len();
    let level = Level::current();
    let of_head = |&head: &usize| {
        assert!(head < heads, "head {head} of {heads}");
        let mut weights = vec![0.0; task.n * positions];
        with_scratch(scratch_words(task.memory.layout, positions, task.n), |scratch| {
            // SAFETY: checked above.
            let all = unsafe { task.head(head, 0, task.n, weights.as_mut_ptr(), scratch.as_mut_ptr()) };
            level.run(Head { out_stride: positions, weights: true, ..all });
        });
        weights
    };
    chosen.iter().map(of_head).collect()
}
