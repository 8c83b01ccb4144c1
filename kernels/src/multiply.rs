//! The product of rows with a packed matrix: how it is cut up, and what is done to each tile while it is in the cache.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use std::ops::Range;

use crate::{
    buffer::with_scratch,
    math::{Gelu, GeluTanh, Relu, Same, Shape, Silu},
    matrix::{Activation, Finish, Matrix},
    precision::Precision,
    rows::ToWords,
    simd::{Level, PANEL, Simd, Work},
    threads::{self, Shared},
    tile::{Dot, Pairs, Quads, RowScale, Singles, Sink, Tile},
};

/// Below so many word products of one vector row, a second thread costs more than it does.
const SMALL: usize = 32 * 1024;
/// Words of rows that a block holds, so that they stay in the second cache beside a panel. Each block reads all weights
/// again from the third.
const BLOCK: usize = 96 * 1024;
/// Steps along the inputs that many rows take at once, so that a block has many rows.
const STRETCH: usize = 768;

/// Row r of `x` is `x[r * stride..][..inputs]`.
pub(crate) fn multiply(matrix: &Matrix, x: &[f32], stride: usize, out: &mut [f32], finish: &Finish<'_>) {
    let (outputs, steps) = (matrix.outputs(), matrix.steps());
    if out.is_empty() {
        return;
    }
    let rows = out.len() / outputs;
    assert_eq!(out.len(), rows * outputs, "out is rows x outputs");
    assert!(x.len() >= (rows - 1) * stride + matrix.inputs(), "x holds every row");
    assert!(finish.bias.is_none_or(|bias| bias.len() == outputs), "a bias for each output");
    assert!(finish.gate.is_none_or(|gate| gate.len() == out.len()), "a gate for each value");
    assert!(finish.add.is_none_or(|add| add.len() == out.len()), "something to add to each value");
    let level = Level::current();
    let x = ToWords { x, stride, inputs: matrix.inputs(), precision: matrix.precision() };
    let product = Product { matrix, out: Shared(out.as_mut_ptr()), finish: *finish };
    let panels = outputs.div_ceil(PANEL);
    let threads = if rows * steps * outputs < SMALL { 1 } else { threads::available() };
    let block = (BLOCK / steps.clamp(1, STRETCH)).clamp(12, 240) / 6 * 6;
    if rows >= threads * 12 {
        // Each task has rows of its own, and turns them into words itself.
        let block = block.min(rows.div_ceil(threads).next_multiple_of(6));
        let task = |at: usize| {
            let rows = at * block..((at + 1) * block).min(rows);
            product.rows(level, &x, rows, |all| all.run(level, 0..panels));
        };
        let tasks = rows.div_ceil(block);
        if threads == 1 { (0..tasks).for_each(task) } else { threads::each(tasks, task) }
    } else if threads == 1 {
        product.rows(level, &x, 0..rows, |all| all.run(level, 0..panels));
    } else {
        product.rows(level, &x, 0..rows, |all| {
            let tasks = panels.min(threads * 4);
            threads::each(tasks, |at| all.run(level, at * panels / tasks..(at + 1) * panels / tasks));
        });
    }
}

#[derive(Clone, Copy)]
struct Product<'a> {
    matrix: &'a Matrix,
    out: Shared<f32>,
    finish: Finish<'a>,
}

impl Product<'_> {
    /// Calls `work` with `rows` as words.
    fn rows(&self, level: Level, x: &ToWords<'_>, rows: Range<usize>, work: impl FnOnce(&Prepared<'_>)) {
        if x.precision == Precision::F32 {
            let a = Shared(x.x[rows.start * x.stride..].as_ptr().cast_mut().cast());
            return work(&Prepared { product: self, a, stride: x.stride, scales: &[], rows });
        }
        let steps = x.steps();
        with_scratch(rows.len() * steps, |words| {
            let mut few = [RowScale::default(); 32];
            let mut many = Vec::new();
            let scales = if rows.len() <= few.len() {
                &mut few[..rows.len()]
            } else {
                many.resize(rows.len(), RowScale::default());
                &mut many[..]
            };
            x.write(level, rows.start, words, scales);
            work(&Prepared { product: self, a: Shared(words.as_mut_ptr()), stride: steps, scales, rows });
        });
    }
}

/// Rows as words, ready for a product.
struct Prepared<'a> {
    product: &'a Product<'a>,
    a: Shared<u32>,
    stride: usize,
    scales: &'a [RowScale],
    rows: Range<usize>,
}

impl Prepared<'_> {
    fn run(&self, level: Level, panels: Range<usize>) {
        level.run(Panels { rows: self, panels });
    }
}

struct Panels<'a> {
    rows: &'a Prepared<'a>,
    panels: Range<usize>,
}

impl Work for Panels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.rows.product.matrix.precision() {
            Precision::F32 => self.tiles::<S, Singles>(),
            Precision::Bf16 => self.tiles::<S, Pairs>(),
            Precision::Int8 => self.tiles::<S, Quads>(),
        }
    }
}

