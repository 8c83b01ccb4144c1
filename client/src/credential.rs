//! What a client shows at the door, and where a fresh one comes from.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use super::ClientError;

/// Gives tokens for as long as a session lasts.
#[async_trait]
pub trait TokenSource: std::fmt::Debug + Send + Sync {
    /// A token for the handshake, or, where `fresh`, one in place of one that was refused or is about to end.
    ///
    /// # Errors
    /// [`ClientError::NoToken`] when there is none to be had.
    async fn token(&self, fresh: bool) -> Result<SecretString, ClientError>;
}

/// Who a client says it is.
#[derive(Debug, Clone, Default)]
pub enum Credential {
    /// Nobody: a gateway without sign-in.
    #[default]
    None,
    /// Always this token or API key.
    Token(SecretString),
    /// Whatever the source gives.
    Source(Arc<dyn TokenSource>),
}

impl Credential {
    /// For the handshake.
    pub(super) async fn token(&self, fresh: bool) -> Result<Option<SecretString>, ClientError> {
        match self {
            Self::None => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::Source(source) => source.token(fresh).await.map(Some),
        }
    }

    /// Whether asking again may bring another token.
    pub(super) fn renews(&self) -> bool {
        matches!(self, Self::Source(_))
    }
}

impl From<Option<SecretString>> for Credential {
    fn from(token: Option<SecretString>) -> Self {
        token.map_or(Self::None, Self::Token)
    }
}
