//! What a speech request is decoded from: forced tokens, limits, strategy.

use super::SpeechModel;
use super::request::SpeechRequest;
use crate::decode::{Strategy, Task};
use crate::error::ModelError;
use crate::mel::SAMPLE_RATE;

/// Most tokens decoded: so many a second of audio...
const TOKENS_PER_SECOND: usize = 12;
/// ...and so many more.
const TOKENS_EXTRA: usize = 20;
/// Earlier text is given to models with at least so many target positions; smaller ones were not trained on it.
const CONTEXT_POSITIONS: usize = 224;
/// Of the random numbers of a decode at a temperature: the same audio gives the same text.
const SEED: u64 = 0x5eed;

impl SpeechModel {
    /// Whether earlier text is given to the model.
    pub(super) fn reads_prompts(&self) -> bool {
        self.network.decoder().max_positions() >= CONTEXT_POSITIONS
    }

    /// `None` where the prefix leaves no position free: nothing can follow it.
    pub(super) fn task(
        &self,
        request: &SpeechRequest,
        language: &str,
        temperature: f32,
    ) -> Result<Option<Task>, ModelError> {
        let positions = self.network.decoder().max_positions();
        let opening = self.tokens.opening(&request.prefix, language)?;
        let timestamps = request.timestamps && opening.is_empty() && self.rules.timed();
        let header = self.tokens.header(language, timestamps)?;
        let limit = request.pcm.len() * TOKENS_PER_SECOND / SAMPLE_RATE + TOKENS_EXTRA;
        let mut prompt = Vec::new();
        if self.reads_prompts() {
            // Earlier text gets half of the positions at most, and never the room the new text needs.
            let free = positions.saturating_sub(header.len() + opening.len() + limit);
            prompt = self.tokens.context(&request.prompt, free.min(positions / 2 - 1))?;
        }
        let start = prompt.len();
        let text_from = start + header.len();
        let fresh = opening.is_empty();
        prompt.extend(header.into_iter().chain(opening));
        if prompt.len() >= positions {
            return Ok(None);
        }
        let strategy = if temperature > 0.0 {
            Strategy::Sample { temperature, seed: SEED }
        } else if self.options.beams > 1 || !request.terms.is_empty() {
            Strategy::Beam { length_penalty: self.options.length_penalty }
        } else {
            Strategy::Greedy
        };
        let probe = self.tokens.no_speech.map(|token| (start, token));
        Ok(Some(Task { prompt, fresh, limit, strategy, timestamps, probe, bias: None, text_from }))
    }
}
