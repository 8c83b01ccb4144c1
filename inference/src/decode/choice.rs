//! From scores to tokens: one request's way through its text.

use std::sync::Arc;

use candle_core::{D, DType, Tensor};

use super::beam::{Advance, Beam, BeamOptions, Candidate, EarlyStopping};
use super::bias::{Bias, Walk};
use super::decoding::{Decoded, Strategy, Task};
use super::repetition::LoopGuard;
use super::rules::Rules;
use super::sampling::Sampler;
use crate::error::ModelError;

/// A request under way: what it has chosen, and how it chooses.
#[derive(Debug)]
pub(super) struct Progress {
    chooser: Chooser,
    /// The tokens its rows go on with.
    pub(super) next: Vec<u32>,
    fresh: bool,
    limit: usize,
    timestamps: bool,
    pub(super) probed: f32,
    bias: Option<Biased>,
}

/// Terms to be preferred, and where a text is in them.
#[derive(Debug)]
struct Biased {
    terms: Arc<Bias>,
    /// After the prompt.
    start: Walk,
    /// Of the one text of a [`Single`].
    now: Walk,
}

impl Biased {
    fn new(task: &Task) -> Option<Self> {
        let terms = task.bias.clone()?;
        let start = terms.after(task.prompt.get(task.text_from..).unwrap_or_default());
        Some(Self { now: start.clone(), start, terms })
    }

    /// Lifts the scores of what begins a term or goes on in one; gives the logarithm of what they summed to before.
    fn lift(&self, scores: &mut [f32]) -> f32 {
        let total = kernels::log_sum_exp(scores);
        self.terms.apply(&self.now, scores);
        total
    }

    /// What the score of a token was before it was lifted.
    fn own_score(&self, scores: &[f32], token: u32) -> f32 {
        let score = scores.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        score - self.terms.lifted(&self.now, token)
    }

    /// Takes out of the log-probabilities of a whole text what was added to find it.
    fn lower(&self, tokens: &[u32], logprobs: &mut [f32]) {
        let mut walk = self.start.clone();
        for (i, logprob) in logprobs.iter_mut().enumerate() {
            *logprob -= tokens.get(i).map_or_else(|| -self.terms.held(&walk), |token| self.terms.gain(&walk, *token));
            if let Some(token) = tokens.get(i) {
                walk = self.terms.step(&walk, *token);
            }
        }
    }
}

#[derive(Debug)]
enum Chooser {
    Single { text: Single, sampler: Option<Box<Sampler>> },
    Beam(Box<Beam>),
}

#[derive(Debug, Default)]
struct Single {
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    guard: LoopGuard,
    ended: bool,
    looped: bool,
}

/// What a request does after a step.
pub(super) enum Turn {
    /// Its rows go on, row i from the text of row `parents[i]` of its own.
    Go {
        parents: Vec<usize>,
    },
    Done,
}

impl Progress {
    pub(super) fn new(task: &Task, limit: usize, width: usize, end: u32) -> Self {
        let chooser = match task.strategy {
            Strategy::Greedy => Chooser::Single { text: Single::default(), sampler: None },
            Strategy::Sample { temperature, seed } => {
                Chooser::Single { text: Single::default(), sampler: Some(Box::new(Sampler::new(seed, temperature))) }
            }
            Strategy::Beam { length_penalty } => {
                let early_stopping = EarlyStopping::default();
                Chooser::Beam(Box::new(Beam::new(BeamOptions { width, length_penalty, early_stopping, end, limit })))
            }
        };
        let bias = Biased::new(task);
        Self { chooser, next: Vec::new(), fresh: task.fresh, limit, timestamps: task.timestamps, probed: 0.0, bias }
    }

    /// Whether the best token by score is all it needs, so that a device can choose by itself.
    pub(super) fn plain(&self) -> bool {
        !self.timestamps && self.bias.is_none() && matches!(self.chooser, Chooser::Single { sampler: None, .. })
    }

    /// Whether the rules for a first token hold.
    pub(super) fn first(&self) -> bool {
        self.fresh
            && match &self.chooser {
                Chooser::Single { text, .. } => text.tokens.is_empty(),
                Chooser::Beam(beam) => beam.rows().iter().all(Vec::is_empty),
            }
    }

