//! Beam search for one request: the books, not the model.
//!
//! The search is that of Hugging Face transformers 5.23 (`generation/utils.py`, `_beam_search`) with one end token, and
//! finds the same texts in the same order. Each step takes the best `2 * width` continuations of all rows together. The
//! best `width` of them that do not end become the next rows; those among the first `width` that do end are finished and
//! compete for the `width` best by `sum of logprobs / tokens ^ length_penalty`, the end token counted.
//!
//! A step costs O(width² log width) comparisons and the copy of `width` token lists (1.2 µs at width 5 and 448 tokens);
//! memory is O(width * tokens): 8 bytes a token, so 5 running and 5 finished texts of 448 tokens take 36 kB.

/// When a search ends before its limit. The names are those of transformers' `early_stopping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// Once `width` texts are finished and the best row, scored at its present length, beats none of them (`False`).
    #[default]
    Heuristic,
    /// Once `width` texts are finished (`True`).
    Full,
    /// Like [`Heuristic`](Self::Heuristic), but with a positive length penalty the best row is scored at the longest
    /// length it can reach (`"never"`).
    Never,
}

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamOptions {
    /// Rows kept, at least 1.
    pub width: usize,
    /// Exponent of the length a sum of log-probabilities is divided by: above 0 favours long texts.
    pub length_penalty: f32,
    /// When to stop before the limit.
    pub early_stopping: EarlyStopping,
    /// The token that ends a text.
    pub end: u32,
    /// Most tokens decoded, the end token counted; at least 1.
    pub limit: usize,
}

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: u32,
    /// Its natural log-probability. The reference takes the log-softmax of the bare logits and applies bans and
    /// penalties to that, without normalising again.
    pub logprob: f32,
}

impl Candidate {
    /// The best `wanted` of a row of log-probabilities (one for each token of the vocabulary), best first; of equal
    /// ones the lower token comes first. Tokens at minus infinity or not a number are left out.
    pub fn best(logprobs: &[f32], wanted: usize) -> Vec<Candidate> {
        let mut best: Vec<Candidate> = Vec::with_capacity(wanted + 1);
        let mut bar = f32::NEG_INFINITY;
        for (token, &logprob) in logprobs.iter().enumerate() {
            // False for what is not a number too.
            if logprob > bar && wanted > 0 {
                let place = best.partition_point(|other| other.logprob >= logprob);
                best.insert(place, Candidate { token: token as u32, logprob });
                best.truncate(wanted);
                if best.len() == wanted {
                    bar = best[wanted - 1].logprob;
                }
            }
        }
        best
    }
}

/// What a group of rows does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// Run one more step: the new row `i` continues the old row `parents[i]` with `tokens[i]`. After the first step
    /// all of them continue row 0.
    Continue {
        /// For each new row the row of the last step whose caches it goes on with.
        parents: Vec<usize>,
        /// For each new row its token.
        tokens: Vec<u32>,
    },
    /// Nothing more to run.
    Done,
}

/// A decoded text with its score.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hypothesis {
    /// The tokens, without the end token.
    pub tokens: Vec<u32>,
    /// Each token's log-probability, then the end token's if the text ended.
    pub logprobs: Vec<f32>,
    /// Their sum.
    pub sum: f32,
    /// What texts are ranked by: the sum under the length penalty.
    pub score: f32,
    /// The text did not end: the limit was reached.
    pub truncated: bool,
}

/// The search of one request.
#[derive(Debug, Clone)]
pub struct Beam {
    options: BeamOptions,
    /// The tokens of each row to run next, best first; rows without hope have a sum of minus infinity.
    tokens: Vec<Vec<u32>>,
    logprobs: Vec<Vec<f32>>,
    sums: Vec<f32>,
    /// At most `width`, best first.
    finished: Vec<Hypothesis>,
    /// Tokens decoded so far.
    length: usize,
}

/// A continuation of a row.
#[derive(Debug, Clone, Copy)]
struct Continuation {
    row: usize,
    candidate: Candidate,
    sum: f32,
}

impl Beam {
    /// A search with nothing decoded: one row, the prompt's.
    pub fn new(options: BeamOptions) -> Self {
        let options = BeamOptions { width: options.width.max(1), limit: options.limit.max(1), ..options };
        Self {
            options,
            tokens: vec![Vec::new()],
            logprobs: vec![Vec::new()],
            sums: vec![0.0],
            finished: Vec::new(),
            length: 0,
        }
    }

    /// How many candidates each row has to be given with: twice the width, so that `width` rows are left to go on with
    /// when each row's best is the end.
    pub fn candidates_wanted(&self) -> usize {
        2 * self.options.width
    }

    /// The tokens decoded so far in each row that runs next, for rules that look back.
    pub fn rows(&self) -> &[Vec<u32>] {
        &self.tokens
    }