impl Panels<'_> {
    #[inline(always)]
    unsafe fn tiles<S: Simd, D: Dot<S>>(self) {
        let Prepared { product, a, stride, scales, ref rows } = *self.rows;
        let (matrix, finish) = (product.matrix, product.finish);
        let (steps, outputs) = (matrix.steps(), matrix.outputs());
        let words = matrix.panels.words().as_ptr();
        let polished = finish.activation.is_some() || finish.gate.is_some() || finish.add.is_some();
        // Quantised rows are never cut: their sums are whole only at the end. They are short enough.
        let cuts = if rows.len() <= 2 * S::ROWS || !scales.is_empty() { 1 } else { steps.div_ceil(STRETCH).max(1) };
        for cut in 0..cuts {
            let (from, to) = (cut * steps / cuts, (cut + 1) * steps / cuts);
            for panel in self.panels.clone() {
                for column in (panel * PANEL..((panel + 1) * PANEL).min(outputs)).step_by(S::COLUMNS) {
                    let valid = (outputs - column).min(S::COLUMNS);
                    let b = words.add((panel * steps + from) * PANEL + column % PANEL);
                    let column_scales = matrix.scales.as_ptr().wrapping_add(column);
                    let bias = finish.bias.map(|bias| bias.as_ptr().add(column));
                    for at in (0..rows.len()).step_by(S::ROWS) {
                        let count = (rows.len() - at).min(S::ROWS);
                        let a = a.get().cast_const().add(at * stride + from);
                        let start = (rows.start + at) * outputs + column;
                        let out = product.out.get().add(start);
                        let scales = if scales.is_empty() { std::ptr::null() } else { scales.as_ptr().add(at) };
                        let add = cut > 0;
                        let mut write = Write { out, stride: outputs, valid, scales, column_scales, bias, add };
                        let steps = to - from;
                        let tile = Tile { a, a_stride: stride, b, steps, block: steps, jump: 0 };
                        S::tile::<D, _>(&tile, count, &mut write);
                        if polished && cut + 1 == cuts {
                            Polish { product, start, count, valid }.run::<S>();
                        }
                    }
                }
            }
        }
    }
}

/// Writes a tile's sums with their bias.
struct Write {
    out: *mut f32,
    stride: usize,
    valid: usize,
    /// Null where nothing was quantised.
    scales: *const RowScale,
    column_scales: *const f32,
    bias: Option<*const f32>,
    /// Whether to add to what is there (and has its bias).
    add: bool,
}

impl<S: Simd, D: Dot<S>> Sink<S, D> for Write {
    #[inline(always)]
    unsafe fn take<const R: usize, const V: usize>(&mut self, sums: &[[D::Sum; V]; R]) {
        for v in 0..V {
            let n = self.valid.saturating_sub(v * S::LANES).min(S::LANES);
            if n == 0 {
                break;
            }
            let mut bias = S::splat(0.0);
            if let Some(from) = self.bias
                && !self.add
            {
                bias = some::<S>(from.add(v * S::LANES), n);
            }
            for r in 0..R {
                let scale = if self.scales.is_null() { RowScale::default() } else { *self.scales.add(r) };
                let value = D::numbers(sums[r][v], scale, self.column_scales.wrapping_add(v * S::LANES));
                let to = self.out.add(r * self.stride + v * S::LANES);
                let value = S::add(value, if self.add { some::<S>(to, n) } else { bias });
                if n == S::LANES { S::store(to, value) } else { S::store_some(to, value, n) }
            }
        }
    }
}

/// What follows the bias, on a tile.
struct Polish<'a> {
    product: &'a Product<'a>,
    /// The tile's first value, from the start of the output.
    start: usize,
    count: usize,
    valid: usize,
}

impl Polish<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        match self.product.finish.activation {
            None => self.each::<S, Same>(),
            Some(Activation::Gelu) => self.each::<S, Gelu>(),
            Some(Activation::GeluTanh) => self.each::<S, GeluTanh>(),
            Some(Activation::Relu) => self.each::<S, Relu>(),
            Some(Activation::Silu) => self.each::<S, Silu>(),
        }
    }

    #[inline(always)]
    unsafe fn each<S: Simd, A: Shape>(self) {
        for row in 0..self.count {
            let row = self.start + row * self.product.matrix.outputs();
            let whole = self.valid - self.valid % S::LANES;
            // Whole vectors without a mask: what was just written is then read from where it waits to be written.
            for at in (0..whole).step_by(S::LANES) {
                let out = self.product.out.get().add(row + at);
                S::store(out, self.value::<S, A>(row + at, S::LANES));
            }
            if whole < self.valid {
                let out = self.product.out.get().add(row + whole);
                let n = self.valid - whole;
                S::store_some(out, self.value::<S, A>(row + whole, n), n);
            }
        }
    }

    /// `n` values at `at`, finished.
    #[inline(always)]
    unsafe fn value<S: Simd, A: Shape>(&self, at: usize, n: usize) -> S::F {
        let Finish { gate, add, .. } = self.product.finish;
        let mut value = A::of::<S>(some::<S>(self.product.out.get().add(at), n));
        if let Some(gate) = gate {
            value = S::mul(value, some::<S>(gate.as_ptr().add(at), n));
        }
        if let Some(add) = add {
            value = S::add(value, some::<S>(add.as_ptr().add(at), n));
        }
        value
    }
}

#[inline(always)]
unsafe fn some<S: Simd>(from: *const f32, n: usize) -> S::F {
    if n == S::LANES { S::load(from) } else { S::load_some(from, n) }
}
