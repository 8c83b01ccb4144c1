//! Attention of some queries of one head over keys and values in blocks: what decoding and encoders share.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::{
    math::exp2,
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

/// Words of scratch that a `Head` of so many queries needs.
pub(crate) fn scratch_words(layout: Layout, positions: usize, queries: usize) -> usize {
    queries.min(MOST) * (positions.next_multiple_of(BLOCK) + layout.size.next_multiple_of(2))
}

/// Queries that are looked at together at most: a few tiles, so that keys and values are fetched for all of them.
const MOST: usize = 24;

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
        for at in (0..self.n).step_by(MOST) {
            self.group::<S, D>(at, (self.n - at).min(MOST));
        }
    }

    /// Positions that query `i` sees.
    fn seen(&self, i: usize) -> usize {
        self.causal_from.map_or(self.positions, |from| (from + i).min(self.positions))
    }

    /// Queries `at..at + count`.
    #[inline(always)]
    unsafe fn group<S: Simd, D: Dot<S, Sum = S::F>>(&self, at: usize, count: usize) {
        let stride = self.positions.next_multiple_of(BLOCK);
        let scores = self.scratch.cast::<f32>();
        let mut most = [S::splat(f32::NEG_INFINITY); MOST];
        let whole = self.scores::<S, D>(at, count, stride, &mut most);
        let mut sums = [0.0; MOST];
        let pairs = self.layout.precision != Precision::F32 && !self.weights;
        for r in 0..count {
            // What a tile's last row sees, its first rows may read: it must be zero for them.
            let end = seen_end(self.seen(at + (r / S::ROWS * S::ROWS + S::ROWS - 1).min(count - 1)));
            let soften = Soften { row: scores.add(r * stride), seen: self.seen(at + r), end };
            if self.bias.is_null() {
                sums[r] = soften.run::<S>(most[r], whole, pairs);
            } else {
                add_to::<S>(soften.row, self.bias.add((at + r) * self.bias_stride), soften.seen);
                sums[r] = soften.run::<S>(S::splat(f32::NEG_INFINITY), 0, pairs);
            }
            if self.weights {
                let scale = if sums[r] > 0.0 { 1.0 / sums[r] } else { 0.0 };
                for p in 0..self.positions {
                    let weight = if p < soften.seen { soften.row.add(p).read() * scale } else { 0.0 };
                    self.out.add((at + r) * self.out_stride + p).write(weight);
                }
            }
        }
        if !self.weights {
            for tile in (0..count).step_by(S::ROWS) {
                let rows = (count - tile).min(S::ROWS);
                self.sum_values::<S, D>(at + tile, rows, scores.add(tile * stride).cast(), stride, &sums[tile..]);
            }
        }
    }

    /// The scores of `count` queries; returns how many of the first positions are in `most`, row for row.
    #[inline(always)]
    unsafe fn scores<S: Simd, D: Dot<S, Sum = S::F>>(
        &self,
        at: usize,
        count: usize,
        stride: usize,
        most: &mut [S::F; MOST],
    ) -> usize {
        let (steps, scores) = (self.layout.key_steps(), self.scratch.cast::<f32>());
        let mut a = self.queries.add(at * self.query_stride).cast::<u32>();
        let mut a_stride = self.query_stride;
        if self.layout.precision != Precision::F32 {
            let to = scores.add(count * stride).cast::<u32>();
            a_stride = self.layout.size.div_ceil(2);
            for r in 0..count {
                let from = self.queries.add((at + r) * self.query_stride);
                row_to_bf16::<S>(from, to.add(r * a_stride).cast(), self.layout.size);
            }
            a = to;
        }
        let whole = self.seen(at) / S::COLUMNS * S::COLUMNS;
        // What is beyond `whole` goes here, and is looked at when it is known what is seen of it.
        let mut beyond = [S::splat(0.0); MOST];
        for p in (0..self.seen(at + count - 1)).step_by(S::COLUMNS) {
            let b = self.words.add(p / BLOCK * self.jump + p % BLOCK);
            for r in (0..count).step_by(S::ROWS) {
                let most = if p < whole { most.as_mut_ptr() } else { beyond.as_mut_ptr() };
                let mut keep = Keep::<S> { to: scores.add(r * stride + p), stride, most: most.add(r) };
                let tile = Tile { a: a.add(r * a_stride), a_stride, b, steps, block: steps, jump: 0 };
                S::tile::<D, _>(&tile, (count - r).min(S::ROWS), &mut keep);
            }
        }
        whole
    }

    #[inline(always)]
    unsafe fn sum_values<S: Simd, D: Dot<S, Sum = S::F>>(
        &self,
        at: usize,
        count: usize,
        weights: *const u32,
        a_stride: usize,
        sums: &[f32],
    ) {
        let block = self.layout.value_steps();
        let steps = self.seen(at + count - 1).div_ceil(BLOCK / block);
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

/// Rounds `size` numbers to bf16, and fills up to a whole pair with 0.
#[inline(always)]
pub(crate) unsafe fn row_to_bf16<S: Simd>(from: *const f32, to: *mut u16, size: usize) {
    let whole = size - size % S::LANES;
    for d in (0..whole).step_by(S::LANES) {
        S::store_bf16(to.add(d), S::load(from.add(d)));
    }
    for d in whole..size.next_multiple_of(2) {
        to.add(d).write(if d < size { to_bf16(from.add(d).read()) } else { 0 });
    }
}

/// One query's scores on their way to weights.
struct Soften {
    row: *mut f32,
    /// Positions seen, and those written to: all whole vectors.
    seen: usize,
    end: usize,
}

impl Soften {
    /// Turns the scores into e^(score - greatest), what is not seen into 0, and returns their sum. The first `whole`
    /// scores are in `most` already. `pairs`: writes them as bf16, from the row's start.
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, mut most: S::F, whole: usize, pairs: bool) -> f32 {
        for p in self.seen..self.end {
            self.row.add(p).write(f32::NEG_INFINITY);
        }
        for p in (whole..self.end).step_by(S::LANES) {
            most = S::max(S::load(self.row.add(p)), most);
        }
        let most = S::greatest(most);
        // Nothing is seen, or nothing that is a number.
        let most = if most == f32::NEG_INFINITY { f32::INFINITY } else { most };
        let log2_e = S::splat(std::f32::consts::LOG2_E);
        let less = S::splat(-most * std::f32::consts::LOG2_E);
        let mut sum = S::splat(0.0);
        if pairs {
            for p in (0..self.end).step_by(S::LANES) {
                let weight = exp2::<S, true>(S::fma(S::load(self.row.add(p)), log2_e, less));
                S::store_bf16(self.row.cast::<u16>().add(p), weight);
                sum = S::add(sum, weight);
            }
        } else {
            for p in (0..self.end).step_by(S::LANES) {
                let weight = exp2::<S, false>(S::fma(S::load(self.row.add(p)), log2_e, less));
                S::store(self.row.add(p), weight);
                sum = S::add(sum, weight);
            }
        }
        S::sum(sum)
    }
}

/// Keeps a tile's scores, and the greatest of each row and lane.
struct Keep<S: Simd> {
    to: *mut f32,
    stride: usize,
    most: *mut S::F,
}

impl<S: Simd, D: Dot<S, Sum = S::F>> Sink<S, D> for Keep<S> {
    #[inline(always)]
    unsafe fn take<const R: usize, const V: usize>(&mut self, sums: &[[D::Sum; V]; R]) {
        for r in 0..R {
            let mut most = self.most.add(r).read();
            for v in 0..V {
                most = S::max(sums[r][v], most);
                S::store(self.to.add(r * self.stride + v * S::LANES), sums[r][v]);
            }
            self.most.add(r).write(most);
        }
    }
}

/// Writes weighted sums of values, divided by the sum of the weights.
struct Share<'a> {
    to: *mut f32,
    stride: usize,
    valid: usize,
    sums: &'a [f32],
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
