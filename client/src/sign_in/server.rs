//! What is asked of the server: `/auth/config`, `/auth/start`, `/auth/finish`, `/auth/refresh`, `/auth/logout`.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Response, StatusCode, redirect::Policy};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use shared::wire::Refusal;
use url::{Host, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The server asks the provider in between.
const TIMEOUT: Duration = Duration::from_secs(30);
const UNREACHABLE: &str = "the server cannot be reached";

/// A server that people sign in at.
#[derive(Debug, Clone)]
pub struct Server {
    address: Url,
    http: reqwest::Client,
}

/// Answer of `/auth/config`: whether people can sign in at a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Whether they can.
    pub sign_in: bool,
    /// What people call who signs them in; empty without sign-in.
    pub provider: String,
}

/// Somebody who signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The `sub` of the access token.
    pub id: String,
    /// As the provider told it.
    #[serde(default)]
    pub email: Option<String>,
    /// Likewise.
    #[serde(default)]
    pub name: Option<String>,
}

/// The server answered, and said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server refused ({status}){}{}", after_colon(message), wait(*retry_after))]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// In the server's words; empty when it said nothing.
    pub message: String,
    /// When it says that trying again makes sense (`Retry-After`).
    pub retry_after: Option<Duration>,
}

fn after_colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn wait(retry_after: Option<Duration>) -> String {
    retry_after.map(|wait| format!("; try again in {} s", wait.as_secs())).unwrap_or_default()
}

/// Answer of `/auth/config` on the wire.
#[derive(Deserialize)]
struct ConfigBody {
    sign_in: bool,
    #[serde(default)]
    provider: Option<String>,
}

/// Answer of `/auth/start`.
#[derive(Debug, Deserialize)]
pub(super) struct Begun {
    pub(super) login_id: String,
    pub(super) authorize_url: String,
    /// Seconds.
    pub(super) expires_in: u64,
}

/// Body of `/auth/finish`.
#[derive(Serialize)]
pub(super) struct Finish<'a> {
    pub(super) login_id: &'a str,
    pub(super) code: &'a str,
    pub(super) code_verifier: &'a str,
    pub(super) state: &'a str,
}

/// Answer of `/auth/finish` and `/auth/refresh`.
#[derive(Clone, Deserialize)]
pub struct Tokens {
    /// Shown at the door.
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    refresh_token: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl Server {
    /// `address`: `https://HOST`; plain `http` only to this machine, because tokens travel here.
    /// # Errors
    /// When it is neither.
    pub fn new(address: &str) -> anyhow::Result<Self> {
        let address = Url::parse(address).with_context(|| format!("`{address}` is no address; write https://HOST"))?;
        ensure!(is_safe(&address), "`{address}` would send tokens in the clear; write https://");
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .build()?;
        Ok(Self { address, http })
    }

    /// For the gateway whose stream is at `url` (`wss://HOST/v1/stream`).
    ///
    /// # Errors
    /// When `url` is no such address, or one that a token must not be sent to.
    pub fn of_stream(url: &str) -> anyhow::Result<Self> {
        let address = url
            .strip_prefix("ws")
            .map(|rest| format!("http{rest}"))
            .context("the server's address must begin with ws:// or wss://")?;
        let mut address = Url::parse(&address)?;
        address.set_path("");
        Self::new(address.as_str())
    }

    pub(super) async fn start(&self, code_challenge: &str, port: u16) -> anyhow::Result<Begun> {
        self.post("/auth/start", &json!({"code_challenge": code_challenge, "port": port, "device": "subtide"})).await
    }

    pub(super) async fn finish(&self, finish: &Finish<'_>) -> anyhow::Result<Tokens> {
        self.post("/auth/finish", finish).await
    }

    /// The next access and refresh token for `refresh_token`, which is used up by this.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses it.
    pub async fn refresh(&self, refresh_token: &str) -> anyhow::Result<Tokens> {
        self.post("/auth/refresh", &json!({"refresh_token": refresh_token})).await
    }

    /// Whether people can sign in here. A server that does not know the question has no sign-in.
    ///
    /// # Errors
    /// When the server cannot be reached or does not tell.
    pub async fn offer(&self) -> anyhow::Result<Offer> {
        let answer = self.http.get(self.address.join("/auth/config")?).send().await;
        let answer = answer.map_err(reqwest::Error::without_url).context(UNREACHABLE)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Offer::default());
        }
        let ConfigBody { sign_in, provider } = read(success(answer).await?).await?;
        Ok(Offer { sign_in, provider: provider.filter(|_| sign_in).unwrap_or_default() })
    }

    /// Ends the sign-in that `refresh_token` belongs to, on the server.
    ///
    /// # Errors
    /// When the server cannot be reached, or could not end it everywhere.
    pub async fn logout(&self, refresh_token: &str) -> anyhow::Result<()> {
        success(self.send("/auth/logout", &json!({"refresh_token": refresh_token})).await?).await.map(drop)
    }

    /// Where it is; without a path.
    pub(super) fn address(&self) -> &Url {
        &self.address
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let answer = self.send(path, body).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            bail!("this server has no sign-in (404); it takes API keys or tokens minted elsewhere, in SUBTIDE_TOKEN");
        }
        read(success(answer).await?).await
    }

    async fn send(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Response> {
        let answer = self.http.post(self.address.join(path)?).json(body).send().await;
        // Without the address: it is known, and a reader of logs has no use for it.
        answer.map_err(reqwest::Error::without_url).context(UNREACHABLE)
    }
}

