//! Whisper's rules for timestamp tokens, and the segments a decoded text falls into.
//!
//! The rules are those of openai-whisper (`decoding.py`, `ApplyTimestampRules`), which transformers'
//! `WhisperTimeStampLogitsProcessor` shares: timestamps come in pairs, an end and the next beginning, and never go back.

use std::ops::Range;

use super::sampling::{greatest, log_sum_exp};

/// A timestamp token means this many milliseconds more than the one before it (Whisper paper, section 2.3).
pub const STEP_MS: u32 = 20;

/// Which tokens may come next where timestamps are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampRules {
    /// `<|notimestamps|>`, which is never allowed.
    pub no_timestamps: u32,
    /// `<|0.00|>`. All tokens from here on are timestamps.
    pub first: u32,
    /// `<|endoftext|>`. All tokens before it are text.
    pub end: u32,
    /// The latest timestamp the first may be, in steps of [`STEP_MS`]; openai-whisper takes 50 (1 s).
    pub max_initial: Option<u32>,
}

impl TimestampRules {
    /// Sets the scores of tokens that may not follow to minus infinity. `generated` holds what was decoded so far,
    /// without the prompt; `logits` one score a token, bare or as log-probabilities.
    pub fn apply(&self, generated: &[u32], logits: &mut [f32]) {
        let size = logits.len();
        let place = |token: u32| (token as usize).min(size);
        let (first, end) = (place(self.first), place(self.end));
        if let Some(score) = logits.get_mut(self.no_timestamps as usize) {
            *score = f32::NEG_INFINITY;
        }
        let is_timestamp = |token: &u32| *token >= self.first;
        let after_timestamp = generated.last().is_some_and(is_timestamp);
        // A lone token counts as the second of a pair: what follows the first timestamp is text.
        let pair = generated.len() < 2 || is_timestamp(&generated[generated.len() - 2]);
        match (after_timestamp, pair) {
            (true, true) => ban(&mut logits[first..]),
            (true, false) => ban(&mut logits[..end]),
            (false, _) => {}
        }
        if let Some(last) = generated.iter().rev().find(|token| is_timestamp(token)) {
            // The beginning of a segment may be the end of the last one; an end comes after its beginning.
            let earliest = if after_timestamp && !pair { *last } else { last.saturating_add(1) };
            ban(&mut logits[first..place(earliest)]);
        }
        if generated.is_empty() {
            ban(&mut logits[..first]);
            if let Some(latest) = self.max_initial {
                ban(&mut logits[place(self.first.saturating_add(latest).saturating_add(1))..]);
            }
        }
        // All timestamps together against the best of the rest; the softmax's divisor is the same on both sides.
        let (others, timestamps) = logits.split_at_mut(first);
        if log_sum_exp(timestamps) > greatest(others) {
            ban(others);
        }
    }
}

fn ban(scores: &mut [f32]) {
    scores.fill(f32::NEG_INFINITY);
}

/// A stretch of a decoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins, in milliseconds from the start of the window.
    pub start_ms: u32,
    /// Where it ends.
    pub end_ms: u32,
    /// Its tokens, timestamps included, as indices into the decoded text.
    pub tokens: Range<usize>,
    /// Whether its end was heard; otherwise `end_ms` is the end of the window.
    pub finished: bool,
}

/// Splits a decoded text, without its end token, at pairs of timestamps. The segments follow each other and cover all
/// tokens; `window_ms` is the length of the audio they were heard in, `first` the token `<|0.00|>`.
///
/// As in openai-whisper (`transcribe.py`) a text that ends in a lone timestamp has ended there. Where it ends otherwise
/// after a pair, what follows the pair was cut off by the window. Unlike there, a text without any pair begins at its
/// first timestamp and not at the start of the window.
pub fn segments(tokens: &[u32], first: u32, window_ms: u32) -> Vec<Segment> {
    let is_timestamp = |index: usize| tokens.get(index).is_some_and(|token| *token >= first);
    let mut bounds = vec![0];
    bounds.extend((1..tokens.len()).filter(|&index| is_timestamp(index - 1) && is_timestamp(index)));
    bounds.push(tokens.len());
    let segment = |bound: &[usize]| {
        let (from, to) = (bound[0], bound[1]);
        let at = |index: usize| is_timestamp(index).then(|| ((tokens[index] - first) * STEP_MS).min(window_ms));
        // A lone timestamp at the very end is where a segment begins, not where it ends.
        let lone = to == from + 1 && to == tokens.len();
        let end = if lone { None } else { at(to - 1) };
        let start_ms = at(from).unwrap_or(0);
        Segment { start_ms, end_ms: end.unwrap_or(window_ms).max(start_ms), tokens: from..to, finished: end.is_some() }
    };
    bounds.windows(2).filter(|bound| bound[0] < bound[1]).map(segment).collect()
}

