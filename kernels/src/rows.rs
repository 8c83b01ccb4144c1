//! Rows of activations as words that packed weights are multiplied by.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::{
    math::largest,
    precision::{Precision, to_bf16},
    simd::{Level, Simd, Work},
    tile::RowScale,
};

/// Values that a word holds.
pub(crate) fn per_word(precision: Precision) -> usize {
    match precision {
        Precision::F32 => 1,
        Precision::Bf16 => 2,
        Precision::Int8 => 4,
    }
}

/// Rows to be turned into words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToWords<'a> {
    /// Row r is `x[r * stride..][..inputs]`.
    pub(crate) x: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) inputs: usize,
    pub(crate) precision: Precision,
}

impl ToWords<'_> {
    /// Words of one row.
    pub(crate) fn steps(&self) -> usize {
        self.inputs.div_ceil(per_word(self.precision))
    }

    /// Writes rows `from..from + scales.len()` to `words` (steps apart), and what undoes their quantisation.
    pub(crate) fn write(&self, level: Level, from: usize, words: &mut [u32], scales: &mut [RowScale]) {
        let steps = self.steps();
        assert!(words.len() >= scales.len() * steps, "room for every row");
        for (at, scale) in scales.iter_mut().enumerate() {
            let x = &self.x[(from + at) * self.stride..][..self.inputs];
            let words = &mut words[at * steps..][..steps];
            *scale = level.run(Row { x, words, precision: self.precision });
        }
    }
}

struct Row<'a> {
    x: &'a [f32],
    words: &'a mut [u32],
    precision: Precision,
}

impl Work for Row<'_> {
    type Output = RowScale;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> RowScale {
        let whole = self.x.len() - self.x.len() % S::LANES;
        match self.precision {
            Precision::F32 => {
                for (word, x) in self.words.iter_mut().zip(self.x) {
                    *word = x.to_bits();
                }
                RowScale::default()
            }
            Precision::Bf16 => {
                let to = self.words.as_mut_ptr().cast::<u16>();
                for at in (0..whole).step_by(S::LANES) {
                    S::store_bf16(to.add(at), S::load(self.x.as_ptr().add(at)));
                }
                for at in whole..self.words.len() * 2 {
                    to.add(at).write(self.x.get(at).map_or(0, |x| to_bf16(*x)));
                }
                RowScale::default()
            }
            Precision::Int8 => {
                let most = largest::<S>(self.x);
                let step = if most > 0.0 { 127.0 / most } else { 0.0 };
                let to = self.words.as_mut_ptr().cast::<i8>();
                for at in (0..whole).step_by(S::LANES) {
                    S::store_i8(to.add(at), S::mul(S::load(self.x.as_ptr().add(at)), S::splat(step)));
                }
                for at in whole..self.words.len() * 4 {
                    let byte = self.x.get(at).map_or(0, |x| (x * step).round_ties_even() as i8);
                    to.add(at).write(byte);
                }
                let bytes = std::slice::from_raw_parts(to.cast_const(), self.words.len() * 4);
                let sum: i32 = bytes.iter().map(|&byte| i32::from(byte)).sum();
                RowScale { scale: most / 127.0, excess: 128 * sum }
            }
        }
    }
}
