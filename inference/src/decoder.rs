//! The decoder Whisper and Marian share: incremental, batched, rows of unequal length.
//!
//! Keys and values over the encoder's output are projected once an utterance; those over the text so far are kept in
//! buffers of a fixed capacity, so that a step costs one position, however long the text is. Rows are aligned at their
//! ends: shorter prompts are padded on the left, the padding is hidden and each row counts its own positions.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{LayerNorm, Module};

use crate::directory::Weights;
use crate::error::ModelError;
use crate::layers::{BlockShape, FeedForward, Linear, MASKED, Residual, attend, heads_of, load_norm, query_scale};

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
    fn load(weights: &Weights, layer: &str, shape: &BlockShape) -> std::result::Result<Self, ModelError> {
        let width = shape.width;
        let own = |name: &str| format!("{layer}.self_attn.{name}_proj");
        let cross = |name: &str| format!("{layer}.encoder_attn.{name}_proj");
        let (q, k, v, cross_k, cross_v) = (own("q"), own("k"), own("v"), cross("k"), cross("v"));
        let scale = query_scale(shape);
        let own_parts = [(q.as_str(), scale), (k.as_str(), 1.0), (v.as_str(), 1.0)];
        let memory_parts = [(cross_k.as_str(), 1.0), (cross_v.as_str(), 1.0)];
        Ok(Self {
            own_residual: Residual::load(weights, &format!("{layer}.self_attn_layer_norm"), shape)?,
            own_project: Linear::side_by_side(weights, &own_parts, width, width)?,
            own_output: Linear::load(weights, &own("out"), width, width)?,
            cross_residual: Residual::load(weights, &format!("{layer}.encoder_attn_layer_norm"), shape)?,
            cross_query: Linear::side_by_side(weights, &[(cross("q").as_str(), scale)], width, width)?,
            cross_memory: Linear::side_by_side(weights, &memory_parts, width, width)?,
            cross_output: Linear::load(weights, &cross("out"), width, width)?,
            feed_forward: FeedForward::load(weights, layer, shape)?,
        })
    }
}

/// What the two architectures do differently.
pub(crate) struct DecoderParts {
    pub(crate) layers: usize,
    pub(crate) shape: BlockShape,
    /// (vocabulary, width)
    pub(crate) embeddings: Tensor,
    pub(crate) embedding_scale: f64,
    /// (positions, width)
    pub(crate) positions: Tensor,
    /// (vocabulary, width)
    pub(crate) output: Tensor,
    /// (1, vocabulary)
    pub(crate) output_bias: Option<Tensor>,
}

/// Text so far and encoder output to scores of the next token.
#[derive(Debug)]
pub struct Decoder {
    layers: Vec<DecoderLayer>,
    norm: Option<LayerNorm>,
    embeddings: Tensor,
    embedding_scale: f64,
    positions: Tensor,
    output: Tensor,
    output_bias: Option<Tensor>,
    heads: usize,
    width: usize,
}

#[derive(Debug)]
struct LayerCache {
    /// Over the encoder's output, (rows, heads, size, steps): ready to be multiplied.
    cross_keys: Tensor,
    /// (rows, heads, steps, size)
    cross_values: Tensor,
    /// Over the text so far, (rows, heads, capacity, size); the first `length` steps are filled.
    own_keys: Tensor,
    own_values: Tensor,
}

/// The memory of one batch while it is decoded.
#[derive(Debug)]
pub struct DecoderState {
    layers: Vec<LayerCache>,
    cross_mask: Option<Tensor>,
    /// Padding on the left of each row, in tokens.
    padding: Vec<usize>,
    /// Hides that padding, (rows, 1, 1, capacity).
    padding_mask: Option<Tensor>,
    length: usize,
}

impl DecoderState {
    /// Rows still in the batch.
    pub fn rows(&self) -> usize {
        self.padding.len()
    }

