//! What the architectures that translate text have in common.

use std::fmt::Debug;

use candle_core::Tensor;

use crate::decoder::{Decoder, Source};
use crate::error::ModelError;

/// An encoder-decoder network from source tokens to target tokens.
pub trait TextNetwork: Debug + Send {
    /// The decoder.
    fn decoder(&self) -> &Decoder;

    /// Most tokens a source may have, its end token included.
    fn max_source_tokens(&self) -> usize;

    /// Source rows of any length, each as the architecture wants it (specials included), to the encoder's output,
    /// (rows, longest, width). Shorter rows are padded, the padding hidden.
    ///
    /// # Errors
    /// When a row has more tokens than the model has positions, or the computation fails.
    fn encode(&self, sources: &[Vec<u32>]) -> Result<Tensor, ModelError>;

    /// Encodes, and projects the result for the decoder: one source a row.
    ///
    /// # Errors
    /// As [`TextNetwork::encode`].
    fn sources(&self, sources: &[Vec<u32>]) -> Result<Vec<Source>, ModelError> {
        let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
        self.decoder().remember(&self.encode(sources)?, &lengths)
    }
}

/// Source rows padded to one length.
pub(crate) struct Rows {
    /// Row after row, each `longest` tokens.
    pub(crate) tokens: Vec<u32>,
    pub(crate) lengths: Vec<usize>,
    pub(crate) longest: usize,
}

impl Rows {
    /// # Errors
    /// When a row has more than `limit` tokens.
    pub(crate) fn new(sources: &[Vec<u32>], pad: u32, limit: usize) -> Result<Self, ModelError> {
        let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest > limit {
            return Err(ModelError::TooLong { what: "source text (tokens)", got: longest, limit });
        }
        let padding = std::iter::repeat(pad);
        let tokens = sources.iter().flat_map(|row| row.iter().copied().chain(padding.clone()).take(longest)).collect();
        Ok(Self { tokens, lengths, longest })
    }
}