    /// Takes one step. `rows` holds for each row that ran (one at first, then `width`) its
    /// [`candidates_wanted`](Self::candidates_wanted) best candidates, best first; fewer where fewer are allowed.
    pub fn advance(&mut self, rows: &[Vec<Candidate>]) -> Advance {
        let best = self.best_continuations(rows);
        let at_limit = self.length + 1 >= self.options.limit;
        let ends = |next: &Continuation| next.candidate.token == self.options.end;
        let going: Vec<Continuation> = best.iter().filter(|next| !at_limit && !ends(next)).copied().collect();
        let done: Vec<Continuation> =
            best.iter().take(self.options.width).filter(|next| at_limit || ends(next)).copied().collect();
        for next in done {
            let hypothesis = self.finish_row(next);
            self.keep_finished(hypothesis);
        }
        self.length += 1;
        let parents = self.go_on(&going);
        if going.is_empty() || !self.improvable() {
            return Advance::Done;
        }
        let tokens = self.tokens.iter().map(|tokens| tokens.last().copied().unwrap_or(self.options.end)).collect();
        Advance::Continue { parents, tokens }
    }

    /// The best text. Before [`Advance::Done`], or where nothing may follow, that can be a row still running.
    pub fn finish(self) -> Hypothesis {
        self.n_best().into_iter().next().unwrap_or(Hypothesis { truncated: true, ..Hypothesis::default() })
    }

    /// Up to `width` texts, best first. Rows still running count, as truncated, only where fewer are finished.
    pub fn n_best(mut self) -> Vec<Hypothesis> {
        let running = self.tokens.into_iter().zip(self.logprobs).zip(self.sums);
        let running = running.filter(|((tokens, _), sum)| !tokens.is_empty() && sum.is_finite());
        let missing = self.options.width - self.finished.len();
        let length = self.length;
        self.finished.extend(running.take(missing).map(|((tokens, logprobs), sum)| {
            let score = sum / weight(length, self.options.length_penalty);
            Hypothesis { tokens, logprobs, sum, score, truncated: true }
        }));
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished
    }

    /// The best `2 * width` of all rows: by sum, then row, then token.
    fn best_continuations(&self, rows: &[Vec<Candidate>]) -> Vec<Continuation> {
        let mut all = Vec::with_capacity(rows.len() * self.candidates_wanted());
        for (row, (candidates, sum)) in rows.iter().zip(&self.sums).enumerate() {
            let continuation =
                |candidate: &Candidate| Continuation { row, candidate: *candidate, sum: sum + candidate.logprob };
            all.extend(candidates.iter().map(continuation).filter(|next| next.sum.is_finite()));
        }
        all.sort_by(|a, b| {
            let by_place = || (a.row, a.candidate.token).cmp(&(b.row, b.candidate.token));
            b.sum.total_cmp(&a.sum).then_with(by_place)
        });
        all.truncate(self.candidates_wanted());
        all
    }

    fn finish_row(&self, next: Continuation) -> Hypothesis {
        let ended = next.candidate.token == self.options.end;
        let mut tokens = self.tokens[next.row].clone();
        let mut logprobs = self.logprobs[next.row].clone();
        logprobs.push(next.candidate.logprob);
        if !ended {
            tokens.push(next.candidate.token);
        }
        let score = next.sum / weight(self.length + 1, self.options.length_penalty);
        Hypothesis { tokens, logprobs, sum: next.sum, score, truncated: !ended }
    }

    /// Of equal scores the one found first stays first.
    fn keep_finished(&mut self, hypothesis: Hypothesis) {
        let place = self.finished.partition_point(|other| other.score >= hypothesis.score);
        self.finished.insert(place, hypothesis);
        self.finished.truncate(self.options.width);
    }

    /// Makes the best `width` continuations the rows; gives their parents. Places left over are filled with rows that
    /// cannot win, so that a caller's batch keeps its shape.
    fn go_on(&mut self, going: &[Continuation]) -> Vec<usize> {
        let going = &going[..going.len().min(self.options.width)];
        let spare = if going.is_empty() { 0 } else { self.options.width - going.len() };
        let hopeless = Continuation {
            row: 0,
            candidate: Candidate { token: self.options.end, logprob: f32::NEG_INFINITY },
            sum: f32::NEG_INFINITY,
        };
        let next: Vec<Continuation> = going.iter().copied().chain(std::iter::repeat_n(hopeless, spare)).collect();
        self.tokens = next.iter().map(|next| followed(&self.tokens[next.row], next.candidate.token)).collect();
        self.logprobs = next.iter().map(|next| followed(&self.logprobs[next.row], next.candidate.logprob)).collect();
        self.sums = next.iter().map(|next| next.sum).collect();
        next.iter().map(|next| next.row).collect()
    }

    /// Whether a running row may still beat a finished text (`_check_early_stop_heuristic`).
    fn improvable(&self) -> bool {
        let (Some(worst), Some(best)) = (self.finished.get(self.options.width - 1), self.sums.first()) else {
            return true;
        };
        let length = match self.options.early_stopping {
            EarlyStopping::Full => return false,
            EarlyStopping::Never if self.options.length_penalty > 0.0 => self.options.limit,
            EarlyStopping::Never | EarlyStopping::Heuristic => self.length,
        };
        best / weight(length, self.options.length_penalty) > worst.score
    }
}

fn followed<T: Copy>(list: &[T], last: T) -> Vec<T> {
    let mut longer = Vec::with_capacity(list.len() + 1);
    longer.extend_from_slice(list);
    longer.push(last);
    longer
}

