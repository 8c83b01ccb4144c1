//! When each token was said, from where the decoder looked: attention over audio to times, words and a stopping rule.
//!
//! Some heads of Whisper's cross-attention follow the voice. Their attention is compared over the tokens (each position's
//! mean taken off, divided by its deviation), smoothed by a median over 7 positions and averaged over the heads, as in
//! openai-whisper (`timing.py`, `find_alignment`) and transformers (`_extract_token_timestamps`). Then:
//! - [`token_times`]: the cheapest monotone path through it says when each token begins; [`words`] makes words of them
//! - [`Attention`]: the position the last token looks at most, while decoding, for a policy that stops before the end of
//!   the audio (AlignAtt: Papi et al. 2023, "AlignAtt: Using Attention-based Audio-Translation Alignments as a Guide for
//!   Simultaneous Speech Translation", section 3)

mod path;
mod words;

use serde::Deserialize;

pub use words::{AlignedWord, TokenText, token_bytes, words};

/// A position of the encoder's output means this many milliseconds (Whisper: 1500 positions for 30 s).
pub const POSITION_MS: u32 = 20;

/// Width of the median filter in positions (`median_filter_width` of Whisper's configuration, 7 in every model).
const WIDTH: usize = 7;
const HALF: usize = WIDTH / 2;

/// A head of the decoder's cross-attention that follows the voice; `[layer, head]` in `generation_config.json`, under
/// `alignment_heads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct AlignmentHead {
    /// The decoder layer, from 0.
    pub layer: usize,
    /// The head within it, from 0.
    pub head: usize,
}

/// The heads to take where a model names none: all of the upper half of the layers, as in openai-whisper (`model.py`).
pub fn default_alignment_heads(layers: usize, heads: usize) -> Vec<AlignmentHead> {
    (layers / 2..layers).flat_map(|layer| (0..heads).map(move |head| AlignmentHead { layer, head })).collect()
}

/// Where each token begins: positions, one for each of `tokens` rows, never going back.
///
/// `heads` holds for each head the attention of each token over the audio, (tokens, positions); the row of a token is
/// the step that chose it. The rows given are the ones compared: leave the prompt's out, and append the end token's to
/// learn where the last word ends. Time is O(heads * tokens * positions).
///
/// # Panics
/// When a head holds fewer than `tokens * positions` numbers.
pub fn token_times(heads: &[Vec<f32>], tokens: usize, positions: usize) -> Vec<u32> {
    path::starts(&compared(heads, tokens, positions), tokens, positions)
}

/// The position a token looks at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlignmentRow {
    /// Index of the token among the rows compared.
    pub token: usize,
    /// The position, from 0.
    pub position: u32,
}

/// The position each token looks at most, compared over all of them. Takes what [`token_times`] takes.
///
/// # Panics
/// When a head holds fewer than `tokens * positions` numbers.
pub fn most_attended(heads: &[Vec<f32>], tokens: usize, positions: usize) -> Vec<AlignmentRow> {
    let matrix = compared(heads, tokens, positions);
    let rows = matrix.chunks_exact(positions.max(1)).enumerate();
    rows.map(|(token, row)| AlignmentRow { token, position: greatest(row) }).collect()
}

/// The same while decoding: each token compared with those before it, in O(heads * positions) a token. A copy goes on
/// independently, for beams.
#[derive(Debug, Clone)]
pub struct Attention {
    positions: usize,
    tokens: usize,
    /// Mean, and sum of squared deviations from it, for each head and position (Welford's recurrence).
    means: Vec<f32>,
    squares: Vec<f32>,
    row: Vec<f32>,
    padded: Vec<f32>,
}

impl Attention {
    /// Nothing decoded yet.
    pub fn new(heads: usize, positions: usize) -> Self {
        let zeros = || vec![0.0; heads * positions];
        Self { positions, tokens: 0, means: zeros(), squares: zeros(), row: vec![0.0; positions], padded: Vec::new() }
    }

    /// Takes the next token's attention, (heads, positions) in one slice. The prompt's tokens belong in it too: with
    /// few rows to compare, the answer is coarse.
    ///
    /// # Panics
    /// When `attention` is shorter than `heads * positions`.
    pub fn push(&mut self, attention: &[f32]) -> AlignmentRow {
        let attention = &attention[..self.means.len()];
        let token = self.tokens;
        self.tokens += 1;
        let share = 1.0 / self.tokens as f32;
        for ((mean, square), weight) in self.means.iter_mut().zip(&mut self.squares).zip(attention) {
            let distance = weight - *mean;
            *mean += distance * share;
            *square += distance * (weight - *mean);
        }
        self.row.fill(0.0);
        let heads = attention.chunks_exact(self.positions.max(1));
        let means = self.means.chunks_exact(self.positions.max(1));
        let squares = self.squares.chunks_exact(self.positions.max(1));
        for ((attention, means), squares) in heads.zip(means).zip(squares) {
            let scales: Vec<f32> = squares.iter().map(|square| inverse_deviation(square * share)).collect();
            add_smoothed(attention, (means, &scales), token == 0, &mut self.padded, &mut self.row);
        }
        AlignmentRow { token, position: greatest(&self.row) }
    }
}

/// The mean over the heads of their compared and smoothed attention, (tokens, positions).
fn compared(heads: &[Vec<f32>], tokens: usize, positions: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; tokens * positions];
    if matrix.is_empty() {
        return matrix;
    }
    let mut padded = Vec::new();
    for head in heads {
        let head = &head[..tokens * positions];
        let (means, scales) = statistics(head, tokens, positions);
        for (row, sum) in head.chunks_exact(positions).zip(matrix.chunks_exact_mut(positions)) {
            add_smoothed(row, (&means, &scales), tokens == 1, &mut padded, sum);
        }
    }
    let share = 1.0 / heads.len().max(1) as f32;
    matrix.iter_mut().for_each(|sum| *sum *= share);
    matrix
}

