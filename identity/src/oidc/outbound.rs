//! The one way out: requests to a provider, bounded in time and size, never redirected.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use oauth2::http;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::{
    OidcError,
    breaker::Breaker,
    cache::{self, Fetched},
};
use crate::Clock;

/// Of one request, answer included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of one answer: the largest key sets in use have a tenth of it.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A client for one provider. Clones share the breaker.
#[derive(Debug, Clone)]
pub(super) struct Outbound {
    client: reqwest::Client,
    breaker: Arc<Breaker>,
    loopback: bool,
}

/// Why there is no answer. Holds nothing of the request or the answer, so that it may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutboundError {
    #[error("it failed often and is left alone for a while")]
    LeftAlone,
    #[error("{0}")]
    Unreachable(&'static str),
    #[error("its answer is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is not what it should be: {0}")]
    Content(String),
}

/// The parts of an answer that are of use.
struct Answer {
    status: u16,
    fresh_for: Duration,
    body: Vec<u8>,
}

impl Outbound {
    /// For a provider whose address is `issuer`.
    pub(super) fn new(issuer: &Url, clock: Clock) -> Result<Self, OidcError> {
        let loopback = is_loopback(issuer);
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .https_only(!loopback)
            .user_agent(concat!("subtide/", env!("CARGO_PKG_VERSION")));
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| OidcError::Client(error.to_string()))?;
        Ok(Self { client, breaker: Arc::new(Breaker::new(clock)), loopback })
    }

    /// Whether `url` may be asked: `https`, or loopback where the issuer itself is.
    pub(super) fn may_ask(&self, url: &Url) -> bool {
        url.scheme() == "https" || (self.loopback && is_loopback(url))
    }

    /// A JSON document, and how long it stays fresh.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<Fetched<T>, OutboundError> {
        let answer = self.send(self.client.get(url.clone())).await?;
        if answer.status != 200 {
            return Err(OutboundError::Status(answer.status));
        }
        let value = serde_json::from_slice(&answer.body).map_err(|error| OutboundError::Content(error.to_string()))?;
        Ok(Fetched { value, fresh_for: answer.fresh_for })
    }

    async fn exchange(&self, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, OutboundError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|_| OutboundError::Unreachable("it is no URL"))?;
        let request = self.client.request(parts.method, url).headers(parts.headers).body(body);
        let answer = self.send(request).await?;
        http::Response::builder()
            .status(answer.status)
            .body(answer.body)
            .map_err(|_| OutboundError::Content("no HTTP status".to_owned()))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, OutboundError> {
        if !self.breaker.lets_pass() {
            return Err(OutboundError::LeftAlone);
        }
        let answer = read(request).await;
        match &answer {
            Ok(answer) if answer.status < 500 => self.breaker.succeeded(),
            _ => self.breaker.failed(),
        }
        answer
    }
}

/// For the requests of the `oauth2` crate.
impl<'c> oauth2::AsyncHttpClient<'c> for Outbound {
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<oauth2::HttpResponse, OutboundError>> + Send + 'c>>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Answer, OutboundError> {
    let mut response = request.send().await.map_err(|error| reason(&error))?;
    let header = |name| response.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let fresh_for = cache::fresh_for(header(http::header::CACHE_CONTROL), header(http::header::AGE));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(OutboundError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status().as_u16(), fresh_for, body })
}

/// In words of our own: the library's have the URL in them.
fn reason(error: &reqwest::Error) -> OutboundError {
    OutboundError::Unreachable(if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        "it cannot be connected to"
    } else if error.is_body() || error.is_decode() {
        "its answer breaks off"
    } else {
        "the request to it failed"
    })
}

/// `text` as an address that may be asked: `https`, or loopback.
pub(super) fn trustworthy(text: &str) -> Result<Url, OidcError> {
    let url = Url::parse(text).map_err(|error| OidcError::Url { url: text.to_owned(), reason: error.to_string() })?;
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)) {
        return Ok(url);
    }
    Err(OidcError::Insecure(text.to_owned()))
}

/// Whether `url` leads to this machine and to no other.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_or_loopback() {
        for good in ["https://accounts.google.com", "http://127.0.0.1:9000", "http://[::1]:9/x", "http://localhost"] {
            assert!(trustworthy(good).is_ok(), "{good}");
        }
        for bad in ["http://example.com", "http://127.0.0.1.example.com", "http://10.0.0.1", "ftp://localhost", "x"] {
            assert!(trustworthy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_issuer_out_there_may_not_send_us_to_this_machine() {
        let out = Outbound::new(&Url::parse("https://issuer.example").unwrap(), Clock::default()).unwrap();
        assert!(!out.may_ask(&Url::parse("http://127.0.0.1/keys").unwrap()));
        assert!(out.may_ask(&Url::parse("https://keys.example/keys").unwrap()));
    }
}
