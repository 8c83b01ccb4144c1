//! What a model thread runs: the trait, and the two models.

use crate::error::ModelError;
use crate::speech::{SpeechHypothesis, SpeechModel, SpeechRequest};
use crate::translation::{TranslationHypothesis, TranslationModel, TranslationRequest};

/// What a model thread can run.
pub trait Model: Send + 'static {
    /// One row of a batch.
    type Request: Send + 'static;
    /// Its answer.
    type Answer: Send + 'static;

    /// What a request weighs against [`BatchLimits::max_cost`].
    fn cost(request: &Self::Request) -> usize;

    /// Answers a batch, in order.
    ///
    /// # Errors
    /// When the batch as a whole failed; each request is then run alone.
    fn run(&mut self, batch: &[Self::Request]) -> Result<Vec<Self::Answer>, ModelError>;

    /// Runs once with made-up input, so that the first caller does not wait for what is done lazily.
    ///
    /// # Errors
    /// When the model does not work on this machine.
    fn warm_up(&mut self) -> Result<(), ModelError> {
        Ok(())
    }
}

impl Model for SpeechModel {
    type Request = SpeechRequest;
    type Answer = SpeechHypothesis;

    /// In samples.
    fn cost(request: &SpeechRequest) -> usize {
        request.pcm.len()
    }

    fn run(&mut self, batch: &[SpeechRequest]) -> Result<Vec<SpeechHypothesis>, ModelError> {
        self.transcribe(batch)
    }

    fn warm_up(&mut self) -> Result<(), ModelError> {
        SpeechModel::warm_up(self)
    }
}

impl Model for TranslationModel {
    type Request = TranslationRequest;
    type Answer = TranslationHypothesis;

    /// In bytes of text.
    fn cost(request: &TranslationRequest) -> usize {
        request.text.len() + request.prefix.len()
    }

    fn run(&mut self, batch: &[TranslationRequest]) -> Result<Vec<TranslationHypothesis>, ModelError> {
        self.translate(batch)
    }

    fn warm_up(&mut self) -> Result<(), ModelError> {
        TranslationModel::warm_up(self)
    }
}
