//! Phrases said again and again: seeing them, banning them, making them dearer.

/// The loop guard looks for phrases of up to this many tokens...
pub const LOOP_TOKENS: usize = 8;
/// ...said this many times in a row.
pub const LOOP_REPEATS: usize = 4;

/// Sees when a text goes round in circles. It looks at each token once, when it comes, and remembers
/// [`LOOP_TOKENS`] of them: a copy is cheap, so that each row of a beam can have its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoopGuard {
    /// The last tokens, the one at index `count % LOOP_TOKENS` comes next.
    last: [u32; LOOP_TOKENS],
    count: usize,
    /// For each size of phrase (index + 1): how many tokens up to the last equal the one that many before.
    runs: [u32; LOOP_TOKENS],
}

impl LoopGuard {
    /// Takes the next token. True once the text ends in one phrase said [`LOOP_REPEATS`] times.
    pub fn push(&mut self, token: u32) -> bool {
        for size in 1..=LOOP_TOKENS {
            let before = self.last[(self.count + LOOP_TOKENS - size) % LOOP_TOKENS];
            let run = &mut self.runs[size - 1];
            *run = if self.count >= size && before == token { run.saturating_add(1) } else { 0 };
        }
        self.last[self.count % LOOP_TOKENS] = token;
        self.count += 1;
        self.looping()
    }

    /// Whether the text so far ends in one phrase said [`LOOP_REPEATS`] times.
    pub fn looping(&self) -> bool {
        self.runs.iter().enumerate().any(|(index, run)| *run as usize >= (index + 1) * (LOOP_REPEATS - 1))
    }
}

/// Sets the score of every token to minus infinity that would complete a phrase of `size` tokens that `history` holds
/// already; with `size` 0 nothing happens. Equal to transformers' `NoRepeatNGramLogitsProcessor`, where `history` is
/// the decoder's whole input: the prompt, then what was decoded. O(size * tokens).
pub fn ban_repeated_phrases(history: &[u32], size: usize, logits: &mut [f32]) {
    if size == 0 || history.len() < size {
        return;
    }
    let suffix = &history[history.len() + 1 - size..];
    for phrase in history.windows(size) {
        let (begin, next) = phrase.split_at(size - 1);
        if begin == suffix
            && let Some(score) = logits.get_mut(next[0] as usize)
        {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Makes every token of `history` less likely, each once: scores above 0 are divided by `penalty`, others multiplied
/// with it. Equal to transformers' `RepetitionPenaltyLogitsProcessor`, from Keskar et al. 2019, "CTRL", section 4.1.
/// `history` is the decoder's whole input; 1 changes nothing. In a beam search the scores are log-probabilities.
pub fn penalise_repetition(history: &[u32], penalty: f32, logits: &mut [f32]) {
    let mut seen = history.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        if let Some(score) = logits.get_mut(token as usize) {
            *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, said plainly: the tail is one phrase repeated.
    fn goes_round(tokens: &[u32]) -> bool {
        (1..=LOOP_TOKENS).any(|size| {
            let phrase = &tokens[tokens.len().saturating_sub(size)..];
            tokens.ends_with(&phrase.repeat(LOOP_REPEATS)) && tokens.len() >= size * LOOP_REPEATS
        })
    }

    fn guarded(tokens: &[u32]) -> bool {
        let mut guard = LoopGuard::default();
        tokens.iter().fold(false, |_, token| guard.push(*token))
    }

    #[test]
    fn the_loop_guard_sees_phrases_of_up_to_eight_tokens() {
        assert!(guarded(&[9, 5, 5, 5, 5]));
        assert!(!guarded(&[5, 5, 5]));
        assert!(!guarded(&[0, 0, 0]), "what was not said yet is no token 0");
        assert!(!guarded(&[5, 5, 5, 5, 9]), "only what comes last counts");
        assert!(guarded(&[1, 2, 1, 2, 1, 2, 1, 2]));
        let phrase: Vec<u32> = (0..8).collect();
        assert!(guarded(&phrase.repeat(4)));
        assert!(!guarded(&phrase.repeat(3)));
        assert!(!guarded(&(0..9).collect::<Vec<u32>>().repeat(4)));
    }

    proptest! {
        #[test]
        fn the_loop_guard_says_what_a_look_at_the_whole_text_says(
            head in prop::collection::vec(0u32..3, 0..12),
            phrase in prop::collection::vec(0u32..3, 1..10),
            times in 1usize..6,
        ) {
            let mut text = head;
            text.extend(phrase.repeat(times));
            let mut guard = LoopGuard::default();
            for (index, token) in text.iter().enumerate() {
                prop_assert_eq!(guard.push(*token), goes_round(&text[..=index]), "after {:?}", &text[..=index]);
            }
        }

        #[test]
        fn no_phrase_is_said_twice_under_the_ban(size in 1usize..4, seeds in prop::collection::vec(0u32..1000, 20)) {
            let mut text: Vec<u32> = vec![1, 2];
            for seed in seeds {
                let mut scores: Vec<f32> = (0..40u32).map(|token| ((token + seed) % 5) as f32).collect();
                ban_repeated_phrases(&text, size, &mut scores);
                let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                text.push(best.map_or(0, |(token, _)| token as u32));
            }
            let mut phrases: Vec<&[u32]> = text.windows(size).collect();
            phrases.sort_unstable();
            prop_assert!(phrases.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }
}
