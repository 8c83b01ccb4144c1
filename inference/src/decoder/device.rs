//! Keys and values on a device, for candle's operations: all rows in one tensor, each with a place of its own.
//!
//! Places are dense: a row that leaves is replaced by the last one, so that a step computes no row nobody waits for.

use candle_core::{D, DType, Result, Tensor, bail};

use super::batch::{Source, SourceKind, Step};
use super::{RelativeBias, Watch};
use crate::layers::attention::{MASKED, attend, heads_of, padding_mask, shares};

/// Keys and values over one source, a pair for each layer, (1, heads, steps, size).
#[derive(Debug, Clone)]
pub(super) struct DeviceSource {
    layers: Vec<(Tensor, Tensor)>,
    length: usize,
}

pub(super) fn sources(projected: &[Tensor], lengths: &[usize], heads: usize) -> Result<Vec<Source>> {
    let rows = lengths.len();
    let mut layers: Vec<Vec<(Tensor, Tensor)>> = vec![Vec::new(); rows];
    for values in projected {
        let (keys, values) = (heads_of(values, rows, heads, 0, 2)?, heads_of(values, rows, heads, 1, 2)?);
        for (row, layers) in layers.iter_mut().enumerate() {
            layers.push((keys.narrow(0, row, 1)?, values.narrow(0, row, 1)?));
        }
    }
    let source = |(layers, length): (Vec<(Tensor, Tensor)>, &usize)| Source {
        kind: SourceKind::Device(DeviceSource { layers, length: *length }),
        length: *length,
    };
    Ok(layers.into_iter().zip(lengths).map(source).collect())
}

#[derive(Debug)]
struct LayerCache {
    /// (places of sources, heads, steps, size)
    cross_keys: Tensor,
    cross_values: Tensor,
    /// (places of rows, heads, capacity, size)
    own_keys: Tensor,
    own_values: Tensor,
}

#[derive(Debug)]
pub(super) struct DeviceBatch {
    layers: Vec<LayerCache>,
    /// Steps of each source that are not padding.
    lengths: Vec<usize>,
    /// Rows of each source.
    share: usize,
}

impl DeviceBatch {
    pub(super) fn new(sources: &[&DeviceSource], capacity: usize) -> Result<Self> {
        let lengths: Vec<usize> = sources.iter().map(|source| source.length).collect();
        let count = sources.first().map_or(0, |source| source.layers.len());
        let mut layers = Vec::with_capacity(count);
        for layer in 0..count {
            let steps = sources.iter().map(|source| source.layers[layer].0.dims()[2]).max().unwrap_or(0);
            let join = |part: fn(&(Tensor, Tensor)) -> &Tensor| -> Result<Tensor> {
                let rows = sources.iter().map(|source| lengthen(part(&source.layers[layer]), steps));
                let rows = Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?;
                // One alone would be the source's own memory, which others may be reading.
                if sources.len() == 1 { rows.force_contiguous() } else { rows.contiguous() }
            };
            let (cross_keys, cross_values) = (join(|pair| &pair.0)?, join(|pair| &pair.1)?);
            let (rows, heads, _, size) = cross_keys.dims4()?;
            let own = || Tensor::zeros((rows, heads, capacity, size), cross_keys.dtype(), cross_keys.device());
            let (own_keys, own_values) = (own()?, own()?);
            layers.push(LayerCache { cross_keys, cross_values, own_keys, own_values });
        }
        Ok(Self { layers, lengths, share: 1 })
    }

    fn rows(&self) -> usize {
        self.lengths.len() * self.share
    }

    /// Each row `share` times.
    pub(super) fn shared(mut self, share: usize) -> Result<Self> {
        if share > 1 {
            let rows: Vec<usize> = (0..self.lengths.len()).flat_map(|row| std::iter::repeat_n(row, share)).collect();
            for layer in &mut self.layers {
                layer.own_keys = super::pick_all(&layer.own_keys, &rows)?;
                layer.own_values = super::pick_all(&layer.own_values, &rows)?;
            }
        }
        self.share = share;
        Ok(self)
    }

    /// Takes in the rows of `fresh`, which has one row a source.
    pub(super) fn join(&mut self, fresh: &Self) -> Result<()> {
        let (sources, rows, share) = (self.lengths.len(), self.rows(), self.share);
        let more = fresh.lengths.len();
        for (layer, new) in self.layers.iter_mut().zip(&fresh.layers) {
            let steps = layer.cross_keys.dims()[2].max(new.cross_keys.dims()[2]);
            for (place, new) in [(&mut layer.cross_keys, &new.cross_keys), (&mut layer.cross_values, &new.cross_values)]
            {
                *place = widen(&lengthen(place, steps)?, sources + more)?;
                // Rows that ended at once have left their places behind the others.
                place.slice_set(&lengthen(&new.narrow(0, 0, more)?, steps)?.contiguous()?, 0, sources)?;
            }
            for (place, new) in [(&mut layer.own_keys, &new.own_keys), (&mut layer.own_values, &new.own_values)] {
                *place = widen(place, rows + more * share)?;
                for row in 0..more * share {
                    place.slice_set(&new.narrow(0, row / share, 1)?.contiguous()?, 0, rows + row)?;
                }
            }
        }
        self.lengths.extend(&fresh.lengths);
        Ok(())
    }

    pub(super) fn retire(&mut self, source: usize) -> Result<()> {
        let (last, share) = (self.lengths.len() - 1, self.share);
        if source != last {
            for layer in &self.layers {
                for (place, size) in [
                    (&layer.cross_keys, 1),
                    (&layer.cross_values, 1),
                    (&layer.own_keys, share),
                    (&layer.own_values, share),
                ] {
                    place.slice_set(&place.narrow(0, last * size, size)?.force_contiguous()?, 0, source * size)?;
                }
            }
        }
        self.lengths.swap_remove(source);
        Ok(())
    }

