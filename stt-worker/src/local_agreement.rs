//! LocalAgreement-2: what two successive hypotheses agree on is committed (Liu et al., "Low-Latency Sequence-to-Sequence
//! Speech Recognition and Translation by Partial Hypothesis Selection", 2020).

use shared::agreement::{Agreed, agree};

use crate::policy::{Partial, Policy};

/// Words at the end of a partial that are never committed: the last may be cut off in mid-word.
const HOLD_BACK: usize = 1;

/// Commits the whole words that the newest two hypotheses share, the last word of the newest excepted.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalAgreement;

impl Policy for LocalAgreement {
    fn needs_words(&self) -> bool {
        false
    }

    fn split(&self, partial: &Partial<'_>) -> Agreed {
        agree(partial.committed, partial.previous_tail, partial.continuation, HOLD_BACK)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::agreement::join;

    use super::*;

    fn split(so_far: &Agreed, continuation: &str) -> Agreed {
        let (committed, previous_tail) = (so_far.committed.as_str(), so_far.tail.as_str());
        LocalAgreement.split(&Partial { committed, previous_tail, continuation, words: &[], audio_ms: 0 })
    }

    #[test]
    fn an_utterance_grows_word_by_word() {
        let mut so_far = Agreed::default();
        let mut shown = Vec::new();
        for hypothesis in [" please", " please call", " call her", " her friends"] {
            so_far = split(&so_far, hypothesis);
            shown.push((so_far.committed.clone(), so_far.tail.clone()));
        }
        let pairs: Vec<(&str, &str)> = shown.iter().map(|(c, t)| (c.as_str(), t.as_str())).collect();
        assert_eq!(pairs, [("", "please"), ("please", "call"), ("please call", "her"), ("please call her", "friends")]);
    }

    proptest! {
        #[test]
        fn committed_text_is_append_only_whatever_the_model_says(
            hypotheses in prop::collection::vec("[ab]{1,2}( [ab,.]{1,3}){0,5}", 1..12),
        ) {
            let mut so_far = Agreed::default();
            for hypothesis in hypotheses {
                let next = split(&so_far, &hypothesis);
                prop_assert!(next.committed.starts_with(&so_far.committed));
                so_far = next;
            }
            prop_assert!(join(&so_far.committed, &so_far.tail).starts_with(&so_far.committed));
        }
    }
}
