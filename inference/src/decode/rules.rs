//! Which tokens a model may choose, whatever the text.

use candle_core::{D, DType, Tensor};

use super::choice::ban;
use super::timestamps::TimestampRules;
use crate::decoder::{Decoder, Scores};
use crate::error::ModelError;

/// The token rules of one model.
#[derive(Debug)]
pub struct Rules {
    /// The token that ends a text.
    pub end: u32,
    /// Never chosen, in ascending order.
    pub(super) never: Vec<u32>,
    /// Never chosen first: `never` and some more.
    pub(super) never_first: Vec<u32>,
    /// The same for a device, added to the scores: row 0 always, row 1 instead of it for the first token.
    pub(super) bans: Option<Tensor>,
    /// Never chosen where timestamps are asked for: `never` without the timestamps.
    pub(super) never_timed: Vec<u32>,
    /// For texts with timestamps.
    pub(super) timestamps: Option<TimestampRules>,
}

impl Rules {
    /// Texts end with `end`; `never` holds for every token, `not_first` for the first after an empty prefix as well.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn new(decoder: &Decoder, end: u32, never: &[u32], not_first: &[u32]) -> Result<Self, ModelError> {
        let vocabulary = decoder.vocabulary();
        let sorted = |ids: &[u32]| {
            let mut ids: Vec<u32> = ids.iter().copied().filter(|id| (*id as usize) < vocabulary).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let (never, never_first) = (sorted(never), sorted(&[never, not_first].concat()));
        let bans = if decoder.device().is_cpu() && decoder.on_host() {
            None
        } else {
            let mut bans = vec![0f32; 2 * vocabulary];
            never.iter().for_each(|id| bans[*id as usize] = f32::NEG_INFINITY);
            never_first.iter().for_each(|id| bans[vocabulary + *id as usize] = f32::NEG_INFINITY);
            Some(Tensor::from_vec(bans, (2, vocabulary), decoder.device())?)
        };
        Ok(Self { end, never_timed: never.clone(), never, never_first, bans, timestamps: None })
    }

    /// Natural logarithms of the probabilities of a text's first `tokens` among those the model may choose; `hidden` are
    /// the states they would have been chosen from, (tokens, width). Each costs more than a layer.
    pub(crate) fn logprobs(&self, decoder: &Decoder, hidden: &Tensor, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        match decoder.scores(hidden)? {
            Scores::Host(mut scores) => {
                let rows = scores.chunks_exact_mut(decoder.vocabulary()).zip(tokens).enumerate();
                let logprob = |(i, (row, token)): (usize, (&mut [f32], &u32))| {
                    ban(row, if i == 0 { &self.never_first } else { &self.never });
                    row.get(*token as usize).copied().unwrap_or(f32::NEG_INFINITY) - kernels::log_sum_exp(row)
                };
                Ok(rows.map(logprob).collect())
            }
            Scores::Device(scores) => {
                let mut scores = scores.to_dtype(DType::F32)?;
                if let Some(bans) = &self.bans {
                    let which: Vec<u32> = (0..tokens.len()).map(|i| u32::from(i == 0)).collect();
                    scores = (scores + bans.index_select(&Tensor::new(which, bans.device())?, 0)?)?;
                }
                let chosen = scores.gather(&Tensor::new(tokens, scores.device())?.unsqueeze(1)?, D::Minus1)?;
                Ok((chosen.squeeze(1)? - scores.log_sum_exp(D::Minus1)?)?.to_vec1()?)
            }
        }
    }

    /// Negative natural logarithm of a token's probability among those a text can go on with: the end is none of them.
    pub(crate) fn surprise(&self, scores: &[f32], token: u32) -> f32 {
        let mut scores = scores.to_vec();
        ban(&mut scores, &self.never);
        ban(&mut scores, &[self.end]);
        kernels::log_sum_exp(&scores) - scores.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY)
    }

    /// With rules for texts that carry timestamps, the tokens from `rules.first` on.
    #[must_use]
    pub fn with_timestamps(mut self, rules: TimestampRules) -> Self {
        self.never_timed = self.never.iter().copied().filter(|id| *id < rules.first).collect();
        self.timestamps = Some(rules);
        self
    }

    /// Whether texts may carry timestamps.
    pub fn timed(&self) -> bool {
        self.timestamps.is_some()
    }

    /// The token of the first timestamp, where texts may carry them.
    pub fn first_timestamp(&self) -> Option<u32> {
        self.timestamps.as_ref().map(|rules| rules.first)
    }
}
