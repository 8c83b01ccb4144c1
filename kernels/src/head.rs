//! Attention of some queries of one head over keys and values in blocks: what decoding and encoders share.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::{
    math::exp,
    memory::{BLOCK, Layout},
    precision::{Precision, to_bf16},
    simd::{PANEL, Simd, Work},
    tile::{Dot, Pairs, RowScale, Singles, Sink, Tile},
};

/// Queries of one head, and where what they give goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) layout: Layout,
    /// The head's words in the first block, and words from one block to the next.
    pub(crate) words: *const u32,
    pub(crate) jump: usize,
    pub(crate) positions: usize,
    /// Positions that query 0 sees, of which each further query sees one more; null: all see all.
    pub(crate) causal_from: Option<usize>,
    /// Query i is at `queries + i * query_stride`.
    pub(crate) queries: *const f32,
    pub(crate) query_stride: usize,
    pub(crate) n: usize,
    /// Added to the scores of query i: at `bias + i * bias_stride`, for every position. May be null.
    pub(crate) bias: *const f32,
    pub(crate) bias_stride: usize,
    /// What query i gives goes to `out + i * out_stride`. With `weights`, its softmax weights (positions) do.
    pub(crate) out: *mut f32,
    pub(crate) out_stride: usize,
    pub(crate) weights: bool,
    /// `scratch_words` of them.
    pub(crate) scratch: *mut u32,
}

/// Words of scratch that a `Head` needs.
pub(crate) fn scratch_words(layout: Layout, positions: usize) -> usize {
    MOST * (positions.next_multiple_of(BLOCK) + layout.size.next_multiple_of(2))
}

/// Queries that are looked at together at most.
const MOST: usize = 8;

impl Work for Head {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.layout.precision {
            Precision::F32 => self.all::<S, Singles>(),
            _ => self.all::<S, Pairs>(),
        }
    }
}

impl Head {
    #[inline(always)]
    unsafe fn all<S: Simd, D: Dot<S, Sum = S::F>>(self) {
        for at in (0..self.n).step_by(S::ROWS) {
            self.tile::<S, D>(at, (self.n - at).min(S::ROWS));
        }
    }