    /// Ids the next token must not have.
    fn banned<'a>(&self, rules: &'a Rules) -> &'a [u32] {
        match (self.timestamps, self.first()) {
            (true, _) => &rules.never_timed,
            (false, true) => &rules.never_first,
            (false, false) => &rules.never,
        }
    }

    /// Chooses from the scores of its rows, which may be changed.
    pub(super) fn choose(&mut self, scores: &mut [f32], vocabulary: usize, rules: &Rules) -> Result<Turn, ModelError> {
        let banned = self.banned(rules);
        let timestamps = rules.timestamps.as_ref().filter(|_| self.timestamps);
        let bias = self.bias.as_ref();
        match &mut self.chooser {
            Chooser::Single { text, sampler } => {
                ban(scores, banned);
                if let Some(timestamps) = timestamps {
                    timestamps.apply(&text.tokens, scores);
                }
                let total = bias.map(|bias| bias.lift(scores));
                let mut chosen = match sampler {
                    Some(sampler) => sampler.draw(scores)?,
                    None => kernels::best_of(scores, vocabulary, &[]).first().map_or(
                        Candidate { token: rules.end, logprob: 0.0 },
                        |best| Candidate { token: best.id, logprob: best.logprob },
                    ),
                };
                if let (Some(total), Some(bias)) = (total, bias) {
                    chosen.logprob = bias.own_score(scores, chosen.token) - total;
                }
                Ok(self.take(chosen, rules.end))
            }
            Chooser::Beam(beam) => {
                let wanted = beam.candidates_wanted();
                let mut rows = Vec::new();
                for (row, scores) in scores.chunks_exact_mut(vocabulary).enumerate() {
                    // As in the reference, what is banned keeps its share of the softmax.
                    let total = kernels::log_sum_exp(scores);
                    ban(scores, banned);
                    let text = beam.rows().get(row);
                    if let (Some(timestamps), Some(text)) = (timestamps, text) {
                        timestamps.apply(text, scores);
                    }
                    let lost = match (bias, text) {
                        (Some(bias), Some(text)) => bias.terms.apply(&bias.terms.go_on(&bias.start, text), scores),
                        _ => 0.0,
                    };
                    let allowed = kernels::log_sum_exp(scores);
                    let logprob = |best: &kernels::Best| best.logprob + allowed - total - lost;
                    let best = kernels::top_k(scores, wanted);
                    rows.push(best.iter().map(|b| Candidate { token: b.id, logprob: logprob(b) }).collect());
                }
                Ok(match beam.advance(&rows) {
                    Advance::Continue { parents, tokens } => {
                        self.next = tokens;
                        Turn::Go { parents }
                    }
                    Advance::Done => Turn::Done,
                })
            }
        }
    }

    /// Books a choice made elsewhere.
    pub(super) fn take(&mut self, chosen: Candidate, end: u32) -> Turn {
        let Chooser::Single { text, .. } = &mut self.chooser else { return Turn::Done };
        text.logprobs.push(chosen.logprob);
        if chosen.token == end {
            text.ended = true;
            return Turn::Done;
        }
        text.tokens.push(chosen.token);
        if let Some(bias) = &mut self.bias {
            bias.now = bias.terms.step(&bias.now, chosen.token);
        }
        text.looped = text.guard.push(chosen.token);
        if text.looped || text.tokens.len() >= self.limit {
            return Turn::Done;
        }
        self.next = vec![chosen.token];
        Turn::Go { parents: vec![0] }
    }

    pub(super) fn finish(self) -> Decoded {
        let (tokens, logprobs, truncated, looped) = match self.chooser {
            Chooser::Single { text, .. } => (text.tokens, text.logprobs, !text.ended, text.looped),
            Chooser::Beam(beam) => {
                let mut best = beam.finish();
                if let Some(bias) = &self.bias {
                    bias.lower(&best.tokens, &mut best.logprobs);
                }
                let mut guard = LoopGuard::default();
                let looped = best.tokens.iter().any(|token| guard.push(*token));
                (best.tokens, best.logprobs, best.truncated, looped)
            }
        };
        let avg_logprob = logprobs.iter().sum::<f32>() / logprobs.len().max(1) as f32;
        Decoded { tokens, logprobs, avg_logprob, truncated, looped, probed: self.probed }
    }
}

pub(super) fn ban(scores: &mut [f32], banned: &[u32]) {
    for id in banned {
        if let Some(score) = scores.get_mut(*id as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Index of the largest score of each row under `bans`, and the logarithm of its share in the softmax: chosen on the
/// device, one transfer tells the host both. Ids under 2^24 are exact in a float.
pub(super) fn best_on_device(scores: &Tensor, bans: &Tensor) -> Result<Vec<Candidate>, ModelError> {
    let scores = (scores.to_dtype(DType::F32)? + bans)?;
    let id = scores.argmax_keepdim(D::Minus1)?;
    let top = scores.gather(&id, D::Minus1)?;
    let total = scores.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let both = Tensor::cat(&[id.to_dtype(DType::F32)?, total.neg()?], 1)?.to_vec2::<f32>()?;
    Ok(both.iter().map(|pair| Candidate { token: pair[0] as u32, logprob: pair[1] }).collect())
}
