//! Layer normalisation, and by the root mean square.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::{
    simd::{Level, Simd, Work},
    threads::{self, Shared},
};

/// Numbers below which a second thread costs more than it does.
const SMALL: usize = 64 * 1024;

/// (x - mean) / sqrt(variance + epsilon) * weight + bias for each row of `x` (rows as long as `weight`), into `out`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    assert_eq!(bias.len(), weight.len(), "a bias for each weight");
    normalise(x, weight, Some(bias), epsilon, out);
}

/// x / sqrt(mean of squares + epsilon) * weight for each row of `x` (rows as long as `weight`), into `out`.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    normalise(x, weight, None, epsilon, out);
}

fn normalise(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "out is as large as x");
    let width = weight.len();
    if x.is_empty() {
        return;
    }
    assert!(width > 0 && x.len().is_multiple_of(width), "x is rows as long as the weights");
    let rows = x.len() / width;
    let level = Level::current();
    let to = Shared(out.as_mut_ptr());
    let some = |from: usize, until: usize| {
        for row in from..until {
            let x = &x[row * width..][..width];
            // SAFETY: `out` has as many rows as `x`, and each task writes its own.
            level.run(Row { x, weight, bias, epsilon, out: unsafe { to.get().add(row * width) } });
        }
    };
    if x.len() < SMALL {
        return some(0, rows);
    }
    let tasks = rows.min(threads::available() * 4);
    threads::each(tasks, |at| some(at * rows / tasks, (at + 1) * rows / tasks));
}

struct Row<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    /// None: by the root mean square, which takes no mean off.
    bias: Option<&'a [f32]>,
    epsilon: f32,
    out: *mut f32,
}

/// The sum of (x - mean), or of its square.
#[inline(always)]
unsafe fn total<S: Simd>(x: &[f32], mean: f32, squared: bool) -> f32 {
    let mean = S::splat(mean);
    let (mut sums, whole) = ([S::splat(0.0); 4], x.len() - x.len() % (4 * S::LANES));
    for at in (0..whole).step_by(4 * S::LANES) {
        for part in 0..4 {
            let value = S::sub(S::load(x.as_ptr().add(at + part * S::LANES)), mean);
            sums[part] = if squared { S::fma(value, value, sums[part]) } else { S::add(sums[part], value) };
        }
    }
    let mut sum = S::sum(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])));
    let mean = S::sum(mean) / S::LANES as f32;
    for x in &x[whole..] {
        sum += if squared { (x - mean) * (x - mean) } else { x - mean };
    }
    sum
}

impl Work for Row<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let width = self.x.len();
        let mean = if self.bias.is_some() { total::<S>(self.x, 0.0, false) / width as f32 } else { 0.0 };
        let variance = total::<S>(self.x, mean, true) / width as f32;
        let (scale, mean) = (S::splat(1.0 / (variance + self.epsilon).sqrt()), S::splat(mean));
        for at in (0..width).step_by(S::LANES) {
            let n = (width - at).min(S::LANES);
            let x = S::mul(S::sub(S::load_some(self.x.as_ptr().add(at), n), mean), scale);
            let weight = S::load_some(self.weight.as_ptr().add(at), n);
            let bias = self.bias.map_or(S::splat(0.0), |bias| S::load_some(bias.as_ptr().add(at), n));
            S::store_some(self.out.add(at), S::fma(x, weight, bias), n);
        }
    }
}
