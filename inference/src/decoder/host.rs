//! Keys and values on the host, for our kernels: each row has its own, and shares its source's.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use kernels::{Attend, KeysValues, Precision};

use super::Watch;
use super::batch::{Source, SourceKind, Step};
use crate::layers::host;

/// What one source's rows share: keys and values over the encoder's output, one for each layer.
pub(super) type Memory = Arc<Vec<KeysValues>>;

pub(super) fn sources(
    projected: &[Tensor],
    steps: usize,
    lengths: &[usize],
    (heads, size): (usize, usize),
    precision: Precision,
) -> Result<Vec<Source>> {
    let inner = heads * size;
    let mut memories: Vec<Vec<KeysValues>> = vec![Vec::with_capacity(projected.len()); lengths.len()];
    for layer in projected {
        host::read(layer, |values| {
            for ((row, length), memory) in lengths.iter().enumerate().zip(&mut memories) {
                let from = row * steps * 2 * inner;
                let mut kept = KeysValues::new(heads, size, precision);
                kept.reserve(*length);
                kept.push(&values[from..], &values[from + inner..], 2 * inner, *length);
                memory.push(kept);
            }
        })?;
    }
    let source = |(memory, length): (Vec<KeysValues>, &usize)| {
        let layers = memory.len();
        let empty = vec![KeysValues::new(heads, size, precision); layers];
        Source { kind: SourceKind::Host { memory: Arc::new(memory), empty }, length: *length }
    };
    Ok(memories.into_iter().zip(lengths).map(source).collect())
}

#[derive(Debug)]
struct Row {
    own: Vec<KeysValues>,
    source: Memory,
}

#[derive(Debug)]
pub(super) struct HostBatch {
    rows: Vec<Row>,
}

impl HostBatch {
    pub(super) fn new(rows: impl Iterator<Item = (Memory, Vec<KeysValues>)>) -> Self {
        Self { rows: rows.map(|(source, own)| Row { own, source }).collect() }
    }

    /// Takes over the rows of `other`, each `share` times.
    pub(super) fn join(&mut self, other: Self, share: usize) {
        for row in other.rows {
            for _ in 1..share {
                self.rows.push(Row { own: row.own.clone(), source: row.source.clone() });
            }
            self.rows.push(row);
        }
    }

    /// Rows `from..from + share` go; the last ones take their place.
    pub(super) fn retire(&mut self, from: usize, share: usize) {
        for i in (from..from + share).rev() {
            self.rows.swap_remove(i);
        }
    }

    /// Row i goes on from the text of row `parents[i]`, of the same source.
    pub(super) fn reorder(&mut self, parents: &[usize]) {
        // A row nobody goes on from lends its memory to one that has to copy.
        let mut wanted = vec![0usize; self.rows.len()];
        parents.iter().for_each(|parent| wanted[*parent] += 1);
        let mut old: Vec<Option<Vec<KeysValues>>> =
            self.rows.iter_mut().map(|row| Some(std::mem::take(&mut row.own))).collect();
        let mut spare: Vec<Vec<KeysValues>> =
            (0..old.len()).filter(|i| wanted[*i] == 0).filter_map(|i| old[i].take()).collect();
        for (i, parent) in parents.iter().enumerate() {
            wanted[*parent] -= 1;
            let own = if wanted[*parent] == 0 { old[*parent].take() } else { None };
            self.rows[i].own = match (own, &old[*parent]) {
                (Some(own), _) => own,
                (None, Some(shared)) => match spare.pop() {
                    Some(mut copy) => {
                        copy.iter_mut().zip(shared).for_each(|(to, from)| to.clone_from_filled(from));
                        copy
                    }
                    None => shared.clone(),
                },
                (None, None) => Vec::new(),
            };
        }
    }

    /// Queries, keys and values side by side, (tokens, 3 x inner), to (tokens, inner).
    pub(super) fn attend_own(&mut self, layer: usize, projected: &Tensor, step: &Step) -> Result<Tensor> {
        let heads = step.heads;
        let (tokens, columns) = projected.dims2()?;
        let inner = columns / 3;
        let mut out = vec![0.0; tokens * inner];
        host::read(projected, |values| {
            let mut from = 0;
            for (row, n) in self.rows.iter_mut().zip(&step.counts) {
                let at = from * columns;
                row.own[layer].push(&values[at + inner..], &values[at + 2 * inner..], columns, *n);
                from += n;
            }
            let mut from = 0;
            let mut tasks = Vec::with_capacity(self.rows.len());
            for (i, (row, n)) in self.rows.iter().zip(&step.counts).enumerate() {
                tasks.push(Attend {
                    memory: &row.own[layer],
                    queries: &values[from * columns..],
                    query_stride: columns,
                    n: *n,
                    causal_from: Some(step.past[i] + 1),
                    bias: step.biases.get(i).map(Vec::as_slice),
                });
                from += n;
            }
            kernels::attend(&tasks, heads, inner / heads, &mut out);
        })?;
        host::matrix(out, tokens, inner)
    }

    /// Queries (tokens, inner) over the sources. Rows of one source are asked at once.
    pub(super) fn attend_cross(&self, layer: usize, queries: &Tensor, step: &Step) -> Result<Tensor> {
        let heads = step.heads;
        let (tokens, inner) = queries.dims2()?;
        let mut out = vec![0.0; tokens * inner];
        host::read(queries, |values| {
            let mut tasks: Vec<Attend<'_>> = Vec::with_capacity(self.rows.len());
            let mut from = 0;
            for (i, (row, n)) in self.rows.iter().zip(&step.counts).enumerate() {
                match tasks.last_mut().filter(|_| i > 0 && Arc::ptr_eq(&row.source, &self.rows[i - 1].source)) {
                    Some(task) => task.n += n,
                    None => tasks.push(Attend {
                        memory: &row.source[layer],
                        queries: &values[from * inner..],
                        query_stride: inner,
                        n: *n,
                        causal_from: None,
                        bias: None,
                    }),
                }
                from += n;
            }
            kernels::attend(&tasks, heads, inner / heads, &mut out);
        })?;
        host::matrix(out, tokens, inner)
    }

    pub(super) fn watch(&self, layer: usize, queries: &Tensor, heads: usize, watch: &mut Watch) -> Result<()> {
        let (tokens, inner) = queries.dims2()?;
        let Some(row) = self.rows.first() else { return Ok(()) };
        let chosen: Vec<usize> = watch.heads.iter().filter(|(l, _)| *l == layer).map(|(_, head)| *head).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        let found = host::read(queries, |queries| {
            let memory = &row.source[layer];
            let task = Attend { memory, queries, query_stride: inner, n: tokens, causal_from: None, bias: None };
            kernels::attention_weights(&task, heads, inner / heads, &chosen)
        })?;
        let places = watch.heads.iter().zip(&mut watch.shares).filter(|((l, _), _)| *l == layer);
        places.zip(found).for_each(|((_, place), shares)| place.extend(shares));
        Ok(())
    }
}
