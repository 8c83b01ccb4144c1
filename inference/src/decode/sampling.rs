//! Drawing tokens at a temperature, and the best of several texts drawn for one request.
//!
//! The draw itself is candle-transformers' `LogitsProcessor`. Each text has a generator of its own, so what is drawn
//! depends on its seed and its scores alone, not on what else is in the batch.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};

use super::beam::{Advance, Candidate, Hypothesis};
use crate::error::ModelError;

/// Below this a temperature means: take the best.
const COLD: f32 = 1e-4;

/// Turns a row of scores into natural log-probabilities, in place. A row of nothing but minus infinity stays as it is.
pub fn log_softmax(scores: &mut [f32]) {
    let divisor = log_sum_exp(scores);
    if divisor.is_finite() {
        for score in scores {
            *score -= divisor;
        }
    }
}

/// The logarithm of the sum of the exponentials: what a score loses to become a log-probability.
pub(super) fn log_sum_exp(scores: &[f32]) -> f32 {
    let top = greatest(scores);
    if !top.is_finite() {
        return top;
    }
    let sum: f64 = scores.iter().map(|score| f64::from((score - top).exp())).sum();
    top + sum.ln() as f32
}

/// The greatest score; minus infinity of none. Eight lanes, of which the compiler makes vector instructions; of one
/// chain of `f32::max` it cannot.
pub(super) fn greatest(scores: &[f32]) -> f32 {
    let pick = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; 8];
    let (chunks, rest) = scores.as_chunks::<8>();
    for chunk in chunks {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *lane = pick(*lane, *score);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, pick)
}

/// Draws the tokens of one text.
pub struct Sampler {
    processor: LogitsProcessor,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").finish_non_exhaustive()
    }
}

impl Sampler {
    /// The same seed, temperature and scores give the same tokens. At temperature 0 the best token is taken.
    pub fn new(seed: u64, temperature: f32) -> Self {
        let sampling =
            if temperature < COLD { Sampling::ArgMax } else { Sampling::All { temperature: f64::from(temperature) } };
        Self { processor: LogitsProcessor::from_sampling(seed, sampling) }
    }

    /// Draws from one row of scores, one score a token; those at minus infinity are never drawn. The log-probability
    /// given back is that of the scores as they are, without the temperature.
    ///
    /// # Errors
    /// When nothing is allowed, or a score is not a number.
    pub fn draw(&mut self, logits: &[f32]) -> Result<Candidate, ModelError> {
        let divisor = log_sum_exp(logits);
        if !divisor.is_finite() {
            return Err(ModelError::Compute("no token to draw: every score is minus infinity or not a number".into()));
        }
        let token = self.processor.sample(&Tensor::new(logits, &Device::Cpu)?)?;
        Ok(Candidate { token, logprob: logits[token as usize] - divisor })
    }
}

/// How to draw the texts of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingOptions {
    /// How many texts are drawn, at least 1.
    pub texts: usize,
    /// 0 takes the best token; 1 draws from the model's own distribution.
    pub temperature: f32,
    /// Text `i` is drawn with the seed `seed + i`.
    pub seed: u64,
    /// The token that ends a text.
    pub end: u32,
    /// Most tokens decoded, the end token counted; at least 1.
    pub limit: usize,
}

/// The texts drawn for one request; driven like [`Beam`](super::beam::Beam), but with fewer rows as texts end.
#[derive(Debug)]
pub struct BestOf {
    options: SamplingOptions,
    texts: Vec<Text>,
    /// Which text each row that runs next belongs to. Empty before the first step: all of them start from one row.
    open: Vec<usize>,
    started: bool,
}

#[derive(Debug)]
struct Text {
    sampler: Sampler,
    hypothesis: Hypothesis,
}

impl BestOf {
    /// Nothing drawn yet.
    pub fn new(options: SamplingOptions) -> Self {
        let texts = (0..options.texts.max(1) as u64).map(|index| Text {
            sampler: Sampler::new(options.seed.wrapping_add(index), options.temperature),
            hypothesis: Hypothesis { truncated: true, ..Hypothesis::default() },
        });
        Self { options, texts: texts.collect(), open: Vec::new(), started: false }
    }

    /// The tokens drawn so far in each row that runs next, for rules that look back.
    pub fn rows(&self) -> Vec<&[u32]> {
        if !self.started {
            return vec![&[]];
        }
        self.open.iter().map(|&text| self.texts[text].hypothesis.tokens.as_slice()).collect()
    }

    /// Takes one step. `rows` holds the scores of each row that ran: one at first, then one for each open text.
    ///
    /// # Errors
    /// When a row allows nothing, or holds what is not a number.
    pub fn advance<R: AsRef<[f32]>>(&mut self, rows: &[R]) -> Result<Advance, ModelError> {
        let ran: Vec<(usize, usize)> = if self.started {
            self.open.iter().copied().enumerate().collect()
        } else {
            (0..self.texts.len()).map(|text| (0, text)).collect()
        };
        self.started = true;
        self.open.clear();
        let (mut parents, mut tokens) = (Vec::new(), Vec::new());
        for (row, text) in ran {
            let Some(logits) = rows.get(row) else { continue };
            let Text { sampler, hypothesis } = &mut self.texts[text];
            let drawn = sampler.draw(logits.as_ref())?;
            hypothesis.logprobs.push(drawn.logprob);
            hypothesis.sum += drawn.logprob;
            if drawn.token == self.options.end {
                hypothesis.truncated = false;
                continue;
            }
            hypothesis.tokens.push(drawn.token);
            if hypothesis.tokens.len() < self.options.limit {
                self.open.push(text);
                parents.push(row);
                tokens.push(drawn.token);
            }
        }
        Ok(if parents.is_empty() { Advance::Done } else { Advance::Continue { parents, tokens } })
    }

