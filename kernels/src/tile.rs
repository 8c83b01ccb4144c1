//! The innermost loop of every product: a few rows times a few vectors of columns, summed in registers.
//!
//! Packed weights are words of 32 bits, whatever the precision: one f32, two bf16 that follow each other along the
//! inputs, or four bytes that do. A panel is 64 columns wide, word after word of its 64 columns for each step along the
//! inputs; what is multiplied by it has its rows in words of the same kind.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::simd::{PANEL, Simd};

/// What undoes the quantisation of one row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowScale {
    /// What one step of the row's bytes stands for.
    pub(crate) scale: f32,
    /// 128 times the sum of the row's bytes: weights are stored with 128 added.
    pub(crate) excess: i32,
}

/// How words of weights meet words of a row.
pub(crate) trait Dot<S: Simd> {
    type Sum: Copy;
    type Words: Copy;
    unsafe fn zero() -> Self::Sum;
    unsafe fn load(from: *const u32) -> Self::Words;
    unsafe fn splat(from: *const u32) -> Self::Words;
    unsafe fn dot(sum: Self::Sum, weights: Self::Words, row: Self::Words) -> Self::Sum;
    /// The sum as numbers; `columns` points to the scale of each column.
    unsafe fn numbers(sum: Self::Sum, row: RowScale, columns: *const f32) -> S::F;
}

/// Words of one f32.
pub(crate) struct Singles;
/// Words of two bf16.
pub(crate) struct Pairs;
/// Words of four bytes: of weights unsigned with 128 added, of rows signed.
pub(crate) struct Quads;

impl<S: Simd> Dot<S> for Singles {
    type Sum = S::F;
    type Words = S::F;
    #[inline(always)]
    unsafe fn zero() -> S::F {
        S::splat(0.0)
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> S::F {
        S::load(from.cast())
    }
    #[inline(always)]
    unsafe fn splat(from: *const u32) -> S::F {
        S::splat(from.cast::<f32>().read())
    }
    #[inline(always)]
    unsafe fn dot(sum: S::F, weights: S::F, row: S::F) -> S::F {
        S::fma(weights, row, sum)
    }
    #[inline(always)]
    unsafe fn numbers(sum: S::F, _: RowScale, _: *const f32) -> S::F {
        sum
    }
}

impl<S: Simd> Dot<S> for Pairs {
    type Sum = S::F;
    type Words = S::I;
    #[inline(always)]
    unsafe fn zero() -> S::F {
        S::splat(0.0)
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> S::I {
        S::load_words(from)
    }
    #[inline(always)]
    unsafe fn splat(from: *const u32) -> S::I {
        S::splat_words(from.read())
    }
    #[inline(always)]
    unsafe fn dot(sum: S::F, weights: S::I, row: S::I) -> S::F {
        S::dot_pairs(sum, weights, row)
    }
    #[inline(always)]
    unsafe fn numbers(sum: S::F, _: RowScale, _: *const f32) -> S::F {
        sum
    }
}

impl<S: Simd> Dot<S> for Quads {
    type Sum = S::I;
    type Words = S::I;
    #[inline(always)]
    unsafe fn zero() -> S::I {
        S::splat_words(0)
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> S::I {
        S::load_words(from)
    }
    #[inline(always)]
    unsafe fn splat(from: *const u32) -> S::I {
        S::splat_words(from.read())
    }
    #[inline(always)]
    unsafe fn dot(sum: S::I, weights: S::I, row: S::I) -> S::I {
        S::dot_quads(sum, weights, row)
    }
    #[inline(always)]
    unsafe fn numbers(sum: S::I, row: RowScale, columns: *const f32) -> S::F {
        let exact = S::to_numbers(S::sub_words(sum, S::splat_words(row.excess as u32)));
        S::mul(exact, S::mul(S::load(columns), S::splat(row.scale)))
    }
}

/// What takes the sums of a tile.
pub(crate) trait Sink<S: Simd, D: Dot<S>> {
    unsafe fn take<const R: usize, const V: usize>(&mut self, sums: &[[D::Sum; V]; R]);
}

/// Where a tile's factors lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// The first row's words.
    pub(crate) a: *const u32,
    /// Words from one row to the next.
    pub(crate) a_stride: usize,
    /// The first step's words of the tile's columns, in a panel.
    pub(crate) b: *const u32,
    /// Steps along the inputs.
    pub(crate) steps: usize,
    /// Steps of a panel that lie together, and words from the start of such a block to that of the next.
    pub(crate) block: usize,
    pub(crate) jump: usize,
}

impl Tile {
    /// Multiplies `R` rows by `V` vectors of columns, and hands the sums to `sink`.
    ///
    /// # Safety
    /// The level of `S` exists; `R` rows of `steps` words lie at `a`, and at `b` a panel of `steps` steps.
    #[inline(always)]
    pub(crate) unsafe fn run<S: Simd, D: Dot<S>, K: Sink<S, D>, const R: usize, const V: usize>(self, sink: &mut K) {
        let mut sums = [[D::zero(); V]; R];
        let (mut a, mut start, mut left) = (self.a, self.b, self.steps);
        while left > 0 {
            let steps = left.min(self.block);
            let mut b = start;
            for step in 0..steps {
                let mut weights = [D::load(b); V];
                for v in 1..V {
                    weights[v] = D::load(b.add(v * S::LANES));
                }
                for r in 0..R {
                    let row = D::splat(a.add(r * self.a_stride + step));
                    for v in 0..V {
                        sums[r][v] = D::dot(sums[r][v], weights[v], row);
                    }
                }
                // Behind the last step nothing is read.
                b = b.wrapping_add(PANEL);
            }
            a = a.add(steps);
            start = start.wrapping_add(self.jump);
            left -= steps;
        }
        sink.take::<R, V>(&sums);
    }
}