/// Mean and inverse deviation of each position over the tokens.
fn statistics(head: &[f32], tokens: usize, positions: usize) -> (Vec<f32>, Vec<f32>) {
    let share = 1.0 / tokens as f32;
    let mut means = vec![0.0; positions];
    for row in head.chunks_exact(positions) {
        means.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
    }
    means.iter_mut().for_each(|sum| *sum *= share);
    let mut scales = vec![0.0; positions];
    for row in head.chunks_exact(positions) {
        for ((sum, weight), mean) in scales.iter_mut().zip(row).zip(&means) {
            *sum += (weight - mean) * (weight - mean);
        }
    }
    scales.iter_mut().for_each(|square| *square = inverse_deviation(*square * share));
    (means, scales)
}

/// A position all tokens look at alike says nothing: 0. (The references divide by zero there.)
fn inverse_deviation(variance: f32) -> f32 {
    if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 }
}

/// Adds a row of one head, compared and smoothed, to the sum over heads. A lone row has nothing to be compared with and
/// is taken as it is. `padded` is room to work in.
fn add_smoothed(row: &[f32], (means, scales): (&[f32], &[f32]), lone: bool, padded: &mut Vec<f32>, sum: &mut [f32]) {
    padded.clear();
    padded.resize(row.len() + 2 * HALF, 0.0);
    let middle = &mut padded[HALF..HALF + row.len()];
    if lone {
        middle.copy_from_slice(row);
    } else {
        for (((out, weight), mean), scale) in middle.iter_mut().zip(row).zip(means).zip(scales) {
            *out = (weight - mean) * scale;
        }
    }
    if row.len() <= HALF {
        // Too short to reflect at its ends; the references leave it as it is.
        sum.iter_mut().zip(middle).for_each(|(sum, value)| *sum += *value);
        return;
    }
    let last = HALF + row.len() - 1;
    for step in 1..=HALF {
        padded[HALF - step] = padded[HALF + step];
        padded[last + step] = padded[last - step];
    }
    add_medians(padded, sum);
}

/// Adds to each number of `sum` the median of the 7 numbers of `padded` from its index on. Written without branches, so
/// that the compiler makes vector instructions of it.
fn add_medians(padded: &[f32], sum: &mut [f32]) {
    for (sum, window) in sum.iter_mut().zip(padded.array_windows()) {
        *sum += median(*window);
    }
}

/// The median of seven: 13 exchanges, the fewest known that leave it in the middle (Devillard 1998, "Fast median search:
/// an ANSI C implementation", `opt_med7`).
fn median(mut p: [f32; WIDTH]) -> f32 {
    const EXCHANGES: [(usize, usize); 13] =
        [(0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4)];
    for (low, high) in EXCHANGES {
        let (a, b) = (p[low], p[high]);
        p[low] = if a < b { a } else { b };
        p[high] = if a < b { b } else { a };
    }
    p[HALF]
}

/// Index of the greatest; the first of equal ones.
fn greatest(row: &[f32]) -> u32 {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_read_as_pairs_and_default_to_the_upper_half() {
        let read: Vec<AlignmentHead> = serde_json::from_str("[[2, 4], [3, 0]]").unwrap();
        assert_eq!(read, [AlignmentHead { layer: 2, head: 4 }, AlignmentHead { layer: 3, head: 0 }]);
        let default = default_alignment_heads(3, 2);
        let pairs: Vec<_> = default.iter().map(|at| (at.layer, at.head)).collect();
        assert_eq!(pairs, [(1, 0), (1, 1), (2, 0), (2, 1)]);
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert!(token_times(&[vec![]], 0, 10).is_empty());
        assert_eq!(token_times(&[vec![]], 3, 0), [0, 0, 0]);
        assert_eq!(token_times(&[vec![0.5; 12]], 3, 4), [0, 0, 0], "attention that says nothing");
        assert_eq!(most_attended(&[vec![0.1, 0.7, 0.2]], 1, 3), [AlignmentRow { token: 0, position: 1 }]);
    }

    proptest! {
        #[test]
        fn the_median_is_in_the_middle(values in prop::array::uniform7(-5i8..5)) {
            let mut sorted = values;
            sorted.sort_unstable();
            prop_assert_eq!(median(values.map(f32::from)), f32::from(sorted[3]));
        }

        #[test]
        fn times_never_go_back(
            tokens in 1usize..12,
            positions in 1usize..40,
            weights in prop::collection::vec(0.0f32..1.0, 12 * 40),
        ) {
            let times = token_times(&[weights.clone(), weights], tokens, positions);
            prop_assert_eq!(times.len(), tokens);
            prop_assert_eq!(times[0], 0);
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(times.iter().all(|time| (*time as usize) < positions));
        }

        #[test]
        fn while_decoding_the_last_token_is_compared_with_all_so_far(
            weights in prop::collection::vec(0.0f32..1.0, 2 * 6 * 30),
        ) {
            let (heads, tokens, positions) = (2, 6, 30);
            let head = |index: usize| weights[index * tokens * positions..][..tokens * positions].to_vec();
            let mut attention = Attention::new(heads, positions);
            for token in 0..tokens {
                let row = [0, 1].map(|index| head(index)[token * positions..][..positions].to_vec()).concat();
                let found = attention.push(&row);
                let whole = most_attended(&[head(0), head(1)], token + 1, positions);
                let last = whole[token];
                // Two rows compared are 1 or -1 everywhere, so rounding decides.
                prop_assert!(found == last || token == 1);
                prop_assert_eq!(found.token, token);
            }
        }
    }
}
