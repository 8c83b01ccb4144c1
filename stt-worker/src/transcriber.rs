//! What the worker asks of a speech model. No candle type is in sight, so everything above it is tested without one.

use async_trait::async_trait;
pub use inference::speech::{SpeechHypothesis, SpeechRequest};

/// The model could not answer. Never holds spoken text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscribeError {
    /// It may answer the next time, here or elsewhere.
    #[error("the speech model failed: {0}")]
    Failed(String),
    /// It answers nobody any more; this was not even tried.
    #[error("the speech model is broken: {0}")]
    Broken(String),
    /// It will never answer this.
    #[error("the speech model cannot do this: {0}")]
    Impossible(String),
}

/// Hears speech.
#[async_trait]
pub trait Transcriber: std::fmt::Debug + Send + Sync {
    /// The text of `request.pcm` that follows `request.prefix`; a leading space says that a new word begins. Requests that wait at the same time may be decoded as
    /// one batch, so callers submit many at once.
    ///
    /// # Errors
    /// When the model fails; see [`TranscribeError`].
    async fn transcribe(&self, request: SpeechRequest) -> Result<SpeechHypothesis, TranscribeError>;

    /// Most samples (16 kHz) that one request may have.
    fn window_samples(&self) -> usize;

    /// Waits until the model, or its device, can no longer be relied on, and says why. Most never see the day.
    async fn broken(&self) -> String {
        std::future::pending().await
    }
}
