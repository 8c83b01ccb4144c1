//! The terms of a request as the decoder prefers them: every way to write each, with what its tokens are worth.

use std::sync::Arc;

use super::SpeechModel;
use super::request::SpeechRequest;
use crate::decode::bias::{Bias, Spelling};
use crate::error::ModelError;

/// What each token of a term is worth, in natural logarithms of probability. Measured with the demo model, beams of
/// [`TERM_BEAMS`], 60 clips (espeak-ng and flite) of sentences with one of 20 invented or foreign names, none of which it
/// writes without help: 25 come out right at 3, 31 at 3.25, 34 at 3.5, 44 at 4, with all 20 as terms. Of 50 other names
/// as terms for 80 clips without any of them, 0, 0, 1 and 3 were inserted.
const PER_TOKEN: f32 = 3.0;
/// The part of it for a term that the prompt tells: a model that has read it in the text before expects it already, and
/// what both add up to was not measured. The model must be one that reads prompts.
const TOLD: f32 = 0.5;
/// Texts followed at once where there are terms, in a model that otherwise follows one. Following one text only, no
/// bonus lets more than 8 of those 60 come out right without inserting names elsewhere: it cannot turn back. It costs a
/// fifth more time a clip on a CPU.
pub(super) const TERM_BEAMS: usize = 4;
/// Lists of terms kept ready: about the sessions of one worker.
const KEPT: usize = 64;

/// What a list of terms was made ready for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BiasKey {
    /// Each with whether the prompt tells it.
    terms: Vec<(String, bool)>,
    spaceless: bool,
}

impl SpeechModel {
    /// The request's terms, made ready. `None` where it has none.
    pub(super) fn bias(&mut self, request: &SpeechRequest, language: &str) -> Result<Option<Arc<Bias>>, ModelError> {
        if request.terms.is_empty() {
            return Ok(None);
        }
        let prompt = if self.reads_prompts() { request.prompt.to_lowercase() } else { String::new() };
        let told = |term: &String| (term.clone(), prompt.contains(&term.trim().to_lowercase()));
        let terms = request.terms.iter().map(told).collect();
        let key = BiasKey { terms, spaceless: self.tokens.spaceless(language) };
        if let Some((_, bias)) = self.biases.iter().find(|(other, _)| *other == key) {
            return Ok(bias.clone());
        }
        let mut spellings = Vec::new();
        for (term, told) in &key.terms {
            let bonus = if *told { PER_TOKEN * TOLD } else { PER_TOKEN };
            for form in forms(term.trim()) {
                self.spell(&form, bonus, key.spaceless, &mut spellings)?;
            }
        }
        let inner = if key.spaceless { Arc::new([]) } else { self.inner_tokens.clone() };
        let bias = Bias::new(&spellings, inner).map(Arc::new);
        if self.biases.len() == KEPT {
            self.biases.remove(0);
        }
        self.biases.push((key, bias.clone()));
        Ok(bias)
    }

    fn spell(&self, form: &str, bonus: f32, anywhere: bool, into: &mut Vec<Spelling>) -> Result<(), ModelError> {
        let mut add = |text: &str, opening: bool| {
            let tokens = self.tokens.encode(text)?.into_iter().map(|token| (token, bonus)).collect();
            into.push(Spelling { tokens, opening });
            Ok(())
        };
        add(form, !anywhere)?;
        if anywhere { Ok(()) } else { add(&format!(" {form}"), false) }
    }
}

/// A term as given, and as it opens a sentence.
fn forms(term: &str) -> Vec<String> {
    let mut letters = term.chars();
    let Some(first) = letters.next() else { return Vec::new() };
    let large = format!("{}{}", first.to_uppercase(), letters.as_str());
    if large == term { vec![large] } else { vec![term.to_owned(), large] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_may_open_a_sentence() {
        assert_eq!(forms("tide gauge"), ["tide gauge", "Tide gauge"]);
        assert_eq!(forms("Subtide"), ["Subtide"]);
        assert_eq!(forms("élan"), ["élan", "Élan"]);
        assert!(forms("").is_empty());
    }
}