    /// Keeps only these rows, in this order: finished ones stop costing time.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn keep(&mut self, rows: &[usize]) -> std::result::Result<(), ModelError> {
        let Some(first) = self.layers.first() else { return Ok(()) };
        let ids: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        let ids = Tensor::new(ids, first.own_keys.device())?;
        let pick = |tensor: &Tensor| tensor.contiguous()?.index_select(&ids, 0);
        for layer in &mut self.layers {
            // Selected in the layout (rows, heads, steps, size), viewed transposed again.
            layer.cross_keys = pick(&layer.cross_keys.t()?)?.t()?;
            layer.cross_values = pick(&layer.cross_values)?;
            layer.own_keys = pick(&layer.own_keys)?;
            layer.own_values = pick(&layer.own_values)?;
        }
        self.cross_mask = self.cross_mask.as_ref().map(pick).transpose()?;
        self.padding_mask = self.padding_mask.as_ref().map(pick).transpose()?;
        self.padding = rows.iter().map(|row| self.padding[*row]).collect();
        Ok(())
    }

    /// Forgets the text, keeps what is known of the encoder's output: the next tokens are the first ones, at most
    /// `capacity` of them, and row i begins after `padding[i]` tokens of padding.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn restart(&mut self, padding: &[usize], capacity: usize) -> std::result::Result<(), ModelError> {
        for layer in &mut self.layers {
            let (rows, heads, _, size) = layer.cross_values.dims4()?;
            let like = &layer.cross_values;
            layer.own_keys = Tensor::zeros((rows, heads, capacity, size), like.dtype(), like.device())?;
            layer.own_values = Tensor::zeros((rows, heads, capacity, size), like.dtype(), like.device())?;
            if padding.iter().any(|p| *p > 0) {
                let hide = |p: &usize| {
                    let p = *p;
                    (0..capacity).map(move |i| if i < p { MASKED } else { 0.0 })
                };
                let mask: Vec<f32> = padding.iter().flat_map(hide).collect();
                self.padding_mask = Some(Tensor::from_vec(mask, (rows, 1, 1, capacity), like.device())?);
            } else {
                self.padding_mask = None;
            }
        }
        self.padding = padding.to_vec();
        self.length = 0;
        Ok(())
    }

    /// Hides the future from each of the next `steps` tokens, and padding from all; `None` when nothing is hidden.
    fn mask(&self, steps: usize, device: &Device) -> Result<Option<Tensor>> {
        let seen = self.length + steps;
        if steps == 1 {
            return self.padding_mask.as_ref().map(|mask| mask.narrow(3, 0, seen)).transpose();
        }
        let alike = self.padding_mask.is_none();
        let rows = if alike { 1 } else { self.rows() };
        let mut mask = Vec::with_capacity(rows * steps * seen);
        for padding in &self.padding[..rows] {
            for step in 0..steps {
                let hidden = |at: usize| at > self.length + step || at < *padding;
                mask.extend((0..seen).map(|at| if hidden(at) { MASKED } else { 0.0 }));
            }
        }
        Tensor::from_vec(mask, (rows, 1, steps, seen), device).map(Some)
    }
}

impl Decoder {
    /// `prefix` is the name the decoder has in the file, say `model.decoder`.
    pub(crate) fn load(weights: &Weights, prefix: &str, parts: DecoderParts) -> std::result::Result<Self, ModelError> {
        let shape = &parts.shape;
        let layer = |i| DecoderLayer::load(weights, &format!("{prefix}.layers.{i}"), shape);
        let norm =
            shape.norm_first.then(|| load_norm(weights, &format!("{prefix}.layer_norm"), shape.width)).transpose()?;
        Ok(Self {
            layers: (0..parts.layers).map(layer).collect::<std::result::Result<_, _>>()?,
            norm,
            embeddings: parts.embeddings,
            embedding_scale: parts.embedding_scale,
            positions: parts.positions,
            output: parts.output.t()?,
            output_bias: parts.output_bias,
            heads: shape.heads,
            width: shape.width,
        })
    }

    /// Tokens a row may have, prompt included.
    pub fn max_positions(&self) -> usize {
        self.positions.dims()[0]
    }

    /// Tokens it can score.
    pub fn vocabulary(&self) -> usize {
        self.output.dims()[1]
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        self.embeddings.device()
    }

