//! `subtide sign-in`: a person's sign-in from a terminal, as RFC 8252 has it for native programs: the system's browser, a
//! redirect to a port of this machine, PKCE. The server holds the provider's client secret and makes the exchange.
//!
//! # Layout
//! - [`run`]: the command; [`RefreshFile`]: a source of access tokens for programs that run long
//! - `callback`: the port the browser comes back to; `server`: the requests; `token_file`: the file of the refresh token

mod callback;
mod server;
mod token_file;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use sha2::{Digest as _, Sha256};
use shared::config::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use self::{
    callback::Callback,
    server::{Finish, Server, Tokens},
};
use crate::{
    caption::print_line,
    client::{ClientError, Credential, TokenSource},
};

/// Bytes of randomness in a code verifier: 43 characters, the least that RFC 7636 §4.1 allows and enough (256 bit).
const VERIFIER_BYTES: usize = 32;
/// An access token with less than this left is not worth showing at a door.
const WORTH_USING: Duration = Duration::from_secs(30);

/// Arguments of `subtide sign-in`.
#[derive(Debug, Clone, Args)]
pub struct SignInArgs {
    /// The server: https://HOST, or http://127.0.0.1:PORT on this machine.
    #[arg(long)]
    server: String,
    /// File (mode 0600) that keeps the refresh token; without it, the sign-in lasts as long as the access token.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// No browser: a fresh access token for the refresh token in the file, which is replaced by the next one.
    #[arg(long, requires = "token_file")]
    refresh: bool,
    /// Only print the address; for a browser that the system does not know.
    #[arg(long)]
    no_browser: bool,
    /// All that the server answered, as JSON, and not the access token alone. With --token-file the refresh token is left out.
    #[arg(long)]
    json: bool,
}

/// Signs in, or refreshes, and prints the access token on standard output.
///
/// # Errors
/// When the server, the browser's answer or the file cannot be used.
pub async fn run(args: SignInArgs) -> anyhow::Result<()> {
    let server = Server::new(&args.server)?;
    let tokens = if args.refresh {
        let file = args.token_file.as_deref().context("--refresh needs --token-file")?;
        server.refresh(&token_file::read(file)?).await?
    } else {
        let no_browser = args.no_browser;
        sign_in(&server, |address| invite(address, no_browser)).await?
    };
    if let Some(file) = &args.token_file {
        token_file::write(file, &tokens.refresh_token()?)?;
    }
    print_line(&if args.json { tokens.as_json(args.token_file.is_none()) } else { tokens.access_token.clone() });
    Ok(())
}

/// The whole way: a port of ours first, then the browser, then the exchange.
async fn sign_in(server: &Server, open: impl FnOnce(&str)) -> anyhow::Result<Tokens> {
    let callback = Callback::bind().await?;
    let verifier = URL_SAFE_NO_PAD.encode(rand::random::<[u8; VERIFIER_BYTES]>());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let begun = server.start(&challenge, callback.port()).await?;
    let state = begun.state(callback.port())?;
    open(&begun.authorize_url);
    let code = callback.wait(&state, Duration::from_secs(begun.expires_in)).await?;
    server.finish(&Finish { login_id: &begun.login_id, code: &code, code_verifier: &verifier, state: &state }).await
}

/// Shows the address, and opens it in the system's browser. That may fail, as on a machine without one.
fn invite(address: &str, no_browser: bool) {
    eprintln!(
        "Sign in with your browser. If it does not open by itself, open this address on this machine:\n\n  {address}\n"
    );
    if no_browser {
        return;
    }
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
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "no browser could be opened");
    }
}

/// Access tokens for the refresh token in a file, got as they are needed.
#[derive(Debug)]
pub struct RefreshFile {
    server: Server,
    file: PathBuf,
    held: Mutex<Option<(SecretString, Instant)>>,
}

impl RefreshFile {
    /// For the gateway whose stream is at `url` (`wss://HOST/v1/stream`).
    ///
    /// # Errors
    /// When `url` is no such address, or one that a token must not be sent to.
    pub fn of_stream(url: &str, file: PathBuf) -> anyhow::Result<Self> {
        let address = url
            .strip_prefix("ws")
            .map(|rest| format!("http{rest}"))
            .context("the server's address must begin with ws:// or wss://")?;
        let mut address = url::Url::parse(&address)?;
        address.set_path("");
        Ok(Self { server: Server::new(address.as_str())?, file, held: Mutex::new(None) })
    }

    async fn renew(&self) -> anyhow::Result<(SecretString, Instant)> {
        let tokens = self.server.refresh(&token_file::read(&self.file)?).await?;
        token_file::write(&self.file, &tokens.refresh_token()?)?;
        let until = Instant::now() + Duration::from_secs(tokens.expires_in);
        Ok((tokens.access_token.into(), until))
    }
}

#[async_trait]
impl TokenSource for RefreshFile {
    async fn token(&self, fresh: bool) -> Result<SecretString, ClientError> {
        // Held while refreshing: two at once would use one refresh token twice.
        let mut held = self.held.lock().await;
        let usable = held.as_ref().filter(|(_, until)| !fresh && Instant::now() + WORTH_USING < *until);
        if let Some((token, _)) = usable {
            return Ok(token.clone());
        }
        let renewed = self.renew().await.map_err(|error| ClientError::NoToken(format!("{error:#}")))?;
        Ok(held.insert(renewed).0.expose_secret().to_owned().into())
    }
}

impl From<RefreshFile> for Credential {
    fn from(source: RefreshFile) -> Self {
        Self::Source(Arc::new(source))
    }
}

#[cfg(test)]
mod tests;
