//! `subtide sign-in`: a person's sign-in from a terminal. The way is [`client::sign_in`]'s; here are the command and the
//! file (`token_file`) that keeps the refresh token.

mod token_file;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use client::sign_in::{Server, open_browser, sign_in};

pub use self::token_file::TokenFile;
use crate::output::print_line;

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
    print_line(&if args.json { tokens.as_json(args.token_file.is_none()) } else { tokens.access_token.clone() })?;
    Ok(())
}

/// Shows the address, and opens it in the system's browser.
fn invite(address: &str, no_browser: bool) {
    eprintln!(
        "Sign in with your browser. If it does not open by itself, open this address on this machine:\n\n  {address}\n"
    );
    if !no_browser {
        open_browser(address);
    }
}
