//! The decoder all architectures share: incremental, batched, rows of unequal length.
//!
//! Keys and values over the encoder's output are projected once ([`Source`]); those over the text so far are kept row by
//! row ([`Batch`]), so that a step costs one position, however long the text is. Rows join and leave a batch between
//! steps: nothing waits for the longest text.

mod batch;
mod device;
mod embedding;
mod host;
mod positions;

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use crate::compute::Compute;
use crate::error::ModelError;
use crate::layers::host::values as host_values;
use crate::layers::linear::{After, Part};
use crate::layers::{BlockShape, FeedForward, Linear, Loader, Norm, Piece, Residual, StackNames};
pub use batch::{Batch, Source};
pub(crate) use embedding::Embedding;
pub(crate) use positions::{Positions, RelativeBias};

#[derive(Debug)]
struct DecoderLayer {
    own_residual: Residual,
    own_project: Linear,
    own_output: Linear,
    cross_residual: Residual,
    cross_query: Linear,
    cross_memory: Linear,
    cross_output: Linear,
    feed_forward: FeedForward,
}

impl DecoderLayer {
    fn load(
        weights: &Loader,
        shape: &BlockShape,
        name: &dyn Fn(Piece) -> String,
    ) -> std::result::Result<Self, ModelError> {
        let (width, inner, factor) = (shape.width, shape.projected(), shape.query_factor());
        let (q, k, v) = (name(Piece::Query), name(Piece::Key), name(Piece::Value));
        let (cross_q, cross_k, cross_v) = (name(Piece::CrossQuery), name(Piece::CrossKey), name(Piece::CrossValue));
        let own = [Part { name: &q, factor }, Part::plain(&k), Part::plain(&v)];
        let memory = [Part::plain(&cross_k), Part::plain(&cross_v)];
        Ok(Self {
            own_residual: Residual::load(weights, &name(Piece::Norm), shape)?,
            own_project: Linear::side_by_side(weights, &own, width, inner)?,
            own_output: Linear::load(weights, &name(Piece::Output), inner, width)?,
            cross_residual: Residual::load(weights, &name(Piece::CrossNorm), shape)?,
            cross_query: Linear::side_by_side(weights, &[Part { name: &cross_q, factor }], width, inner)?,
            cross_memory: Linear::side_by_side(weights, &memory, width, inner)?,
            cross_output: Linear::load(weights, &name(Piece::CrossOutput), inner, width)?,
            feed_forward: FeedForward::load(weights, shape, name)?,
        })
    }
}

/// What the architectures do differently.
pub(crate) struct DecoderParts {
    pub(crate) layers: usize,
    pub(crate) shape: BlockShape,
    pub(crate) names: StackNames,
    pub(crate) embedding: Embedding,
    pub(crate) positions: Positions,
    /// width to vocabulary
    pub(crate) output: Arc<Linear>,
    /// What the last hidden states are multiplied by before they are scored; 1 but for T5 with tied embeddings.
    pub(crate) output_factor: f64,
}

/// Text so far and encoder output to scores of the next token.
#[derive(Debug)]
pub struct Decoder {
    layers: Vec<DecoderLayer>,
    norm: Option<Norm>,
    embedding: Embedding,
    positions: Positions,
    output: Arc<Linear>,
    heads: usize,
    head_size: usize,
    compute: Compute,
}

/// Collects the shares of chosen heads in the attention over the encoder's output, of a batch of one row.
#[derive(Debug)]
pub struct Watch {
    /// (layer, head)
    pub heads: Vec<(usize, usize)>,
    /// For each head, tokens x positions.
    pub shares: Vec<Vec<f32>>,
}

impl Watch {
    /// Watches these heads, given as (layer, head).
    pub fn new(heads: &[(usize, usize)]) -> Self {
        Self { heads: heads.to_vec(), shares: vec![Vec::new(); heads.len()] }
    }
}

/// Scores of the next tokens, one row after the other.
#[derive(Debug)]
pub enum Scores {
    /// On the host: rows x vocabulary.
    Host(Vec<f32>),
    /// (rows, vocabulary) elsewhere.
    Device(Tensor),
}

impl Scores {
    /// Rows x vocabulary on the host, wherever they are.
    ///
    /// # Errors
    /// When the transfer fails.
    pub(crate) fn into_host(self) -> Result<Vec<f32>> {
        match self {
            Self::Host(scores) => Ok(scores),
            Self::Device(scores) => host_values(&scores),
        }
    }
}

impl Decoder {
    pub(crate) fn load(weights: &Loader, parts: DecoderParts) -> std::result::Result<Self, ModelError> {
        let DecoderParts { layers, shape, names, embedding, positions, output, output_factor } = parts;
        let layers = (0..layers)
            .map(|i| DecoderLayer::load(weights, &shape, &|piece| names.of(i, piece)))
            .collect::<std::result::Result<_, _>>()?;
        let norm = names.final_norm.as_ref().filter(|_| shape.norm_first);
        let norm = norm.map(|name| Norm::load(weights, name, shape.width, shape.norm)).transpose()?;
        Ok(Self {
            layers,
            norm: norm.map(|norm| norm.scaled(output_factor)).transpose()?,
            embedding,
            positions,
            output,
            heads: shape.heads,
            head_size: shape.head_size,
            compute: weights.compute().clone(),
        })
    }

