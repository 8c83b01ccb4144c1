//! The rows that are decoded together, wherever their keys and values are kept.

use candle_core::{Result, Tensor};
use kernels::KeysValues;

use super::device::{DeviceBatch, DeviceSource};
use super::host::{HostBatch, Memory};
use super::{Positions, Watch};
use crate::error::ModelError;

/// What a decoder keeps of one encoded utterance or text. Clones share it.
#[derive(Debug, Clone)]
pub struct Source {
    pub(super) kind: SourceKind,
    /// Encoder positions that are not padding.
    pub(super) length: usize,
}

#[derive(Debug, Clone)]
pub(super) enum SourceKind {
    Host {
        memory: Memory,
        /// What a row starts with.
        empty: Vec<KeysValues>,
    },
    Device(DeviceSource),
}

impl Source {
    /// Encoder positions that are not padding.
    pub fn length(&self) -> usize {
        self.length
    }
}

/// Rows under way: each has its source and its text so far.
#[derive(Debug)]
pub struct Batch {
    /// Tokens of each row so far.
    lengths: Vec<usize>,
    /// Neighbouring rows that have one source: the beams of one request.
    share: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Empty,
    Host(HostBatch),
    Device(DeviceBatch),
}

/// One pass through the layers: new tokens of each row, and what came before.
#[derive(Debug)]
pub(crate) struct Step {
    /// New tokens of each row.
    pub(super) counts: Vec<usize>,
    /// Tokens of each row before.
    pub(super) past: Vec<usize>,
    /// On a device all rows are padded to so many new tokens; `None` on the host, where they follow each other.
    pub(super) padded_to: Option<usize>,
    pub(super) heads: usize,
    /// On the host: what is added to the scores of each row; empty when nothing is.
    pub(super) biases: Vec<Vec<f32>>,
    /// On a device: hides the future, the padding and what other rows have more; relative positions included.
    pub(super) mask: Option<Tensor>,
    /// On a device: hides the padding of the sources.
    pub(super) cross_mask: Option<Tensor>,
    limit: usize,
}

impl Batch {
    pub(super) fn new(sources: &[Source], capacity: usize) -> Result<Self> {
        let lengths = vec![0; sources.len()];
        let device: Vec<&DeviceSource> = sources.iter().filter_map(Source::device).collect();
        let kind = match sources.first().map(|source| &source.kind) {
            None => Kind::Empty,
            Some(SourceKind::Host { .. }) => Kind::Host(HostBatch::new(sources.iter().filter_map(Source::host))),
            Some(SourceKind::Device(_)) => Kind::Device(DeviceBatch::new(&device, capacity)?),
        };
        Ok(Self { lengths, share: 1, kind })
    }

    /// No rows yet; `share` neighbours are to have one source.
    pub fn empty(share: usize) -> Self {
        Self { lengths: Vec::new(), share: share.max(1), kind: Kind::Empty }
    }

    /// Rows in the batch.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens a row has so far.
    pub fn length(&self, row: usize) -> usize {
        self.lengths[row]
    }

