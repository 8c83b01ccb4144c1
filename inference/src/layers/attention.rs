//! Attention with candle's operations, and the encoder's attention with either.

use candle_core::{DType, Device, Result, Tensor};
use kernels::SelfAttention;

use super::host;
use crate::compute::Compute;

/// Added to a score, it makes the softmax 0. Finite, so that a row with nothing to see stays a number.
pub(crate) const MASKED: f32 = -30_000.0;

/// Part number `part` of `parts` projections: (rows x steps, parts x inner) to (rows, heads, steps, inner / heads).
pub(crate) fn heads_of(x: &Tensor, rows: usize, heads: usize, part: usize, parts: usize) -> Result<Tensor> {
    let (total, width) = x.dims2()?;
    let x = x.reshape((rows, total / rows, parts, heads, width / parts / heads))?;
    x.narrow(2, part, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()
}

/// Shares of the keys in the attention of scaled queries, both (rows, heads, steps, size), to (rows, heads, steps,
/// steps of the keys). `mask` is added to the scores. The softmax is taken in 32-bit floats.
pub(crate) fn shares(queries: &Tensor, keys: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let scores = queries.matmul(&keys.t()?)?.to_dtype(DType::F32)?;
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    candle_nn::ops::softmax_last_dim(&scores)
}

/// Scaled queries over keys and values, all (rows, heads, steps, size), to (rows x steps, heads x size).
pub(crate) fn attend(queries: &Tensor, keys: &Tensor, values: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let (rows, heads, steps, size) = queries.dims4()?;
    let seen = shares(queries, keys, mask)?.to_dtype(values.dtype())?.matmul(values)?;
    seen.transpose(1, 2)?.reshape((rows * steps, heads * size))
}

/// An encoder's attention: every step sees all of its own row that is not padding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole<'a> {
    pub(crate) heads: usize,
    pub(crate) steps: usize,
    /// Steps of each row that are not padding.
    pub(crate) lengths: &'a [usize],
    /// (heads, steps, steps), added to the scores.
    pub(crate) bias: Option<&'a Tensor>,
}

impl Whole<'_> {
    /// Queries, keys and values side by side, (rows x steps, 3 x inner), to (rows x steps, inner).
    pub(crate) fn attend(&self, projected: &Tensor, compute: &Compute) -> Result<Tensor> {
        let rows = self.lengths.len();
        if let Some(precision) = compute.host_precision() {
            let (total, inner) = (rows * self.steps, projected.dims2()?.1 / 3);
            let mut out = vec![0.0; total * inner];
            let (heads, steps, lengths) = (self.heads, self.steps, self.lengths);
            host::read(projected, |qkv| {
                host::read_any(self.bias, |bias| {
                    let size = inner / heads;
                    let task = SelfAttention { qkv, rows, steps, heads, size, lengths, bias, precision };
                    kernels::self_attention(&task, &mut out);
                })
            })??;
            return host::matrix(out, total, inner);
        }
        let part = |i| heads_of(projected, rows, self.heads, i, 3);
        let hidden = padding_mask(self.lengths, self.steps, projected.device())?;
        let mask = match (hidden, self.bias) {
            (Some(hidden), Some(bias)) => Some(bias.unsqueeze(0)?.broadcast_add(&hidden)?),
            (None, Some(bias)) => Some(bias.unsqueeze(0)?),
            (hidden, None) => hidden,
        };
        attend(&part(0)?, &part(1)?, &part(2)?, mask.as_ref())
    }
}

/// A mask (rows, 1, 1, steps) that hides what lies beyond each row's length; `None` when nothing does.
pub(crate) fn padding_mask(lengths: &[usize], steps: usize, device: &Device) -> Result<Option<Tensor>> {
    if lengths.iter().all(|length| *length == steps) {
        return Ok(None);
    }
    let row = |length: &usize| {
        let length = *length;
        (0..steps).map(move |i| if i < length { 0.0 } else { MASKED })
    };
    let mask: Vec<f32> = lengths.iter().flat_map(row).collect();
    Tensor::from_vec(mask, (lengths.len(), 1, 1, steps), device).map(Some)
}
