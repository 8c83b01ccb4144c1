//! Tokens to vectors.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::error::ModelError;
use crate::layers::{Linear, Loader, host};

/// An embedding table, often the same matrix that scores the tokens.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    table: Table,
    width: usize,
    factor: f64,
}

#[derive(Debug, Clone)]
enum Table {
    /// Rows of a matrix our kernels hold.
    Packed(Arc<Linear>),
    /// (vocabulary, width)
    Plain(Tensor),
}

impl Embedding {
    /// `table` is (vocabulary, width); embeddings are multiplied by `factor`. The second is the same matrix for scoring
    /// tokens, with its bias.
    pub(crate) fn tied(
        weights: &Loader,
        table: &Tensor,
        factor: f64,
        bias: Option<Tensor>,
    ) -> std::result::Result<(Self, Arc<Linear>), ModelError> {
        let linear = Arc::new(Linear::new(weights, table, bias)?);
        let width = table.dims2()?.1;
        let shared = match linear.packed() {
            Some(_) => Table::Packed(linear.clone()),
            None => Table::Plain(table.clone()),
        };
        Ok((Self { table: shared, width, factor }, linear))
    }

    /// A table of its own.
    pub(crate) fn new(weights: &Loader, table: &Tensor, factor: f64) -> std::result::Result<Self, ModelError> {
        Ok(Self::tied(weights, table, factor, None)?.0)
    }

    /// (tokens, width)
    pub(crate) fn of(&self, tokens: &[u32]) -> Result<Tensor> {
        let table = match &self.table {
            Table::Plain(table) => table,
            Table::Packed(linear) => {
                let mut values = vec![0.0; tokens.len() * self.width];
                if let Some(matrix) = linear.packed() {
                    for (token, row) in tokens.iter().zip(values.chunks_exact_mut(self.width)) {
                        // A token beyond the table is the last one, as an index out of range must not end the process.
                        matrix.row((*token as usize).min(matrix.outputs() - 1), row);
                        row.iter_mut().for_each(|value| *value *= self.factor as f32);
                    }
                }
                return host::matrix(values, tokens.len(), self.width);
            }
        };
        let rows = table.index_select(&Tensor::new(tokens, table.device())?, 0)?;
        if self.factor == 1.0 { Ok(rows) } else { rows * self.factor }
    }
}