    /// Positions that query `i` sees.
    fn seen(&self, i: usize) -> usize {
        self.causal_from.map_or(self.positions, |from| (from + i).min(self.positions))
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, D: Dot<S, Sum = S::F>>(&self, at: usize, count: usize) {
        let stride = self.positions.next_multiple_of(BLOCK);
        let scores = self.scratch.cast::<f32>();
        let seen = self.seen(at + count - 1);
        self.scores::<S, D>(at, count, seen, scores, stride);
        let mut sums = [0.0; MOST];
        let pairs = self.layout.precision != Precision::F32;
        for r in 0..count {
            let (row, seen) = (scores.add(r * stride), self.seen(at + r));
            if !self.bias.is_null() {
                add_to::<S>(row, self.bias.add((at + r) * self.bias_stride), seen);
            }
            sums[r] = soften::<S>(row, seen, seen_end(self.seen(at + count - 1)));
            if self.weights {
                let scale = if sums[r] > 0.0 { 1.0 / sums[r] } else { 0.0 };
                for p in 0..self.positions {
                    let weight = if p < seen { row.add(p).read() * scale } else { 0.0 };
                    self.out.add((at + r) * self.out_stride + p).write(weight);
                }
            } else if pairs {
                for p in (0..seen_end(self.seen(at + count - 1))).step_by(S::LANES) {
                    let value = S::load(row.add(p));
                    S::store_bf16(row.cast::<u16>().add(p), value);
                }
            }
        }
        if !self.weights {
            self.sum_values::<S, D>(at, count, seen, scores.cast(), stride, &sums);
        }
    }

    #[inline(always)]
    unsafe fn scores<S: Simd, D: Dot<S, Sum = S::F>>(
        &self,
        at: usize,
        count: usize,
        seen: usize,
        scores: *mut f32,
        stride: usize,
    ) {
        let steps = self.layout.key_steps();
        let mut a = self.queries.add(at * self.query_stride).cast::<u32>();
        let mut a_stride = self.query_stride;
        if self.layout.precision != Precision::F32 {
            let to = scores.add(MOST * stride).cast::<u32>();
            a_stride = self.layout.size.next_multiple_of(2);
            for r in 0..count {
                let from = self.queries.add((at + r) * self.query_stride);
                let to = to.add(r * a_stride).cast::<u16>();
                to.add(self.layout.size).write(0);
                for d in 0..self.layout.size {
                    to.add(d).write(to_bf16(from.add(d).read()));
                }
            }
            a = to;
        }
        for p in (0..seen).step_by(S::COLUMNS) {
            let b = self.words.add(p / BLOCK * self.jump + p % BLOCK);
            let mut keep = Keep { to: scores.add(p), stride };
            S::tile::<D, _>(&Tile { a, a_stride, b, steps, block: steps, jump: 0 }, count, &mut keep);
        }
    }

    #[inline(always)]
    unsafe fn sum_values<S: Simd, D: Dot<S, Sum = S::F>>(
        &self,
        at: usize,
        count: usize,
        seen: usize,
        weights: *const u32,
        a_stride: usize,
        sums: &[f32; MOST],
    ) {
        let block = self.layout.value_steps();
        let steps = seen.div_ceil(BLOCK / block);
        for d in (0..self.layout.size).step_by(S::COLUMNS) {
            let b = self.words.add(self.layout.key_words() + d / PANEL * block * PANEL + d % PANEL);
            let valid = (self.layout.size - d).min(S::COLUMNS);
            let to = self.out.add(at * self.out_stride + d);
            let mut share = Share { to, stride: self.out_stride, valid, sums };
            S::tile::<D, _>(&Tile { a: weights, a_stride, b, steps, block, jump: self.jump }, count, &mut share);
        }
    }
}

/// Positions that are written for so many seen: whole vectors of any level.
fn seen_end(seen: usize) -> usize {
    seen.next_multiple_of(16)
}

#[inline(always)]
unsafe fn add_to<S: Simd>(row: *mut f32, bias: *const f32, n: usize) {
    for p in (0..n).step_by(S::LANES) {
        let n = (n - p).min(S::LANES);
        S::store_some(row.add(p), S::add(S::load_some(row.add(p), n), S::load_some(bias.add(p), n)), n);
    }
}

/// Turns the first `seen` scores into e^(score - greatest), the rest up to `end` into 0, and returns their sum.
#[inline(always)]
unsafe fn soften<S: Simd>(row: *mut f32, seen: usize, end: usize) -> f32 {
    for p in seen..end {
        row.add(p).write(f32::NEG_INFINITY);
    }
    let mut most = S::splat(f32::NEG_INFINITY);
    for p in (0..end).step_by(S::LANES) {
        most = S::max(S::load(row.add(p)), most);
    }
    let most = S::greatest(most);
    // Nothing is seen, or nothing that is a number.
    let most = S::splat(if most == f32::NEG_INFINITY { f32::INFINITY } else { most });
    let mut sum = S::splat(0.0);
    for p in (0..end).step_by(S::LANES) {
        let weight = exp::<S>(S::sub(S::load(row.add(p)), most));
        S::store(row.add(p), weight);
        sum = S::add(sum, weight);
    }
    S::sum(sum)
}

/// Keeps a tile's scores.
struct Keep {
    to: *mut f32,
    stride: usize,
}

impl<S: Simd, D: Dot<S, Sum = S::F>> Sink<S, D> for Keep {
    #[inline(always)]
    unsafe fn take<const R: usize, const V: usize>(&mut self, sums: &[[D::Sum; V]; R]) {
        for r in 0..R {
            for v in 0..V {
                S::store(self.to.add(r * self.stride + v * S::LANES), sums[r][v]);
            }
        }
    }
}

/// Writes weighted sums of values, divided by the sum of the weights.
struct Share<'a> {
    to: *mut f32,
    stride: usize,
    valid: usize,
    sums: &'a [f32; MOST],
}

impl<S: Simd, D: Dot<S, Sum = S::F>> Sink<S, D> for Share<'_> {
    #[inline(always)]
    unsafe fn take<const R: usize, const V: usize>(&mut self, sums: &[[D::Sum; V]; R]) {
        for r in 0..R {
            let scale = S::splat(if self.sums[r] > 0.0 { 1.0 / self.sums[r] } else { 0.0 });
            for v in 0..V {
                let n = self.valid.saturating_sub(v * S::LANES).min(S::LANES);
                let value = S::mul(D::numbers(sums[r][v], RowScale::default(), std::ptr::null()), scale);
                let to = self.to.add(r * self.stride + v * S::LANES);
                if n == S::LANES {
                    S::store(to, value);
                } else if n > 0 {
                    S::store_some(to, value, n);
                }
            }
        }
    }
}
