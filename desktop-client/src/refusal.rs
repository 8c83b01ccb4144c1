//! Why a window did not get what it asked for.

use serde::Serialize;

/// Why a window did not get what it asked for: a word that the page knows, and a sentence for whoever reads logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// The page's word for it.
    pub(crate) fault: String,
    /// What is wrong and what to do, in English.
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(fault: &str, message: impl Into<String>) -> Self {
        Self { fault: fault.to_owned(), message: message.into() }
    }

    /// For what should not happen.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::new("failed", error.to_string())
    }
}

impl From<tauri::Error> for Refusal {
    fn from(error: tauri::Error) -> Self {
        Self::failed(error)
    }
}
