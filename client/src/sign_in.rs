//! A person's sign-in from a native program, as RFC 8252 has it: the system's browser, a redirect to a port of this
//! machine, PKCE. The server holds the provider's client secret and makes the exchange.
//!
//! # Layout
//! - [`sign_in`]: the whole way; [`Server`]: what is asked of the server; [`open_browser`]
//! - [`SignedIn`]: access tokens as they are needed, for a refresh token in a [`RefreshStore`]
//! - `callback`: the port the browser comes back to

mod callback;
mod server;

use std::{
    process::{Command, Stdio},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite;

pub use self::server::{Offer, Person, Refused, Server, Tokens};
use self::{callback::Callback, server::Finish};
use crate::{ClientError, Credential, TokenSource};

/// Bytes of randomness in a code verifier: 43 characters, the least that RFC 7636 §4.1 allows and enough (256 bit).
const VERIFIER_BYTES: usize = 32;
/// An access token with less than this left is not worth showing at a door.
const WORTH_USING: Duration = Duration::from_secs(30);

/// The whole way: a port of ours first, then the browser, then the exchange. `open` is given the address to sign in at.
///
/// # Errors
/// When the server or the browser's answer cannot be used, or nobody signs in in time.
pub async fn sign_in(server: &Server, open: impl FnOnce(&str)) -> anyhow::Result<Tokens> {
    let callback = Callback::bind().await?;
    let verifier = URL_SAFE_NO_PAD.encode(rand::random::<[u8; VERIFIER_BYTES]>());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let begun = server.start(&challenge, callback.port()).await?;
    let state = begun.state(callback.port())?;
    open(&begun.authorize_url);
    let code = callback.wait(&state, Duration::from_secs(begun.expires_in)).await?;
    server.finish(&Finish { login_id: &begun.login_id, code: &code, code_verifier: &verifier, state: &state }).await
}

/// Opens `address` in the system's browser. That may fail, as on a machine without one; then the log says so.
pub fn open_browser(address: &str) {
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        // Not `cmd /c start`: an address has characters that a shell reads as its own.
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        // Until somebody asks how it ended, a child that has is kept by the system.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(error) => tracing::warn!(%error, "no browser could be opened"),
    }
}

/// Where the refresh token lies between two uses: a file, a keychain.
pub trait RefreshStore: std::fmt::Debug + Send + Sync {
    /// The token.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn read(&self) -> anyhow::Result<String>;

    /// Puts `token` in the place of the one before, which is used up.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn write(&self, token: &str) -> anyhow::Result<()>;
}

/// Access tokens for a refresh token, got as they are needed.
#[derive(Debug)]
pub struct SignedIn {
    server: Server,
    store: Arc<dyn RefreshStore>,
    held: Mutex<Option<(SecretString, Instant)>>,
    person: std::sync::Mutex<Option<Person>>,
}

impl SignedIn {
    /// At `server`, with the refresh token that lies in `store`.
    #[must_use]
    pub fn new(server: Server, store: Arc<dyn RefreshStore>) -> Self {
        Self { server, store, held: Mutex::new(None), person: std::sync::Mutex::new(None) }
    }

    /// The same, with the answer of a sign-in just made.
    ///
    /// # Errors
    /// When the refresh token cannot be kept.
    pub fn with(server: Server, store: Arc<dyn RefreshStore>, tokens: &Tokens) -> anyhow::Result<Self> {
        store.write(&tokens.refresh_token()?)?;
        let until = Instant::now() + Duration::from_secs(tokens.expires_in);
        let held = Mutex::new(Some((tokens.access_token.as_str().into(), until)));
        Ok(Self { server, store, held, person: std::sync::Mutex::new(tokens.person()) })
    }

    /// Whose the tokens are, as the server told with the newest one.
    pub fn person(&self) -> Option<Person> {
        self.person.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn renew(&self) -> anyhow::Result<(SecretString, Instant)> {
        let tokens = self.server.refresh(&self.store.read()?).await?;
        self.store.write(&tokens.refresh_token()?)?;
        *self.person.lock().unwrap_or_else(PoisonError::into_inner) = tokens.person();
        let until = Instant::now() + Duration::from_secs(tokens.expires_in);
        Ok((tokens.access_token.into(), until))
    }

    /// What kept us from a fresh token: a refusal and a server that is away are told apart, because a session that lost its
    /// connection tries again after the latter.
    fn fault(&self, error: &anyhow::Error) -> ClientError {
        if let Some(Refused { status, message, retry_after }) = error.downcast_ref() {
            return ClientError::Refused { status: *status, message: message.clone(), retry_after: *retry_after };
        }
        if error.downcast_ref::<reqwest::Error>().is_some_and(|error| !error.is_decode()) {
            let source = tungstenite::Error::Io(std::io::Error::other(format!("{error:#}")));
            return ClientError::Connect { url: self.server.address().to_string(), source: Box::new(source) };
        }
        ClientError::NoToken(format!("{error:#}"))
    }
}

#[async_trait]
impl TokenSource for SignedIn {
    async fn token(&self, fresh: bool) -> Result<SecretString, ClientError> {
        // Held while refreshing: two at once would use one refresh token twice.
        let mut held = self.held.lock().await;
        let usable = held.as_ref().filter(|(_, until)| !fresh && Instant::now() + WORTH_USING < *until);
        if let Some((token, _)) = usable {
            return Ok(token.clone());
        }
        let renewed = self.renew().await.map_err(|error| self.fault(&error))?;
        Ok(held.insert(renewed).0.expose_secret().to_owned().into())
    }
}

impl From<SignedIn> for Credential {
    fn from(source: SignedIn) -> Self {
        Self::Source(Arc::new(source))
    }
}

#[cfg(test)]
mod tests;
