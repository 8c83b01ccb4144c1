//! The terms of a request as the decoder prefers them: every way to write each, with what its tokens are worth.

use std::sync::Arc;

use super::SpeechModel;
use super::request::SpeechRequest;
use crate::decode::bias::{Bias, Spelling};
use crate::error::ModelError;
use crate::mel::SAMPLE_RATE;

/// Measured with the demo model and [`TERM_BEAMS`], on 60 clips (espeak-ng, flite) of sentences with one of 20 names it
/// never writes by itself: 22 come out right with all 20 as terms (14 if this were 4, 31 if it were 3). Of 50 other names
/// as terms none is written into 80 clips without them; of 50 known words of its domain one is in 6 of the clips (2; 12).
///
/// A token is worth as many natural logarithms of probability as it is stranger to the model than this...
const FAMILIAR: f32 = 3.5;
/// ...and no more than this: what takes a bonus to be written is what the model would never spell (the idea of taking
/// its own expectation into account is that of Meng et al. 2021, "Internal Language Model Estimation for Domain-Adaptive
/// End-to-End Speech Recognition"). The same bonus for every token lets as many names come out right, but writes known
/// words that were not said: in 55 of 80 clips with 50 words of its domain as terms, with 3 a token.
const MOST: f32 = 4.0;
/// The part of it for a term that the prompt tells: a model that has read it in the text before expects it already, and
/// what both add up to was not measured. The model must be one that reads prompts.
const TOLD: f32 = 0.5;
/// Texts followed at once where there are terms, in a model that otherwise follows one: one text cannot turn back.
pub(super) const TERM_BEAMS: usize = 4;
/// Lists of terms kept ready: about the sessions of one worker.
const KEPT: usize = 64;
/// Terms whose strangeness is found out together.
const TOGETHER: usize = 16;

/// What a list of terms was made ready for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BiasKey {
    /// Each with whether the prompt tells it.
    terms: Vec<(String, bool)>,
    language: String,
}

impl SpeechModel {
    /// The request's terms, made ready. `None` where it has none.
    pub(super) fn bias(&mut self, request: &SpeechRequest, language: &str) -> Result<Option<Arc<Bias>>, ModelError> {
        if request.terms.is_empty() {
            return Ok(None);
        }
        let prompt = if self.reads_prompts() { request.prompt.to_lowercase() } else { String::new() };
        let told = |term: &String| (term.clone(), prompt.contains(&term.trim().to_lowercase()));
        let key = BiasKey { terms: request.terms.iter().map(told).collect(), language: language.to_owned() };
        if let Some((_, bias)) = self.biases.iter().find(|(other, _)| *other == key) {
            return Ok(bias.clone());
        }
        let spaceless = self.tokens.spaceless(language);
        let (mut ways, mut factors) = (Vec::new(), Vec::new());
        for (term, told) in &key.terms {
            for form in forms(term.trim()) {
                let text = if spaceless { form } else { format!(" {form}") };
                ways.push(self.tokens.encode(&text)?);
                factors.push(if *told { TOLD } else { 1.0 });
            }
        }
        let strangeness = self.strangeness(&ways, language)?;
        let mut spellings = Vec::new();
        for ((tokens, strange), factor) in ways.iter().zip(strangeness).zip(factors) {
            let goes_on = |token: &u32| spaceless || self.inner_tokens.get(*token as usize).copied().unwrap_or(false);
            let worth = worth(&strange, &tokens.iter().map(goes_on).collect::<Vec<_>>());
            let tokens = tokens.iter().zip(worth).map(|(token, worth)| (*token, worth * factor)).collect();
            spellings.push(Spelling { tokens });
        }
        let inner = if spaceless { Arc::new([]) } else { self.inner_tokens.clone() };
        let bias = Bias::new(&spellings, inner).map(Arc::new);
        if self.biases.len() == KEPT {
            self.biases.remove(0);
        }
        self.biases.push((key, bias.clone()));
        Ok(bias)
    }

    /// How little the model expects each token of each text behind those before it where it hears nothing: negative
    /// natural logarithms of probabilities among the tokens of text.
    fn strangeness(&mut self, texts: &[Vec<u32>], language: &str) -> Result<Vec<Vec<f32>>, ModelError> {
        let header = self.tokens.header(language, false)?;
        let silence = SpeechRequest { pcm: vec![0.0; SAMPLE_RATE], ..SpeechRequest::default() };
        let source = self.encode(&[&silence], self.options.context)?.remove(0);
        let decoder = self.network.decoder();
        let room = decoder.max_positions() - header.len();
        let mut found = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TOGETHER) {
            let prompts: Vec<Vec<u32>> =
                texts.iter().map(|text| [&header, &text[..text.len().min(room)]].concat()).collect();
            let mut batch = decoder.batch(&vec![source.clone(); prompts.len()])?;
            let hidden = decoder.forward(&prompts, &mut batch)?;
            let scores = decoder.scores(&hidden)?.into_host()?;
            let mut rows = scores.chunks_exact(decoder.vocabulary());
            for prompt in &prompts {
                let rows: Vec<&[f32]> = rows.by_ref().take(prompt.len()).collect();
                let chosen = rows[header.len() - 1..].iter().zip(&prompt[header.len()..]);
                found.push(chosen.map(|(row, token)| self.rules.surprise(row, *token)).collect());
            }
        }
        Ok(found)
    }
}

/// What each token is worth, by its strangeness; `inner` says which go on a word. How often a word is begun says nothing
/// about its spelling: its first token is worth what the others are on average.
fn worth(strangeness: &[f32], inner: &[bool]) -> Vec<f32> {
    let mut worth: Vec<f32> = strangeness.iter().map(|strange| (strange - FAMILIAR).clamp(0.0, MOST)).collect();
    let mut first = 0;
    for end in 1..=worth.len() {
        if end == worth.len() || !inner.get(end).copied().unwrap_or(false) {
            let rest = &worth[first + 1..end];
            worth[first] = rest.iter().sum::<f32>() / rest.len().max(1) as f32;
            first = end;
        }
    }
    worth
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

    #[test]
    fn what_the_model_spells_by_itself_is_worth_nothing() {
        let (inner, begins) = (true, false);
        assert_eq!(worth(&[9.0], &[begins]), [0.0], "a token of its own");
        assert_eq!(worth(&[9.0, 1.0, 3.0], &[begins, inner, inner]), [0.0, 0.0, 0.0]);
        assert_eq!(worth(&[0.1, 5.5, 99.0], &[begins, inner, inner]), [3.0, 2.0, 4.0]);
        assert_eq!(worth(&[9.0, 5.5, 9.0, 9.0], &[begins, inner, begins, inner]), [2.0, 2.0, 4.0, 4.0], "two words");
        assert!(worth(&[], &[]).is_empty());
    }
}