/// `answer`, where it is no refusal.
async fn success(answer: Response) -> anyhow::Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let message = answer.json::<Refusal>().await.map(|refusal| refusal.message).unwrap_or_default();
    Err(Refused { status: status.as_u16(), message, retry_after: wait.map(Duration::from_secs) }.into())
}

async fn read<T: DeserializeOwned>(answer: Response) -> anyhow::Result<T> {
    let read = answer.json().await.map_err(reqwest::Error::without_url);
    read.context("the server answered something else than promised")
}

impl Begun {
    /// The state that the browser has to bring back. An address that leads elsewhere than to a provider and then to
    /// `port` of this machine is not opened.
    pub(super) fn state(&self, port: u16) -> anyhow::Result<String> {
        let address = Url::parse(&self.authorize_url).context("the server sent no address to sign in at")?;
        ensure!(is_safe(&address), "the server sent an address that is not https");
        let value =
            |name: &str| address.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let back = value("redirect_uri");
        ensure!(
            back == Some(format!("http://127.0.0.1:{port}/callback")),
            "the server would send the browser elsewhere"
        );
        value("state").filter(|state| state.len() >= 16).context("the server sent an address without a state")
    }
}

impl Tokens {
    /// The refresh token.
    ///
    /// # Errors
    /// When the server sent none.
    pub fn refresh_token(&self) -> anyhow::Result<String> {
        self.refresh_token.clone().context("the server sent no refresh token")
    }

    /// Whose they are, where the server told.
    #[must_use]
    pub fn person(&self) -> Option<Person> {
        serde_json::from_value(self.rest.get("person")?.clone()).ok()
    }

    /// All of it as JSON, with the refresh token or without.
    #[must_use]
    pub fn as_json(&self, with_refresh_token: bool) -> String {
        let mut all = self.rest.clone();
        all.insert("access_token".to_owned(), json!(self.access_token));
        all.insert("expires_in".to_owned(), json!(self.expires_in));
        if with_refresh_token {
            all.insert("refresh_token".to_owned(), json!(self.refresh_token));
        }
        Value::Object(all).to_string()
    }
}

fn is_safe(address: &Url) -> bool {
    let local = match address.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    address.scheme() == "https" || (address.scheme() == "http" && local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sent_over_https_or_to_this_machine() {
        for good in
            ["https://captions.example.com", "http://127.0.0.1:5026", "http://localhost:5026", "http://[::1]:5026"]
        {
            assert!(Server::new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://captions.example.com",
            "http://127.0.0.1.evil.example",
            "captions.example.com",
            "file:///etc/passwd",
        ] {
            assert!(Server::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_address_that_comes_back_here_is_opened() {
        let state = |address: &str| {
            let begun = Begun { login_id: String::new(), authorize_url: address.to_owned(), expires_in: 300 };
            begun.state(4711).ok()
        };
        let back = "redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback";
        let good = format!("https://accounts.example/auth?{back}&state=0123456789abcdef");
        assert_eq!(state(&good).as_deref(), Some("0123456789abcdef"));
        assert_eq!(state(&good.replace("4711", "4712")), None);
        assert_eq!(state(&good.replace("https:", "http:")), None);
        assert_eq!(state(&good.replace("https:", "file:")), None);
        assert_eq!(state(&good.replace("0123456789abcdef", "")), None);
        assert_eq!(state("words"), None);
    }
}
