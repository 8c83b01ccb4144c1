//! AlignAtt: what the decoder found well before the end of the audio is committed (Papi et al. 2023, "AlignAtt: Using
//! Attention-based Audio-Translation Alignments as a Guide for Simultaneous Speech Translation", section 3).

use shared::agreement::{Agreed, append, normalise};

use crate::policy::{Partial, Policy};

/// A word that looks at the last so many milliseconds of the audio is not believed yet, nor any after it: more audio may
/// change it. 500 ms are the 25 positions of SimulStreaming's default (`--frame_threshold`).
const UNSETTLED_MS: u32 = 500;

/// Commits the words before the first that leans on the end of the audio.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlignAtt;

impl Policy for AlignAtt {
    fn needs_words(&self) -> bool {
        true
    }

    fn split(&self, partial: &Partial<'_>) -> Agreed {
        let settled_ms = partial.audio_ms.saturating_sub(UNSETTLED_MS);
        let settled = partial.words.iter().take_while(|word| word.attended_ms <= settled_ms).count();
        let text = |words: &[inference::alignment::AlignedWord]| -> String {
            words.iter().map(|word| word.text.as_str()).collect()
        };
        let (settled, open) = partial.words.split_at(settled);
        if partial.words.is_empty() {
            let (committed, tail) = (partial.committed.to_owned(), normalise(partial.continuation));
            return Agreed { committed, tail };
        }
        Agreed { committed: append(partial.committed, &text(settled)), tail: normalise(&text(open)) }
    }
}

#[cfg(test)]
mod tests {
    use inference::alignment::AlignedWord;

    use super::*;

    fn words(attended: &[(&str, u32)]) -> Vec<AlignedWord> {
        let word = |(text, attended_ms): &(&str, u32)| AlignedWord {
            text: (*text).to_owned(),
            start_ms: 0,
            end_ms: *attended_ms,
            probability: 1.0,
            attended_ms: *attended_ms,
            end_token: 0,
        };
        attended.iter().map(word).collect()
    }

    fn split(committed: &str, words: &[AlignedWord], audio_ms: u32) -> (String, String) {
        let continuation: String = words.iter().map(|word| word.text.as_str()).collect();
        let partial = Partial { committed, previous_tail: "", continuation: &continuation, words, audio_ms };
        let Agreed { committed, tail } = AlignAtt.split(&partial);
        (committed, tail)
    }

    #[test]
    fn words_are_committed_up_to_the_first_that_looks_at_the_end() {
        let heard = words(&[(" the", 400), (" tide", 900), (" comes", 1700), (" in", 1200)]);
        assert_eq!(split("", &heard, 2000), ("the tide".to_owned(), "comes in".to_owned()));
        assert_eq!(split("now", &heard, 2400), ("now the tide comes in".to_owned(), String::new()));
        assert_eq!(split("now", &heard, 600), ("now".to_owned(), "the tide comes in".to_owned()));
        assert_eq!(split("now", &[], 600), ("now".to_owned(), String::new()));
    }
}
