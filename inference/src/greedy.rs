//! The decoding loop: the best token of each row, one position at a time, until each has ended.

use candle_core::{D, Tensor};

use crate::decoder::{Decoder, DecoderState};
use crate::error::ModelError;
use crate::layers::best;

/// The loop guard looks for phrases of up to this many tokens...
const LOOP_TOKENS: usize = 8;
/// ...said at least this many times in a row.
const LOOP_REPEATS: usize = 4;

/// Which tokens may be chosen.
#[derive(Debug)]
pub struct Rules {
    end: u32,
    /// Added to the scores: row 0 always, row 1 instead of it for the first token. (2, vocabulary)
    bans: Tensor,
}

impl Rules {
    /// Texts end with `end`; `never` holds for every token, `not_first` for the first after an empty prefix.
    ///
    /// # Errors
    /// When the device runs out of memory.
    pub fn new(decoder: &Decoder, end: u32, never: &[u32], not_first: &[u32]) -> Result<Self, ModelError> {
        let vocabulary = decoder.vocabulary();
        let mut bans = vec![0f32; 2 * vocabulary];
        let in_range = |id: &&u32| (**id as usize) < vocabulary;
        for id in never.iter().filter(in_range) {
            bans[*id as usize] = f32::NEG_INFINITY;
            bans[vocabulary + *id as usize] = f32::NEG_INFINITY;
        }
        for id in not_first.iter().filter(in_range) {
            bans[vocabulary + *id as usize] = f32::NEG_INFINITY;
        }
        Ok(Self { end, bans: Tensor::from_vec(bans, (2, vocabulary), decoder.device())? })
    }
}

/// One row to decode.
#[derive(Debug, Clone)]
pub struct Row {
    /// Tokens forced at the start: specials, then the prefix.
    pub prompt: Vec<u32>,
    /// Whether nothing but specials is forced, so that the rules for a first token hold.
    pub fresh: bool,
    /// Most tokens to decode. The decoder's positions are a second limit.
    pub limit: usize,
}

/// What was decoded of one row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// The tokens after the prompt, without the end token.
    pub tokens: Vec<u32>,
    /// Mean natural logarithm of their probabilities, the end token's included; 0 for no token at all.
    pub avg_logprob: f32,
    /// The text did not end: a limit was reached, or it went round in circles.
    pub truncated: bool,
    /// It went round in circles.
    pub looped: bool,
    /// What [`Probe`] asked for; 0 without one.
    pub probed: f32,
}

/// Asks for the probability of `token` right after position `positions[row]` of each prompt.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// Index into each row's prompt.
    pub positions: &'a [usize],
    /// The token whose probability is wanted.
    pub token: u32,
}

/// Decodes a batch. `state` holds the encoder's output of the same rows. Each row's answer is the one it gets alone.
///
/// # Errors
/// When a prompt leaves no position free, or the computation fails.
pub fn greedy(
    decoder: &Decoder,
    state: &mut DecoderState,
    rows: &[Row],
    rules: &Rules,
    probe: Option<Probe<'_>>,
) -> Result<Vec<Decoded>, ModelError> {
    let mut run = Run::start(decoder, state, rows)?;
    let hidden = run.prefill(rows, rules.end)?;
    let probed = probe.map(|probe| run.probe(&hidden, rows, probe)).transpose()?;
    let mut logits = run.first_logits(&hidden, rows, rules)?;
    loop {
        let next = run.take(&best(&logits)?, rules.end);
        if run.open() == 0 {
            break;
        }
        let next = run.drop_finished(next)?;
        let hidden = decoder.forward(&next, run.state)?;
        logits = decoder.logits(&hidden)?.broadcast_add(&rules.bans.narrow(0, 0, 1)?)?;
    }
    let mut answers = run.answers();
    for (answer, probability) in answers.iter_mut().zip(probed.into_iter().flatten()) {
        answer.probed = probability;
    }
    Ok(answers)
}

/// A row under way.
struct Progress {
    answer: Decoded,
    limit: usize,
    logprobs: f32,
    chosen: usize,
    done: bool,
}

struct Run<'a> {
    decoder: &'a Decoder,
    state: &'a mut DecoderState,
    progress: Vec<Progress>,
    /// For each row of the batch, the request it belongs to: finished rows leave the batch.
    owner: Vec<usize>,
    longest: usize,
}

impl<'a> Run<'a> {
    fn start(decoder: &'a Decoder, state: &'a mut DecoderState, rows: &[Row]) -> Result<Self, ModelError> {
        let longest = rows.iter().map(|row| row.prompt.len()).max().unwrap_or(0);
        let limit = decoder.max_positions();
        if longest == 0 || longest >= limit {
            return Err(ModelError::TooLong { what: "prompt (tokens)", got: longest, limit: limit - 1 });
        }
        let room = |row: &Row| row.limit.clamp(1, limit - row.prompt.len());
        let capacity = longest + rows.iter().map(room).max().unwrap_or(0);
        let padding: Vec<usize> = rows.iter().map(|row| longest - row.prompt.len()).collect();
        state.restart(&padding, capacity)?;
        let fresh =
            |row| Progress { answer: Decoded::default(), limit: room(row), logprobs: 0.0, chosen: 0, done: false };
        let progress = rows.iter().map(fresh).collect();
        Ok(Self { decoder, state, progress, owner: (0..rows.len()).collect(), longest })
    }

