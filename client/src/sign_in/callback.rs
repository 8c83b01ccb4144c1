//! The port of this machine that the browser is sent back to (RFC 8252 §7.3): one answer is taken, everything else refused.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, bail};
use subtle::ConstantTimeEq as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Where the provider sends the browser.
const PATH: &str = "/callback";
/// Bytes of a request's head; codes are far shorter.
const MAX_HEAD: usize = 16 * 1024;
/// A connection that says nothing for so long is dropped; browsers open some in advance.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

const SIGNED_IN: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta name=color-scheme content='light dark'>\
    <title>Subtide</title><h1>Signed in</h1><p>You can close this window and go back to Subtide.</p></html>";
const REFUSED: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta name=color-scheme content='light dark'>\
    <title>Subtide</title><h1>Not signed in</h1><p>Subtide tells why. You can close this window.</p></html>";

/// The port, open.
#[derive(Debug)]
pub(super) struct Callback {
    listener: TcpListener,
    port: u16,
}

/// What the browser brought.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Code(String),
    /// The provider's word for why not.
    Denied(String),
    /// Not for us.
    Other,
}

impl Callback {
    /// Opens a free port of 127.0.0.1.
    pub(super) async fn bind() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port can be opened on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The authorization code that comes with `state`.
    pub(super) async fn wait(self, state: &str, patience: Duration) -> anyhow::Result<String> {
        let answered = timeout(patience, async {
            loop {
                let (mut stream, _) = self.listener.accept().await.context("the port of the sign-in broke")?;
                let head = timeout(HEAD_PATIENCE, head(&mut stream)).await.ok().flatten().unwrap_or_default();
                let answer = read(&head, self.port, state);
                let (status, page) = match &answer {
                    Answer::Code(_) => ("200 OK", SIGNED_IN),
                    Answer::Denied(_) => ("200 OK", REFUSED),
                    Answer::Other => ("404 Not Found", ""),
                };
                respond(&mut stream, status, page).await;
                match answer {
                    Answer::Code(code) => return Ok(code),
                    Answer::Denied(reason) => bail!("the sign-in was refused at the provider: {reason}"),
                    Answer::Other => {}
                }
            }
        });
        let minutes = patience.as_secs() / 60;
        answered.await.with_context(|| format!("nobody signed in within {minutes} minutes; try again"))?
    }
}

/// The head of a request; `None` when there was none that could be read.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(read) if read > 0 && head.len() < MAX_HEAD => head.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

/// Only a GET of the very path, of the very host, with the very state, is an answer.
fn read(head: &str, port: u16, state: &str) -> Answer {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let hosts: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.trim())
        .collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method != Some("GET") || path != PATH || hosts != [format!("127.0.0.1:{port}")] {
        return Answer::Other;
    }
    let (mut code, mut error, mut said) = (None, None, None);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let place = match &*key {
            "code" => &mut code,
            "error" => &mut error,
            "state" => &mut said,
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return Answer::Other;
        }
    }
    if !bool::from(said.unwrap_or_default().as_bytes().ct_eq(state.as_bytes())) {
        return Answer::Other;
    }
    match (code, error) {
        (_, Some(error)) => Answer::Denied(word(&error)),
        (Some(code), None) if !code.is_empty() => Answer::Code(code),
        _ => Answer::Other,
    }
}

/// An error code as RFC 6749 §4.1.2.1 writes them, and nothing a terminal would act on.
fn word(error: &str) -> String {
    error.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').take(60).collect()
}

async fn respond(stream: &mut TcpStream, status: &str, page: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\
         cache-control: no-store\r\nreferrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\n\
         content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\r\n{page}",
        page.len()
    );
    // A browser that went away has nothing to be told.
    stream.write_all(head.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "Host: 127.0.0.1:4711\r\n\r\n";

    fn get(target: &str) -> Answer {
        read(&format!("GET {target} HTTP/1.1\r\n{HOST}"), 4711, "s-1")
    }

    #[test]
    fn only_the_very_answer_is_taken() {
        assert_eq!(get("/callback?state=s-1&code=4%2Fab&scope=openid"), Answer::Code("4/ab".to_owned()));
        assert_eq!(get("/callback?error=access_denied&state=s-1"), Answer::Denied("access_denied".to_owned()));
        for other in [
            "/",
            "/favicon.ico",
            "/callback",
            "/callback/?state=s-1&code=x",
            "//callback?state=s-1&code=x",
            "/callback?code=x",
            "/callback?state=s-2&code=x",
            "/callback?state=s-1",
            "/callback?state=s-1&code=",
            "/callback?state=s-1&code=x&code=y",
            "/callback?state=s-1&state=s-1&code=x",
            "http://127.0.0.1:4711/callback?state=s-1&code=x",
        ] {
            assert_eq!(get(other), Answer::Other, "{other}");
        }
    }

    #[test]
    fn another_host_or_method_is_not_for_us() {
        let target = "/callback?state=s-1&code=x";
        for head in [
            format!("POST {target} HTTP/1.1\r\n{HOST}"),
            format!("GET {target} HTTP/1.1\r\nHost: evil.example:4711\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:4712\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n{HOST}"),
            format!("GET {target} HTTP/1.1\r\n\r\n"),
            String::new(),
        ] {
            assert_eq!(read(&head, 4711, "s-1"), Answer::Other, "{head}");
        }
    }

    #[test]
    fn what_the_provider_calls_an_error_cannot_write_to_the_terminal() {
        assert_eq!(word("access_denied\u{1b}[2J<b>"), "access_denied2Jb");
    }
}
