//! The OpenID Connect provider of `tests/oidc-provider` as a process of its own, and a person's browser that walks through
//! it.

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::{Client, Response, StatusCode, Url, header, redirect::Policy};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::stack::repository;

/// Generous: node starts within a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The provider's own redirects until the person is back with us.
const MAX_STEPS: usize = 10;
/// `engines` of its package.json.
const MIN_NODE: u32 = 20;
/// What the provider knows us by.
const CLIENT_SECRET: &str = "canary-client-secret-of-a-test";

/// A running provider; it is killed when this is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    /// Its issuer.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: String,
    child: Child,
}

impl OidcProvider {
    /// Starts one for a server at `public_url`. `None`, said aloud, where node or its packages are not there; with `CI=true`
    /// they have to be.
    ///
    /// # Panics
    /// When it does not start, or may not be skipped.
    pub async fn spawn(public_url: &str) -> Option<Self> {
        let home = repository().join("tests/oidc-provider");
        if let Some(missing) = missing(&home).await {
            assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "the OpenID Connect provider: {missing}");
            eprintln!("SKIPPED: this test wants the OpenID Connect provider: {missing}");
            return None;
        }
        let mut command = Command::new("node");
        command.arg("provider.mjs").args(["--port", "0", "--public-url", public_url]);
        command.args(["--client-secret", CLIENT_SECRET]).current_dir(&home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("node does not start: {error}"));
        let settings = timeout(START_TIMEOUT, settings(&mut child)).await;
        let settings = settings.unwrap_or_else(|_| panic!("the provider does not start"));
        let setting = |key: &str| settings.get(key).cloned().unwrap_or_else(|| panic!("the provider prints no {key}"));
        let (issuer, client_id) = (setting("OIDC_ISSUER"), setting("OIDC_CLIENT_ID"));
        Some(Self { issuer, client_id, client_secret: setting("OIDC_CLIENT_SECRET"), child })
    }

    /// Ends it, as an outage would.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap_or_else(|error| panic!("the provider cannot be ended: {error}"));
    }
}

/// Why the provider of `home` cannot be started.
async fn missing(home: &Path) -> Option<&'static str> {
    let Ok(answer) = Command::new("node").arg("--version").output().await else { return Some("node is not installed") };
    // v20.20.2
    let version = String::from_utf8_lossy(&answer.stdout);
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < MIN_NODE) {
        return Some("node is older than version 20");
    }
    let installed = home.join("node_modules/oidc-provider").is_dir();
    (!installed).then_some("its packages are not installed; run `npm ci` in tests/oidc-provider")
}

/// The `KEY=value` lines it prints once it listens.
async fn settings(child: &mut Child) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(stdout) = child.stdout.take() else { return found };
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((key, value)) = line.split_once('=') else { continue };
        found.insert(key.to_owned(), value.to_owned());
        if key == "PUBLIC_URL" {
            break;
        }
    }
    found
}

/// A person's browser, as far as sign-in needs one: it keeps cookies for each host and follows redirects when told to.
#[derive(Debug, Clone)]
pub struct Browser {
    http: Client,
    /// By host and port, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// One without cookies.
    ///
    /// # Panics
    /// When there is no HTTP client.
    #[must_use]
    pub fn new() -> Self {
        let http = Client::builder().redirect(Policy::none()).no_proxy().timeout(Duration::from_secs(30)).build();
        Self { http: http.unwrap_or_else(|error| panic!("no HTTP client: {error}")), cookies: BTreeMap::new() }
    }

    /// Cookies that `url`'s host set, as `name=value`.
    #[must_use]
    pub fn cookies_for(&self, url: &Url) -> String {
        let pairs = self.cookies.get(&host(url)).into_iter().flatten();
        pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Opens `url`, and does not follow.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn open(&mut self, url: &Url) -> Response {
        self.send(url, self.http.get(url.clone())).await
    }

    /// Posts `body` as a page of `origin` would.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn post(&mut self, url: &Url, origin: Option<&str>, body: Option<&serde_json::Value>) -> Response {
        let mut request = self.http.post(url.clone());
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(url, request).await
    }

    async fn send(&mut self, url: &Url, request: reqwest::RequestBuilder) -> Response {
        let answer = request.header(header::COOKIE, self.cookies_for(url)).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("no answer: {error}"));
        let jar = self.cookies.entry(host(url)).or_default();
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap_or_default();
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            let attributes = attributes.to_ascii_lowercase();
            if value.is_empty() || attributes.contains("max-age=0") || attributes.contains("expires=thu, 01 jan 1970") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Follows redirects from `authorize_url` as `person` (one of those of `provider.mjs`), up to the first that leads to
    /// `back`.
    ///
    /// # Panics
    /// When it does not get there.
    pub async fn sign_in(&mut self, authorize_url: &str, person: &str, back: &str) -> Url {
        let mut url = Url::parse(authorize_url).unwrap_or_else(|error| panic!("{authorize_url}: {error}"));
        url.query_pairs_mut().append_pair("login_hint", person);
        let began = Instant::now();
        for _ in 0..MAX_STEPS {
            let answer = self.open(&url).await;
            let status = answer.status();
            let location = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
            let Some(location) = location.filter(|_| status == StatusCode::SEE_OTHER || status == StatusCode::FOUND)
            else {
                panic!("{url} answers {status}: {}", answer.text().await.unwrap_or_default());
            };
            url = url.join(&location).unwrap_or_else(|error| panic!("{location}: {error}"));
            if url.as_str().starts_with(back) {
                return url;
            }
        }
        panic!("not back at {back} after {MAX_STEPS} redirects and {:?}, but at {url}", began.elapsed());
    }
}

fn host(url: &Url) -> String {
    url.authority().to_owned()
}
