//! An encoder's attention, straight from its fused projection.

use crate::{choose::soften, precision::Precision};

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
    out.fill(0.0);
    for row in 0..a.rows {
        for head in 0..a.heads {
            for i in 0..a.steps {
                let at = |step: usize, part: usize| {
                    &a.qkv[(row * a.steps + step) * 3 * width + part * width + head * a.size..][..a.size]
                };
                let mut scores: Vec<f32> = (0..a.lengths[row].min(a.steps))
                    .map(|j| {
                        let bias = a.bias.map_or(0.0, |bias| bias[(head * a.steps + i) * a.steps + j]);
                        at(i, 0).iter().zip(at(j, 1)).map(|(q, k)| q * k).sum::<f32>() + bias
                    })
                    .collect();
                soften(&mut scores);
                let out = &mut out[(row * a.steps + i) * width + head * a.size..][..a.size];
                for (j, weight) in scores.iter().enumerate() {
                    out.iter_mut().zip(at(j, 2)).for_each(|(out, v)| *out += weight * v);
                }
            }
        }
    }
}