/// Where the next window of a long recording begins, in milliseconds from the start of this one: at the end of the
/// last finished segment if an unfinished one follows it, else after the whole window.
pub fn resume_ms(segments: &[Segment], window_ms: u32) -> u32 {
    match segments {
        [.., finished, last] if !last.finished => finished.end_ms,
        _ => window_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: u32 = 100;

    #[test]
    fn segments_end_at_pairs_and_the_window_resumes_at_the_cut_off_one() {
        let text = [100, 7, 8, 150, 150, 9, 200, 205, 3];
        let found = segments(&text, FIRST, 30_000);
        let times: Vec<_> = found.iter().map(|s| (s.start_ms, s.end_ms, s.tokens.clone(), s.finished)).collect();
        assert_eq!(times, [(0, 1000, 0..4, true), (1000, 2000, 4..7, true), (2100, 30_000, 7..9, false)]);
        assert_eq!(resume_ms(&found, 30_000), 2000);
        let whole = segments(&text[..7], FIRST, 30_000);
        assert_eq!(whole.len(), 2);
        assert_eq!(resume_ms(&whole, 30_000), 30_000, "a lone timestamp at the end: nobody speaks after it");
    }

    #[test]
    fn a_text_without_pairs_is_one_segment() {
        let one = |tokens: &[u32]| segments(tokens, FIRST, 5000).into_iter().next();
        let segment = |start_ms, end_ms, len, finished| Some(Segment { start_ms, end_ms, tokens: 0..len, finished });
        assert_eq!(one(&[1, 2]), segment(0, 5000, 2, false));
        assert_eq!(one(&[150, 1, 2]), segment(1000, 5000, 3, false));
        assert_eq!(one(&[150, 1, 200]), segment(1000, 2000, 3, true));
        assert_eq!(one(&[150, 1, 900]), segment(1000, 5000, 3, true));
        assert_eq!(one(&[]), None);
        assert_eq!(one(&[150]), segment(1000, 5000, 1, false));
        assert_eq!(resume_ms(&segments(&[150, 1, 2], FIRST, 5000), 5000), 5000);
    }

    #[test]
    fn a_vocabulary_without_timestamps_is_left_alone() {
        let rules = TimestampRules { no_timestamps: 20, first: 30, end: 10, max_initial: Some(50) };
        let mut scores = [0.5; 8];
        rules.apply(&[1, 40, 2], &mut scores);
        assert_eq!(scores, [0.5; 8]);
    }

    proptest! {
        #[test]
        fn segments_cover_all_tokens(tokens in prop::collection::vec(90u32..120, 0..40), window in 0u32..1000) {
            let found = segments(&tokens, FIRST, window);
            let mut next = 0;
            for segment in &found {
                prop_assert_eq!(segment.tokens.start, next);
                prop_assert!(segment.tokens.end > next);
                prop_assert!(segment.start_ms <= segment.end_ms && segment.end_ms <= window);
                next = segment.tokens.end;
            }
            prop_assert_eq!(next, tokens.len());
            prop_assert!(resume_ms(&found, window) <= window);
        }

        #[test]
        fn text_decoded_by_the_rules_never_goes_back(seeds in prop::collection::vec(0u32..u32::MAX, 60)) {
            let rules = TimestampRules { no_timestamps: 99, first: FIRST, end: 90, max_initial: Some(5) };
            let mut text: Vec<u32> = Vec::new();
            for seed in seeds {
                let score = |token: u32| (token.wrapping_mul(2_654_435_761) ^ seed).wrapping_mul(2_246_822_519) >> 20;
                let mut scores: Vec<f32> = (0..140).map(|token| score(token) as f32 / 400.0).collect();
                rules.apply(&text, &mut scores);
                let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                prop_assert!(best.is_some_and(|(_, score)| score.is_finite()), "something must be left to say");
                text.push(best.map_or(0, |(token, _)| token as u32));
                prop_assert_ne!(text.last(), Some(&99));
            }
            prop_assert!((FIRST..=FIRST + 5).contains(&text[0]));
            let times: Vec<u32> = text.iter().copied().filter(|token| *token >= FIRST).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