    fn prefill(&mut self, rows: &[Row], filler: u32) -> Result<Tensor, ModelError> {
        let mut tokens = Vec::with_capacity(rows.len() * self.longest);
        for row in rows {
            tokens.extend(std::iter::repeat_n(filler, self.longest - row.prompt.len()));
            tokens.extend_from_slice(&row.prompt);
        }
        self.decoder.forward(&tokens, self.state)
    }

    fn probe(&self, hidden: &Tensor, rows: &[Row], probe: Probe<'_>) -> Result<Vec<f32>, ModelError> {
        let at = rows.iter().zip(probe.positions).enumerate();
        let at = at.map(|(i, (row, position))| (i * self.longest + self.longest - row.prompt.len() + position) as u32);
        let at = Tensor::new(at.collect::<Vec<u32>>(), self.decoder.device())?;
        let logits = self.decoder.logits(&hidden.index_select(&at, 0)?)?;
        let shares = candle_nn::ops::softmax_last_dim(&logits)?;
        Ok(shares.narrow(D::Minus1, probe.token as usize, 1)?.flatten_all()?.to_vec1()?)
    }

    fn first_logits(&self, hidden: &Tensor, rows: &[Row], rules: &Rules) -> Result<Tensor, ModelError> {
        let device = self.decoder.device();
        let last: Vec<u32> = (1..=rows.len()).map(|i| (i * self.longest - 1) as u32).collect();
        let bans: Vec<u32> = rows.iter().map(|row| u32::from(row.fresh)).collect();
        let logits = self.decoder.logits(&hidden.index_select(&Tensor::new(last, device)?, 0)?)?;
        Ok((logits + rules.bans.index_select(&Tensor::new(bans, device)?, 0)?)?)
    }

    /// Books each row's choice; the tokens to go on with.
    fn take(&mut self, choices: &[(u32, f32)], end: u32) -> Vec<u32> {
        for ((id, logprob), owner) in choices.iter().zip(&self.owner) {
            let row = &mut self.progress[*owner];
            if row.done {
                continue;
            }
            row.logprobs += logprob;
            row.chosen += 1;
            if *id == end {
                row.done = true;
                continue;
            }
            row.answer.tokens.push(*id);
            row.answer.looped = goes_round(&row.answer.tokens);
            row.answer.truncated = row.answer.looped || row.answer.tokens.len() >= row.limit;
            row.done = row.answer.truncated;
        }
        choices.iter().map(|(id, _)| *id).collect()
    }

    fn open(&self) -> usize {
        self.owner.iter().filter(|owner| !self.progress[**owner].done).count()
    }

    /// Once half of the batch is done it goes on without them: copying the memory of the rest costs less than a step.
    fn drop_finished(&mut self, next: Vec<u32>) -> Result<Vec<u32>, ModelError> {
        if self.open() * 2 > self.owner.len() {
            return Ok(next);
        }
        let open: Vec<usize> = (0..self.owner.len()).filter(|i| !self.progress[self.owner[*i]].done).collect();
        self.state.keep(&open)?;
        self.owner = open.iter().map(|i| self.owner[*i]).collect();
        Ok(open.iter().map(|i| next[*i]).collect())
    }

    fn answers(self) -> Vec<Decoded> {
        let finish = |row: Progress| Decoded { avg_logprob: row.logprobs / row.chosen.max(1) as f32, ..row.answer };
        self.progress.into_iter().map(finish).collect()
    }
}

/// Whether the tokens end in one phrase said again and again.
fn goes_round(tokens: &[u32]) -> bool {
    (1..=LOOP_TOKENS).any(|size| {
        let Some(start) = tokens.len().checked_sub(size * LOOP_REPEATS) else { return false };
        let tail = &tokens[start..];
        tail.iter().zip(&tail[size..]).all(|(a, b)| a == b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_guard_sees_phrases_of_up_to_eight_tokens() {
        assert!(goes_round(&[9, 5, 5, 5, 5]));
        assert!(!goes_round(&[5, 5, 5]));
        assert!(!goes_round(&[5, 5, 5, 5, 9]), "only what comes last counts");
        assert!(goes_round(&[1, 2, 1, 2, 1, 2, 1, 2]));
        assert!(!goes_round(&[1, 2, 1, 2, 1, 2, 1, 3]));
        let phrase: Vec<u32> = (0..8).collect();
        assert!(goes_round(&phrase.repeat(4)));
        assert!(!goes_round(&phrase.repeat(3)));
        let long: Vec<u32> = (0..9).collect();
        assert!(!goes_round(&long.repeat(4)));
    }
}
