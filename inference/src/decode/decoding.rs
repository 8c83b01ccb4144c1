//! The decoding loop: every request in it moves on by one token a step, new ones come in between, finished ones leave.

use std::sync::Arc;

use candle_core::Tensor;

use super::bias::Bias;
use super::choice::{Progress, Turn, best_on_device};
use super::rules::Rules;
use crate::decoder::{Batch, Decoder, Scores, Source, pick, pick_last};
use crate::error::ModelError;

/// How a text is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strategy {
    /// The best token each time.
    Greedy,
    /// Drawn at a temperature above 0; the same seed draws the same text.
    Sample {
        /// 1 draws from the model's own distribution.
        temperature: f32,
        /// Of the random numbers.
        seed: u64,
    },
    /// The best of several texts followed at once; only in a [`Decoding`] with more than one row a request.
    Beam {
        /// Scores are divided by the length to this power; 1 is the mean.
        length_penalty: f32,
    },
}

/// One text to decode.
#[derive(Debug, Clone)]
pub struct Task {
    /// Tokens forced at the start: specials, then the prefix.
    pub prompt: Vec<u32>,
    /// Whether nothing but specials is forced, so that the rules for a first token hold.
    pub fresh: bool,
    /// Most tokens to decode. The decoder's positions are a second limit.
    pub limit: usize,
    /// How tokens are chosen.
    pub strategy: Strategy,
    /// Timestamps are among the tokens.
    pub timestamps: bool,
    /// Asks for the probability of a token right after this index of the prompt: (index, token).
    pub probe: Option<(usize, u32)>,
    /// Terms to be preferred.
    pub bias: Option<Arc<Bias>>,
    /// Index of the prompt from which on it is text of this task's: what of it is the beginning of a term counts.
    pub text_from: usize,
}

/// What was decoded of one text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// The tokens after the prompt, without the end token.
    pub tokens: Vec<u32>,
    /// Natural logarithm of each one's probability, then the end token's where the text ended.
    pub logprobs: Vec<f32>,
    /// Their mean; 0 for no token at all.
    pub avg_logprob: f32,
    /// The text did not end: a limit was reached, or it went round in circles.
    pub truncated: bool,
    /// It went round in circles.
    pub looped: bool,
    /// What [`Task::probe`] asked for; 0 without one.
    pub probed: f32,
}

/// The requests being decoded, each under a key of the caller's.
#[derive(Debug)]
pub struct Decoding<K> {
    batch: Batch,
    /// Rows of each request.
    width: usize,
    running: Vec<(K, Progress)>,
}

impl<K> Decoding<K> {
    /// Nothing to decode yet. Each request will have `width` rows: 1, or the beams of a beam search.
    pub fn new(width: usize) -> Self {
        let width = width.max(1);
        Self { batch: Batch::empty(width), width, running: Vec::new() }
    }

    /// Requests under way.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Forgets all requests.
    pub fn clear(&mut self) {
        *self = Self::new(self.width);
    }

    /// Takes requests in and decodes the first token of each. Those that end there are handed back.
    ///
    /// # Errors
    /// When a prompt leaves no position free, or the computation fails; none of the requests is then taken in.
    pub fn admit(
        &mut self,
        decoder: &Decoder,
        rules: &Rules,
        requests: Vec<(K, Source, Task)>,
    ) -> Result<Vec<(K, Decoded)>, ModelError> {
        let limit = decoder.max_positions();
        if let Some((.., task)) =
            requests.iter().find(|(.., task)| task.prompt.is_empty() || task.prompt.len() >= limit)
        {
            return Err(ModelError::TooLong { what: "prompt (tokens)", got: task.prompt.len(), limit: limit - 1 });
        }
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let sources: Vec<Source> = requests.iter().map(|(_, source, _)| source.clone()).collect();
        let mut fresh = decoder.batch(&sources)?;
        let prompts: Vec<Vec<u32>> = requests.iter().map(|(.., task)| task.prompt.clone()).collect();
        let hidden = decoder.forward(&prompts, &mut fresh)?;
        let probed = probe(decoder, &hidden, &requests)?;
        let scores = decoder.scores(&pick_last(&hidden, &prompts)?)?;
        let mut arrived: Vec<(K, Progress)> = Vec::with_capacity(requests.len());
        for ((key, _, task), probed) in requests.into_iter().zip(probed) {
            let room = task.limit.clamp(1, limit - task.prompt.len());
            let mut progress = Progress::new(&task, room, self.width, rules.end);
            progress.probed = probed;
            arrived.push((key, progress));
        }
        let turns = choose(&mut arrived, 1, scores, decoder.vocabulary(), rules)?;
        let done = retire(&mut fresh, &mut arrived, &turns)?;
        self.batch.join(fresh)?;
        self.running.extend(arrived);
        Ok(done)
    }