    /// The most likely text: the greatest sum of log-probabilities per token, the end token in the sum but not in the
    /// count, as openai-whisper ranks them (`decoding.py`, `MaximumLikelihoodRanker` without a length penalty).
    pub fn finish(self) -> Hypothesis {
        let mut best: Option<Hypothesis> = None;
        for Text { mut hypothesis, .. } in self.texts {
            hypothesis.score = hypothesis.sum / hypothesis.tokens.len().max(1) as f32;
            if best.as_ref().is_none_or(|best| hypothesis.score > best.score) {
                best = Some(hypothesis);
            }
        }
        best.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: SamplingOptions = SamplingOptions { texts: 4, temperature: 0.8, seed: 17, end: 0, limit: 6 };

    /// Scores that depend on what was said, so that texts go different ways.
    fn scores(said: &[u32]) -> Vec<f32> {
        let last = said.last().copied().unwrap_or(3);
        (0..16u32).map(|token| ((token * 7 + last * 5) % 11) as f32 / 4.0).collect()
    }

    fn run(options: SamplingOptions) -> (Hypothesis, usize) {
        let mut texts = BestOf::new(options);
        let mut steps = 0;
        loop {
            steps += 1;
            let rows: Vec<Vec<f32>> = texts.rows().into_iter().map(scores).collect();
            let Advance::Continue { parents, tokens } = texts.advance(&rows).unwrap() else { break };
            assert!(parents.iter().all(|parent| *parent < rows.len()));
            let last: Vec<u32> = texts.rows().iter().filter_map(|row| row.last().copied()).collect();
            assert_eq!(last, tokens, "a row ends in the token it goes on with");
        }
        (texts.finish(), steps)
    }

    #[test]
    fn the_seed_decides_what_is_drawn() {
        let (first, _) = run(OPTIONS);
        assert_eq!(first, run(OPTIONS).0);
        assert!((0..8).any(|seed| run(SamplingOptions { seed, ..OPTIONS }).0.tokens != first.tokens));
        assert!((first.sum - first.logprobs.iter().sum::<f32>()).abs() < 1e-6);
    }

    #[test]
    fn more_texts_never_give_a_worse_best() {
        let score = |seed, texts| run(SamplingOptions { texts, seed, ..OPTIONS }).0.score;
        assert!((0..8).all(|seed| (1..8).all(|texts| score(seed, texts) <= score(seed, texts + 1))));
        assert!((0..8).any(|seed| score(seed, 1) < score(seed, 8)), "the first draw is not always the best");
    }

    #[test]
    fn without_temperature_it_is_greedy_and_the_limit_holds() {
        let (text, steps) = run(SamplingOptions { texts: 1, temperature: 0.0, end: 99, ..OPTIONS });
        let mut greedy = Vec::new();
        for _ in 0..6 {
            greedy.push(Candidate::best(&scores(&greedy), 1)[0].token);
        }
        assert_eq!((text.tokens, text.truncated, steps), (greedy, true, 6));
    }

    #[test]
    fn draws_follow_the_distribution_at_their_temperature() {
        let logits = [f32::NEG_INFINITY, 1f32.ln(), 3f32.ln()];
        let share = |temperature: f32| {
            let mut sampler = Sampler::new(5, temperature);
            let drawn: Vec<u32> = (0..4000).map(|_| sampler.draw(&logits).unwrap().token).collect();
            assert!(!drawn.contains(&0), "what is banned is never drawn");
            drawn.iter().filter(|token| **token == 2).count() as f32 / 4000.0
        };
        // 3 : 1 at temperature 1; at 0.5 the odds are squared, 9 : 1. Five standard deviations are 0.034 and less.
        assert!((share(1.0) - 0.75).abs() < 0.034);
        assert!((share(0.5) - 0.9).abs() < 0.034);
        let drawn = Sampler::new(5, 0.5).draw(&logits).unwrap();
        assert!((drawn.logprob - [0.0, 0.25f32.ln(), 0.75f32.ln()][drawn.token as usize]).abs() < 1e-6);
    }

    #[test]
    fn nothing_allowed_is_an_error() {
        assert!(Sampler::new(1, 1.0).draw(&[f32::NEG_INFINITY; 3]).is_err());
        assert!(Sampler::new(1, 0.0).draw(&[f32::NEG_INFINITY; 3]).is_err());
        let mut scores = [f32::NEG_INFINITY; 3];
        log_softmax(&mut scores);
        assert_eq!(scores, [f32::NEG_INFINITY; 3]);
        let mut scores = [1000.0, 1000.0];
        log_softmax(&mut scores);
        assert!((scores[0] - 0.5f32.ln()).abs() < 1e-4);
    }
}