    /// Tokens a row may have, prompt included.
    pub fn max_positions(&self) -> usize {
        self.positions.limit()
    }

    /// Tokens it can score.
    pub fn vocabulary(&self) -> usize {
        self.output.outputs()
    }

    /// Layers, and attention heads of each.
    pub fn heads(&self) -> (usize, usize) {
        (self.layers.len(), self.heads)
    }

    /// Whether our kernels compute.
    pub(crate) fn on_host(&self) -> bool {
        self.compute.host_precision().is_some()
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        self.compute.device()
    }

    /// Projects the encoder's output, (rows, steps, width), once for all tokens to come: one source a row. The first
    /// `lengths[row]` steps are real, the rest padding.
    ///
    /// # Errors
    /// When the shapes do not fit, or the device runs out of memory.
    pub fn remember(&self, encoded: &Tensor, lengths: &[usize]) -> std::result::Result<Vec<Source>, ModelError> {
        let (rows, steps, width) = encoded.dims3()?;
        let flat = encoded.reshape((rows * steps, width))?;
        let projected =
            self.layers.iter().map(|layer| layer.cross_memory.forward(&flat)).collect::<Result<Vec<_>>>()?;
        Ok(match self.compute.host_precision() {
            Some(precision) => host::sources(&projected, steps, lengths, (self.heads, self.head_size), precision)?,
            None => device::sources(&projected, lengths, self.heads)?,
        })
    }

    /// A batch with one row for each source, no text yet.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn batch(&self, sources: &[Source]) -> std::result::Result<Batch, ModelError> {
        Ok(Batch::new(sources, self.max_positions())?)
    }

    /// The next tokens of every row, to their hidden states, (tokens of all rows, width), row after row.
    ///
    /// # Errors
    /// When a row has more tokens than the model has positions, or the device runs out of memory.
    pub fn forward(&self, tokens: &[Vec<u32>], batch: &mut Batch) -> std::result::Result<Tensor, ModelError> {
        self.forward_watched(tokens, batch, None)
    }

    /// As [`Decoder::forward`]; a batch of one row may be watched.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn forward_watched(
        &self,
        tokens: &[Vec<u32>],
        batch: &mut Batch,
        mut watch: Option<&mut Watch>,
    ) -> std::result::Result<Tensor, ModelError> {
        let (got, limit) = (batch.longest(tokens), self.max_positions());
        if got > limit {
            return Err(ModelError::TooLong { what: "text (tokens)", got, limit });
        }
        let step = batch.prepare(tokens, self.heads, &self.positions)?;
        let ids: Vec<u32> = step.padded(tokens);
        let mut x = self.positions.add(self.embedding.of(&ids)?, &step.positions())?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.own_residual.around(&x, |x, add| {
                let seen = batch.attend_own(i, &layer.own_project.forward(x)?, &step)?;
                layer.own_output.forward_then(&seen, After { add: Some(add), ..After::default() })
            })?;
            x = layer.cross_residual.around(&x, |x, add| {
                let queries = layer.cross_query.forward(x)?;
                if let Some(watch) = watch.as_deref_mut() {
                    batch.watch(i, &queries, &step, watch)?;
                }
                let seen = batch.attend_cross(i, &queries, &step)?;
                layer.cross_output.forward_then(&seen, After { add: Some(add), ..After::default() })
            })?;
            x = layer.feed_forward.forward(&x)?;
        }
        batch.advance(&step);
        x = step.without_padding(x)?;
        match &self.norm {
            Some(norm) => Ok(norm.forward(&x)?),
            None => Ok(x),
        }
    }

    /// Hidden states, (n, width), to scores of every token. Costs more than a layer: pass only the positions whose
    /// scores are wanted.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn scores(&self, hidden: &Tensor) -> std::result::Result<Scores, ModelError> {
        match self.output.forward_host(hidden) {
            Some(values) => Ok(Scores::Host(values?)),
            None => Ok(Scores::Device(self.output.forward(hidden)?)),
        }
    }

    /// As [`Decoder::scores`], as a tensor (n, vocabulary).
    ///
    /// # Errors
    /// As [`Decoder::scores`].
    pub fn logits(&self, hidden: &Tensor) -> std::result::Result<Tensor, ModelError> {
        Ok(self.output.forward(hidden)?)
    }
}

/// Rows `ids` of `hidden`; all of them when there are as many.
pub(crate) fn pick(hidden: &Tensor, ids: &[usize]) -> Result<Tensor> {
    if ids.len() == hidden.dims()[0] { Ok(hidden.clone()) } else { pick_all(hidden, ids) }
}

/// Hidden states of the last token of each of `prompts`, which were run one behind the other.
pub(crate) fn pick_last(hidden: &Tensor, prompts: &[Vec<u32>]) -> Result<Tensor> {
    let ends = prompts.iter().scan(0, |end, prompt| {
        *end += prompt.len();
        Some(*end - 1)
    });
    pick(hidden, &ends.collect::<Vec<_>>())
}

/// Rows `ids` of `tensor`, copied.
fn pick_all(tensor: &Tensor, ids: &[usize]) -> Result<Tensor> {
    let ids: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
    tensor.index_select(&Tensor::new(ids, tensor.device())?, 0)
}