    /// Takes in the rows of `fresh`, which has one row a source, behind its own; each becomes as many alike as share a
    /// source here.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn join(&mut self, fresh: Self) -> std::result::Result<(), ModelError> {
        let share = self.share;
        if fresh.rows() == 0 {
            return Ok(());
        }
        if self.rows() == 0 {
            // What rows that are gone needed (long sources, many places) is given back.
            self.kind = Kind::Empty;
        }
        // In place: if it fails, the rows under way are as they were.
        match (&mut self.kind, fresh.kind) {
            (Kind::Host(rows), Kind::Host(fresh)) => rows.join(fresh, share),
            (Kind::Device(rows), Kind::Device(fresh)) => rows.join(&fresh)?,
            (empty @ Kind::Empty, Kind::Host(fresh)) => {
                let mut rows = HostBatch::new(std::iter::empty());
                rows.join(fresh, share);
                *empty = Kind::Host(rows);
            }
            (empty @ Kind::Empty, Kind::Device(fresh)) => *empty = Kind::Device(fresh.shared(share)?),
            _ => return Err(ModelError::Compute("rows of the host and of a device in one batch".to_owned())),
        }
        self.lengths.extend(fresh.lengths.iter().flat_map(|length| std::iter::repeat_n(*length, share)));
        Ok(())
    }

    /// Drops the rows of source number `source`; those of the last source take their place.
    ///
    /// # Errors
    /// When the device fails.
    pub fn retire(&mut self, source: usize) -> std::result::Result<(), ModelError> {
        let from = source * self.share;
        match &mut self.kind {
            Kind::Empty => {}
            Kind::Host(rows) => rows.retire(from, self.share),
            Kind::Device(rows) => rows.retire(source)?,
        }
        for row in (from..from + self.share).rev() {
            self.lengths.swap_remove(row);
        }
        Ok(())
    }

    /// Row i goes on from the text of row `parents[i]`, which must be of the same source.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn reorder(&mut self, parents: &[usize]) -> std::result::Result<(), ModelError> {
        if parents.iter().enumerate().all(|(i, parent)| i == *parent) {
            return Ok(());
        }
        match &mut self.kind {
            Kind::Empty => {}
            Kind::Host(rows) => rows.reorder(parents),
            Kind::Device(rows) => rows.reorder(parents)?,
        }
        self.lengths = parents.iter().map(|parent| self.lengths[*parent]).collect();
        Ok(())
    }

    /// Tokens the longest row will have with these.
    pub(super) fn longest(&self, tokens: &[Vec<u32>]) -> usize {
        self.lengths.iter().zip(tokens).map(|(length, new)| length + new.len()).max().unwrap_or(0)
    }

    pub(super) fn prepare(&self, tokens: &[Vec<u32>], heads: usize, positions: &Positions) -> Result<Step> {
        let counts: Vec<usize> = tokens.iter().map(Vec::len).collect();
        let past = self.lengths.clone();
        let mut step = Step {
            padded_to: None,
            heads,
            biases: Vec::new(),
            mask: None,
            cross_mask: None,
            limit: positions.limit(),
            counts,
            past,
        };
        if let Kind::Device(rows) = &self.kind {
            step.padded_to = Some(step.counts.iter().copied().max().unwrap_or(0));
            step.mask = rows.mask(&step, positions.relative())?;
            step.cross_mask = rows.cross_mask()?;
        } else if let Some(bias) = positions.relative() {
            let rows = step.past.iter().zip(&step.counts);
            step.biases = rows.map(|(past, count)| bias.of(*past, *count, past + count)).collect();
        }
        Ok(step)
    }

    pub(super) fn attend_own(&mut self, layer: usize, projected: &Tensor, step: &Step) -> Result<Tensor> {
        match &mut self.kind {
            Kind::Empty => Ok(projected.clone()),
            Kind::Host(rows) => rows.attend_own(layer, projected, step),
            Kind::Device(rows) => rows.attend_own(layer, projected, step),
        }
    }

    pub(super) fn attend_cross(&self, layer: usize, queries: &Tensor, step: &Step) -> Result<Tensor> {
        match &self.kind {
            Kind::Empty => Ok(queries.clone()),
            Kind::Host(rows) => rows.attend_cross(layer, queries, step),
            Kind::Device(rows) => rows.attend_cross(layer, queries, step),
        }
    }

    pub(super) fn watch(&self, layer: usize, queries: &Tensor, step: &Step, watch: &mut Watch) -> Result<()> {
        match &self.kind {
            Kind::Empty => Ok(()),
            Kind::Host(rows) => rows.watch(layer, queries, step.heads, watch),
            Kind::Device(rows) => rows.watch(layer, queries, step.heads, watch),
        }
    }

    pub(super) fn advance(&mut self, step: &Step) {
        self.lengths.iter_mut().zip(&step.counts).for_each(|(length, count)| *length += count);
    }
}

impl Source {
    fn device(&self) -> Option<&DeviceSource> {
        if let SourceKind::Device(source) = &self.kind { Some(source) } else { None }
    }

    fn host(&self) -> Option<(Memory, Vec<KeysValues>)> {
        let SourceKind::Host { memory, empty } = &self.kind else { return None };
        Some((memory.clone(), empty.clone()))
    }
}

impl Step {
    /// The tokens as the layers want them: one row behind the other, padded where rows must be equally long.
    pub(super) fn padded(&self, tokens: &[Vec<u32>]) -> Vec<u32> {
        let fill = |row: &Vec<u32>| self.padded_to.map_or(0, |width| width - row.len());
        tokens.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0, fill(row)))).collect()
    }

    /// The place in its row's text of each of them.
    pub(super) fn positions(&self) -> Vec<u32> {
        let last = self.limit.saturating_sub(1);
        let row = |(past, count): (&usize, &usize)| {
            let (past, count) = (*past, self.padded_to.unwrap_or(*count));
            (past..past + count).map(move |position| position.min(last) as u32)
        };
        self.past.iter().zip(&self.counts).flat_map(row).collect()
    }

    /// Hidden states of the tokens that are not padding.
    pub(super) fn without_padding(&self, x: Tensor) -> Result<Tensor> {
        let Some(width) = self.padded_to.filter(|width| self.counts.iter().any(|count| count != width)) else {
            return Ok(x);
        };
        let real = self.counts.iter().enumerate().flat_map(|(row, count)| row * width..row * width + count);
        super::pick(&x, &real.collect::<Vec<_>>())
    }
}