    pub(super) fn reorder(&mut self, parents: &[usize]) -> Result<()> {
        for layer in &mut self.layers {
            for place in [&layer.own_keys, &layer.own_values] {
                place.slice_set(&super::pick_all(place, parents)?, 0, 0)?;
            }
        }
        Ok(())
    }

    /// What is added to the scores, (rows, heads or 1, new tokens, positions); `None` when nothing is.
    pub(super) fn mask(&self, step: &Step, relative: Option<&RelativeBias>) -> Result<Option<Tensor>> {
        let Some(first) = self.layers.first() else { return Ok(None) };
        let new = step.padded_to.unwrap_or(0);
        let seen = step.past.iter().max().unwrap_or(&0) + new;
        if relative.is_none() && new == 1 && step.past.iter().all(|past| past + 1 == seen) {
            return Ok(None);
        }
        let heads = if relative.is_some() { step.heads } else { 1 };
        let mut mask = Vec::with_capacity(step.past.len() * heads * new * seen);
        for past in &step.past {
            let bias = relative.map(|relative| relative.of(*past, new, seen));
            for head in 0..heads {
                for token in 0..new {
                    let at = (head * new + token) * seen;
                    let bias = |key: usize| bias.as_ref().map_or(0.0, |bias| bias[at + key]);
                    mask.extend((0..seen).map(|key| if key > past + token { MASKED } else { bias(key) }));
                }
            }
        }
        Tensor::from_vec(mask, (step.past.len(), heads, new, seen), first.own_keys.device()).map(Some)
    }

    pub(super) fn attend_own(&self, layer: usize, projected: &Tensor, step: &Step) -> Result<Tensor> {
        let (rows, heads) = (self.rows(), step.heads);
        if step.past.len() != rows {
            bail!("{} rows to decode, {rows} in the batch", step.past.len());
        }
        let cache = &self.layers[layer];
        let part = |i| heads_of(projected, rows, heads, i, 3);
        let (queries, keys, values) = (part(0)?, part(1)?, part(2)?);
        let new = keys.dims()[2];
        let seen = step.past.iter().max().unwrap_or(&0) + new;
        let (all_keys, all_values) = (cache.own_keys.narrow(0, 0, rows)?, cache.own_values.narrow(0, 0, rows)?);
        if step.past.iter().all(|past| past + new == seen) {
            all_keys.slice_set(&keys, 2, seen - new)?;
            all_values.slice_set(&values, 2, seen - new)?;
        } else {
            let places = step.past.iter().flat_map(|past| *past..past + new).map(|place| place as u32);
            let places = Tensor::from_vec(places.collect::<Vec<u32>>(), (rows, 1, new, 1), keys.device())?;
            let places = places.broadcast_as(keys.shape())?.contiguous()?;
            all_keys.scatter_set(&places, &keys, 2)?;
            all_values.scatter_set(&places, &values, 2)?;
        }
        attend(&queries, &all_keys.narrow(2, 0, seen)?, &all_values.narrow(2, 0, seen)?, step.mask.as_ref())
    }

    fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Hides what shorter sources lack; `None` when all are equally long.
    pub(super) fn cross_mask(&self) -> Result<Option<Tensor>> {
        let Some(first) = self.layers.first() else { return Ok(None) };
        padding_mask(&self.lengths, self.longest(), first.cross_keys.device())
    }

    /// The rows of one source are asked as so many steps of one row: its keys and values are not repeated.
    pub(super) fn attend_cross(&self, layer: usize, queries: &Tensor, step: &Step) -> Result<Tensor> {
        let cache = &self.layers[layer];
        let (sources, longest) = (self.lengths.len(), self.longest());
        let live = |all: &Tensor| all.narrow(0, 0, sources)?.narrow(2, 0, longest);
        let queries = heads_of(queries, sources, step.heads, 0, 1)?;
        attend(&queries, &live(&cache.cross_keys)?, &live(&cache.cross_values)?, step.cross_mask.as_ref())
    }

    pub(super) fn watch(&self, layer: usize, queries: &Tensor, heads: usize, watch: &mut Watch) -> Result<()> {
        let chosen = watch.heads.iter().zip(&mut watch.shares).filter(|((l, _), _)| *l == layer);
        let chosen: Vec<(usize, &mut Vec<f32>)> = chosen.map(|((_, head), place)| (*head, place)).collect();
        if chosen.is_empty() {
            return Ok(());
        }
        let keys = self.layers[layer].cross_keys.narrow(0, 0, 1)?.narrow(2, 0, self.lengths[0])?.contiguous()?;
        let shares = shares(&heads_of(queries, 1, heads, 0, 1)?, &keys, None)?.to_dtype(DType::F32)?;
        for (head, place) in chosen {
            place.extend(shares.narrow(1, head, 1)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }
}

/// (rows, heads, steps, size) with zeros behind its steps.
fn lengthen(tensor: &Tensor, steps: usize) -> Result<Tensor> {
    let missing = steps - tensor.dims()[2];
    if missing == 0 { Ok(tensor.clone()) } else { tensor.pad_with_zeros(D::Minus2, 0, missing) }
}

/// At least `places` in the first dimension; grows by half, so that growing is rare.
fn widen(tensor: &Tensor, places: usize) -> Result<Tensor> {
    let have = tensor.dims()[0];
    if have >= places { tensor.contiguous() } else { tensor.pad_with_zeros(0, 0, places.max(have * 3 / 2) - have) }
}