    /// Decodes one more token of every request. Those that end are handed back.
    ///
    /// # Errors
    /// When the computation fails; what was under way is then of no use any more.
    pub fn step(&mut self, decoder: &Decoder, rules: &Rules) -> Result<Vec<(K, Decoded)>, ModelError> {
        if self.running.is_empty() {
            return Ok(Vec::new());
        }
        let next = self.running.iter().flat_map(|(_, progress)| progress.next.iter().map(|token| vec![*token]));
        let hidden = decoder.forward(&next.collect::<Vec<_>>(), &mut self.batch)?;
        let scores = decoder.scores(&hidden)?;
        let turns = choose(&mut self.running, self.width, scores, decoder.vocabulary(), rules)?;
        if self.width > 1 {
            let parents = turns.iter().enumerate().flat_map(|(i, turn)| {
                let base = i * self.width;
                let stay = (0..self.width).collect();
                let own = if let Turn::Go { parents } = turn { parents.clone() } else { stay };
                own.into_iter().map(move |parent| base + parent)
            });
            self.batch.reorder(&parents.collect::<Vec<_>>())?;
        }
        retire(&mut self.batch, &mut self.running, &turns)
    }

    /// Drops the requests whose keys `gone` names, without an answer.
    ///
    /// # Errors
    /// When the device fails.
    pub fn withdraw(&mut self, gone: impl Fn(&K) -> bool) -> Result<(), ModelError> {
        for i in (0..self.running.len()).rev().filter(|i| gone(&self.running[*i].0)).collect::<Vec<_>>() {
            self.running.swap_remove(i);
            self.batch.retire(i)?;
        }
        Ok(())
    }
}

/// The probabilities [`Task::probe`] asks for.
fn probe<K>(decoder: &Decoder, hidden: &Tensor, requests: &[(K, Source, Task)]) -> Result<Vec<f32>, ModelError> {
    let mut answers = vec![0.0; requests.len()];
    let (mut places, mut asked) = (Vec::new(), Vec::new());
    let mut from = 0;
    for (i, (.., task)) in requests.iter().enumerate() {
        if let Some((index, token)) = task.probe {
            places.push(from + index);
            asked.push((i, token));
        }
        from += task.prompt.len();
    }
    if asked.is_empty() {
        return Ok(answers);
    }
    let vocabulary = decoder.vocabulary();
    let scores = decoder.scores(&pick(hidden, &places)?)?.into_host()?;
    for ((i, token), row) in asked.into_iter().zip(scores.chunks_exact(vocabulary)) {
        let score = row.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        answers[i] = (score - kernels::log_sum_exp(row)).exp();
    }
    Ok(answers)
}

/// Chooses for every request; each has `rows` rows of scores.
fn choose<K>(
    running: &mut [(K, Progress)],
    rows: usize,
    scores: Scores,
    vocabulary: usize,
    rules: &Rules,
) -> Result<Vec<Turn>, ModelError> {
    let (Scores::Device(table), Some(bans), 1) = (&scores, &rules.bans, rows) else {
        let mut scores = scores.into_host()?;
        let rows = scores.chunks_exact_mut(rows * vocabulary);
        return running.iter_mut().zip(rows).map(|((_, row), scores)| row.choose(scores, vocabulary, rules)).collect();
    };
    // Only what the device cannot choose by itself comes to the host.
    let (plain, other): (Vec<usize>, Vec<usize>) = (0..running.len()).partition(|i| running[*i].1.plain());
    let mut turns: Vec<Option<Turn>> = running.iter().map(|_| None).collect();
    if !plain.is_empty() {
        let which: Vec<u32> = plain.iter().map(|i| u32::from(running[*i].1.first())).collect();
        let bans = bans.index_select(&Tensor::new(which, table.device())?, 0)?;
        for (i, chosen) in plain.iter().zip(best_on_device(&pick(table, &plain)?, &bans)?) {
            turns[*i] = Some(running[*i].1.take(chosen, rules.end));
        }
    }
    if !other.is_empty() {
        let mut scores = Scores::Device(pick(table, &other)?).into_host()?;
        for (i, scores) in other.iter().zip(scores.chunks_exact_mut(vocabulary)) {
            turns[*i] = Some(running[*i].1.choose(scores, vocabulary, rules)?);
        }
    }
    Ok(turns.into_iter().flatten().collect())
}

/// Takes those that are done out of the batch.
fn retire<K>(
    batch: &mut Batch,
    running: &mut Vec<(K, Progress)>,
    turns: &[Turn],
) -> Result<Vec<(K, Decoded)>, ModelError> {
    let mut done = Vec::new();
    for i in (0..turns.len()).rev().filter(|i| matches!(turns[*i], Turn::Done)) {
        batch.retire(i)?;
        let (key, progress) = running.swap_remove(i);
        done.push((key, progress.finish()));
    }
    done.reverse();
    Ok(done)
}