/// What a sum of `length` log-probabilities is divided by. Taken in double precision as the reference does.
fn weight(length: usize, penalty: f32) -> f32 {
    (length as f64).powf(f64::from(penalty)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: BeamOptions =
        BeamOptions { width: 2, length_penalty: 1.0, early_stopping: EarlyStopping::Heuristic, end: 0, limit: 8 };

    fn row(pairs: &[(u32, f32)]) -> Vec<Candidate> {
        pairs.iter().map(|&(token, logprob)| Candidate { token, logprob }).collect()
    }

    #[test]
    fn the_best_candidates_come_in_order_and_bans_never() {
        let logprobs = [-3.0, f32::NEG_INFINITY, -1.0, f32::NAN, -1.0, -2.0];
        let tokens = |wanted| Candidate::best(&logprobs, wanted).iter().map(|c| c.token).collect::<Vec<_>>();
        assert_eq!(tokens(3), [2, 4, 5]);
        assert_eq!(tokens(9), [2, 4, 5, 0]);
        assert_eq!(tokens(1), [2]);
        assert!(tokens(0).is_empty());
    }

    #[test]
    fn a_text_behind_at_first_can_win() {
        let mut beam = Beam::new(OPTIONS);
        let first = beam.advance(&[row(&[(5, -0.4), (6, -1.0), (7, -3.0)])]);
        assert_eq!(first, Advance::Continue { parents: vec![0, 0], tokens: vec![5, 6] });
        let second = beam.advance(&[row(&[(8, -2.0), (0, -2.2)]), row(&[(9, -0.1), (0, -4.0)])]);
        assert_eq!(second, Advance::Continue { parents: vec![1, 0], tokens: vec![9, 8] });
        assert_eq!(beam.rows(), [[6, 9], [5, 8]]);
        beam.advance(&[row(&[(0, -0.1), (1, -5.0)]), row(&[(0, -0.1), (1, -6.0)])]);
        let best = beam.finish();
        assert_eq!((best.tokens, best.truncated), (vec![6, 9], false));
        assert_eq!(best.logprobs, [-1.0, -0.1, -0.1]);
        assert_eq!(best.score, best.sum / 3.0);
    }

    #[test]
    fn the_limit_ends_all_rows() {
        let mut beam = Beam::new(BeamOptions { limit: 1, ..OPTIONS });
        assert_eq!(beam.advance(&[row(&[(5, -0.4), (6, -1.0)])]), Advance::Done);
        let texts = beam.n_best();
        assert_eq!(texts.iter().map(|text| text.tokens[0]).collect::<Vec<_>>(), [5, 6]);
        assert!(texts.iter().all(|text| text.truncated));
    }

    #[test]
    fn rows_are_filled_up_where_little_is_allowed_and_never_win() {
        let mut beam = Beam::new(BeamOptions { width: 3, ..OPTIONS });
        let only = beam.advance(&[row(&[(5, -0.4)])]);
        assert_eq!(only, Advance::Continue { parents: vec![0, 0, 0], tokens: vec![5, 0, 0] });
        let crowd = row(&[(0, -0.1), (6, -0.2)]);
        beam.advance(&[row(&[(6, -9.0)]), crowd.clone(), crowd]);
        assert_eq!(beam.finish().tokens, [5, 6]);
    }

    #[test]
    fn a_search_left_early_or_without_any_way_on_still_answers() {
        let mut beam = Beam::new(OPTIONS);
        beam.advance(&[row(&[(5, -0.4), (6, -1.0)])]);
        let best = beam.finish();
        assert_eq!((best.tokens, best.truncated), (vec![5], true));

        let mut stuck = Beam::new(OPTIONS);
        assert_eq!(stuck.advance(&[Vec::new()]), Advance::Done);
        assert_eq!(stuck.finish(), Hypothesis { truncated: true, ..Hypothesis::default() });
    }

    proptest! {
        #[test]
        fn one_beam_is_a_greedy_search(
            steps in prop::collection::vec(prop::collection::vec(-9.0f32..0.0, 6), 1..20),
            length_penalty in -1.0f32..2.0,
            full in any::<bool>(),
        ) {
            let early_stopping = if full { EarlyStopping::Full } else { EarlyStopping::Heuristic };
            let options = BeamOptions { width: 1, length_penalty, early_stopping, limit: steps.len(), ..OPTIONS };
            let mut beam = Beam::new(options);
            let mut greedy = Vec::new();
            for (step, scores) in steps.iter().enumerate() {
                let best = Candidate::best(scores, beam.candidates_wanted());
                let token = best[0].token;
                let advance = beam.advance(&[best]);
                if token == 0 {
                    prop_assert_eq!(advance, Advance::Done);
                    break;
                }
                greedy.push(token);
                let last = step + 1 == steps.len();
                let go_on = Advance::Continue { parents: vec![0], tokens: vec![token] };
                prop_assert_eq!(advance, if last { Advance::Done } else { go_on });
            }
            prop_assert_eq!(beam.finish().tokens, greedy);
        }
    }
}
