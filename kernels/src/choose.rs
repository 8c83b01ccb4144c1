//! The choice of a token from a row of logits.

#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use crate::{
    math::exp,
    simd::{Level, Simd, Work},
    threads::{self, Shared},
};

/// Logits that are looked at at once for the greatest of all.
const STRETCH: usize = 1024;
/// Logits below which a second thread costs more than it does.
const SMALL: usize = 100_000;

/// A token, and its log-probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The token's place in the row.
    pub id: u32,
    /// Its log-probability under the softmax of what is allowed.
    pub logprob: f32,
}

/// Sets the logits of `banned[row]` (ids in any order; those outside the row are passed over) to -inf in each row of
/// `n` logits, and returns each row's best id (the first of equals) with its log-probability. `banned` may be shorter
/// than there are rows: nothing is banned in the others. A row with nothing allowed gives id 0 with -inf.
pub fn best_of(logits: &mut [f32], n: usize, banned: &[&[u32]]) -> Vec<Best> {
    if logits.is_empty() {
        return Vec::new();
    }
    assert!(n > 0 && logits.len().is_multiple_of(n), "logits are rows of n");
    for (logits, banned) in logits.chunks_exact_mut(n).zip(banned) {
        for &id in *banned {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
    let level = Level::current();
    let rows = logits.len() / n;
    let mut best = vec![Best { id: 0, logprob: f32::NEG_INFINITY }; rows];
    let to = Shared(best.as_mut_ptr());
    let one = |row: usize| {
        let (id, most) = greatest(level, &logits[row * n..][..n]);
        if most > f32::NEG_INFINITY {
            let logprob = -sum_of_exp(level, &logits[row * n..][..n], most).ln();
            // SAFETY: there is a best for each row, and each task writes its own.
            unsafe { to.get().add(row).write(Best { id, logprob }) };
        }
    };
    if logits.len() < SMALL {
        (0..rows).for_each(one)
    } else {
        threads::each(rows, one)
    }
    best
}

/// The `k` best of one row of already masked logits, best first (of equals the first), with log-probabilities.
/// Logits of -inf are never among them.
pub fn top_k(logits: &[f32], k: usize) -> Vec<Best> {
    let level = Level::current();
    let total = log_sum_exp(logits);
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(k + 1);
    let mut first = 0;
    for stretch in logits.chunks(STRETCH) {
        // Most stretches hold nothing better than the worst that is kept.
        let worst = if best.len() < k { f32::NEG_INFINITY } else { best.last().map_or(f32::INFINITY, |best| best.0) };
        if level.run(Greatest(stretch)) > worst {
            for (at, &logit) in stretch.iter().enumerate() {
                let full = best.len() == k;
                if logit > f32::NEG_INFINITY && (!full || best.last().is_some_and(|worst| logit > worst.0)) {
                    let place = best.partition_point(|better| better.0 >= logit);
                    best.insert(place, (logit, first + at as u32));
                    best.truncate(k);
                }
            }
        }
        first += stretch.len() as u32;
    }
    best.into_iter().map(|(logit, id)| Best { id, logprob: logit - total }).collect()
}

/// log(sum(exp(logits))); -inf of nothing.
pub fn log_sum_exp(logits: &[f32]) -> f32 {
    let level = Level::current();
    let (_, most) = greatest(level, logits);
    if most == f32::NEG_INFINITY { most } else { most + sum_of_exp(level, logits, most).ln() }
}

/// The greatest logit and the first place it is at; what is no number is passed over.
fn greatest(level: Level, logits: &[f32]) -> (u32, f32) {
    let (mut best, mut most) = (0, f32::NEG_INFINITY);
    for (at, stretch) in logits.chunks(STRETCH).enumerate() {
        let here = level.run(Greatest(stretch));
        if here > most {
            (best, most) = (at * STRETCH, here);
        }
    }
    let place = logits.iter().skip(best).position(|logit| *logit == most);
    ((best + place.unwrap_or(0)) as u32, most)
}

struct Greatest<'a>(&'a [f32]);

impl Work for Greatest<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let (x, whole) = (self.0, self.0.len() - self.0.len() % (4 * S::LANES));
        let mut most = [S::splat(f32::NEG_INFINITY); 4];
        for at in (0..whole).step_by(4 * S::LANES) {
            for part in 0..4 {
                most[part] = S::max(S::load(x.as_ptr().add(at + part * S::LANES)), most[part]);
            }
        }
        let most = S::greatest(S::max(S::max(most[0], most[1]), S::max(most[2], most[3])));
        x[whole..].iter().fold(most, |most, x| if *x > most { *x } else { most })
    }
}

/// The sum of e^(x - most).
fn sum_of_exp(level: Level, logits: &[f32], most: f32) -> f32 {
    level.run(SumOfExp(logits, most))
}

struct SumOfExp<'a>(&'a [f32], f32);

impl Work for SumOfExp<'_> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let (x, whole) = (self.0, self.0.len() - self.0.len() % (2 * S::LANES));
        let most = S::splat(self.1);
        let mut sums = [S::splat(0.0); 2];
        for at in (0..whole).step_by(2 * S::LANES) {
            for part in 0..2 {
                let value = S::sub(S::load(x.as_ptr().add(at + part * S::LANES)), most);
                sums[part] = S::add(sums[part], exp::<S>(value));
            }
        }
        let sum = S::sum(S::add(sums[0], sums[1]));
        x[whole..].iter().fold(sum, |sum, x| if x.is_nan() { sum } else { sum + (x - self.1).exp() })
    }
}
