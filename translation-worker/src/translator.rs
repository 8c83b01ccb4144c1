//! What the worker asks of a translation model. No candle type is in sight, so everything above it is tested without
//! one.

use async_trait::async_trait;
pub use inference::translation::{Term, TranslationHypothesis, TranslationRequest};

/// The model could not answer. Never holds text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// It may answer the next time, here or elsewhere.
    #[error("the translation model failed: {0}")]
    Failed(String),
    /// It answers nobody any more; this was not even tried.
    #[error("the translation model is broken: {0}")]
    Broken(String),
    /// It will never answer this.
    #[error("the translation model cannot do this: {0}")]
    Impossible(String),
}

/// Translates from one language into another.
#[async_trait]
pub trait Translator: std::fmt::Debug + Send + Sync {
    /// The translation of `request.text` that follows `request.prefix`; a leading space says that a new word begins.
    /// Requests that wait at the same time may run as one batch, so callers submit many at once.
    ///
    /// # Errors
    /// When the model fails; see [`TranslateError`].
    async fn translate(&self, request: TranslationRequest) -> Result<TranslationHypothesis, TranslateError>;

    /// Waits until the model, or its device, can no longer be relied on, and says why. Most never see the day.
    async fn broken(&self) -> String {
        std::future::pending().await
    }
}