    /// Projects the encoder's output, (rows, steps, width), once for all tokens to come. `mask`, (rows, 1, 1, steps),
    /// hides its padding. Call [`DecoderState::restart`] before the first token.
    ///
    /// # Errors
    /// When the shapes do not fit, or the device runs out of memory.
    pub fn begin(&self, encoded: &Tensor, mask: Option<Tensor>) -> std::result::Result<DecoderState, ModelError> {
        let (rows, steps, width) = encoded.dims3()?;
        let flat = encoded.reshape((rows * steps, width))?;
        let empty = Tensor::zeros((rows, self.heads, 0, self.width / self.heads), DType::F32, self.device())?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let memory = layer.cross_memory.forward(&flat)?;
            layers.push(LayerCache {
                cross_keys: heads_of(&memory, rows, self.heads, 0, 2)?.t()?,
                cross_values: heads_of(&memory, rows, self.heads, 1, 2)?,
                own_keys: empty.clone(),
                own_values: empty.clone(),
            });
        }
        let padding = vec![0; rows];
        Ok(DecoderState { layers, cross_mask: mask, padding, padding_mask: None, length: 0 })
    }

    /// The next tokens of every row, row after row (rows x steps of them), to their hidden states,
    /// (rows x steps, width).
    ///
    /// # Errors
    /// When there are more tokens than the state's capacity or the model's positions.
    pub fn forward(&self, tokens: &[u32], state: &mut DecoderState) -> std::result::Result<Tensor, ModelError> {
        let rows = state.rows();
        let steps = tokens.len() / rows.max(1);
        let position = |i: usize| (state.length + i % steps).saturating_sub(state.padding[i / steps]) as u32;
        let positions: Vec<u32> = (0..tokens.len()).map(position).collect();
        let embedded = self.embeddings.index_select(&Tensor::new(tokens, self.device())?, 0)?;
        let embedded = if self.embedding_scale == 1.0 { embedded } else { (embedded * self.embedding_scale)? };
        let mut x = (embedded + self.positions.index_select(&Tensor::new(positions, self.device())?, 0)?)?;
        let mask = state.mask(steps, self.device())?;
        for (layer, cache) in self.layers.iter().zip(&state.layers) {
            x = self.layer(
                layer,
                cache,
                &x,
                Step { rows, past: state.length, own: mask.as_ref(), cross: state.cross_mask.as_ref() },
            )?;
        }
        state.length += steps;
        match &self.norm {
            Some(norm) => Ok(norm.forward(&x)?),
            None => Ok(x),
        }
    }

    /// Hidden states, (n, width), to scores of every token, (n, vocabulary). Costs more than a layer: pass only the
    /// positions whose scores are wanted.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn logits(&self, hidden: &Tensor) -> std::result::Result<Tensor, ModelError> {
        let logits = hidden.matmul(&self.output)?;
        match &self.output_bias {
            Some(bias) => Ok(logits.broadcast_add(bias)?),
            None => Ok(logits),
        }
    }

    fn layer(&self, layer: &DecoderLayer, cache: &LayerCache, x: &Tensor, step: Step<'_>) -> Result<Tensor> {
        let x = layer.own_residual.around(x, |x| {
            let projected = layer.own_project.forward(x)?;
            let part = |i| heads_of(&projected, step.rows, self.heads, i, 3);
            let (queries, keys, values) = (part(0)?, part(1)?, part(2)?);
            cache.own_keys.slice_set(&keys, 2, step.past)?;
            cache.own_values.slice_set(&values, 2, step.past)?;
            let seen = step.past + keys.dims()[2];
            let keys = cache.own_keys.narrow(2, 0, seen)?.t()?;
            let values = cache.own_values.narrow(2, 0, seen)?;
            layer.own_output.forward(&attend(&queries, &keys, &values, step.own)?)
        })?;
        let x = layer.cross_residual.around(&x, |x| {
            let queries = heads_of(&layer.cross_query.forward(x)?, step.rows, self.heads, 0, 1)?;
            layer.cross_output.forward(&attend(&queries, &cache.cross_keys, &cache.cross_values, step.cross)?)
        })?;
        layer.feed_forward.forward(&x)
    }
}

/// One pass through the layers: how many rows, how much came before, what is hidden.
#[derive(Clone, Copy)]
struct Step<'a> {
    rows: usize,
    past: usize,
    own: Option<&'a Tensor>,
    cross: Option<&'a Tensor>,
}
