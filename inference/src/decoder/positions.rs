//! How an architecture tells a token's place in the text.

use candle_core::{DType, Result, Tensor};

use crate::layers::host;

/// Positions, added to embeddings or to attention scores.
#[derive(Debug)]
pub(crate) enum Positions {
    /// A vector for each position, (positions, width), added to the embeddings.
    Table(Tensor),
    /// A bias for each distance and head, added to the scores.
    Relative {
        bias: RelativeBias,
        /// Tokens a text may have; the architecture sets no limit itself.
        limit: usize,
    },
}

impl Positions {
    /// Tokens a row may have.
    pub(crate) fn limit(&self) -> usize {
        match self {
            Self::Table(table) => table.dims()[0],
            Self::Relative { limit, .. } => *limit,
        }
    }

    pub(crate) fn relative(&self) -> Option<&RelativeBias> {
        if let Self::Relative { bias, .. } = self { Some(bias) } else { None }
    }

    /// `embedded`, (tokens, width), with the vectors of `positions` added.
    pub(crate) fn add(&self, embedded: Tensor, positions: &[u32]) -> Result<Tensor> {
        let Self::Table(table) = self else { return Ok(embedded) };
        if !table.device().is_cpu() || table.dtype() != DType::F32 {
            return embedded + table.index_select(&Tensor::new(positions, table.device())?, 0)?;
        }
        let (tokens, width) = embedded.dims2()?;
        let mut sum = host::read(&embedded, <[f32]>::to_vec)?;
        host::read(table, |table| {
            for (row, position) in sum.chunks_exact_mut(width).zip(positions) {
                let at = *position as usize * width;
                row.iter_mut().zip(&table[at..at + width]).for_each(|(value, position)| *value += position);
            }
        })?;
        host::matrix(sum, tokens, width)
    }
}

/// T5's relative positions: distances fall into buckets, exact up to half of them, logarithmic up to a greatest
/// distance; each bucket has a bias for each head (arXiv 1910.10683, section 2.1).
#[derive(Debug, Clone)]
pub(crate) struct RelativeBias {
    /// buckets x heads
    table: Vec<f32>,
    heads: usize,
    buckets: usize,
    greatest: usize,
    /// An encoder sees both ways, and has half of the buckets for either.
    both_ways: bool,
}

impl RelativeBias {
    /// `table` is (buckets, heads); beyond `greatest` all distances are alike.
    pub(crate) fn new(table: &Tensor, greatest: usize, both_ways: bool) -> Result<Self> {
        let (buckets, heads) = table.dims2()?;
        Ok(Self { table: host::values(table)?, heads, buckets, greatest, both_ways })
    }

    fn bucket(&self, query: usize, key: usize) -> usize {
        let mut buckets = self.buckets;
        let mut base = 0;
        let distance = if self.both_ways {
            buckets /= 2;
            base = if key > query { buckets } else { 0 };
            query.abs_diff(key)
        } else {
            query.saturating_sub(key)
        };
        let exact = buckets / 2;
        if distance < exact {
            return base + distance;
        }
        let share = (distance as f32 / exact as f32).ln() / (self.greatest as f32 / exact as f32).ln();
        base + (exact + (share * (buckets - exact) as f32) as usize).min(buckets - 1)
    }

    /// heads x queries x keys, for queries at `from` and on, over the keys from 0 on.
    pub(crate) fn of(&self, from: usize, queries: usize, keys: usize) -> Vec<f32> {
        let mut values = vec![0.0; self.heads * queries * keys];
        for query in 0..queries {
            for key in 0..keys {
                let bucket = self.bucket(from + query, key);
                for head in 0..self.heads {
                    values[(head * queries + query) * keys + key] = self.table[bucket * self.heads + head];
                }
            }
        }
        values
    }
}
