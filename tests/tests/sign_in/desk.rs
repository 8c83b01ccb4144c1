//! The routes of sign-in on a free port, with people in a SQLite file.

use std::{net::Ipv4Addr, sync::Arc};

use axum::Extension;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway::http::{
    address::ClientAddress,
    sign_in::{SignIn, routes},
};
use identity::{
    Clock, IdentityConfig, People, Provider,
    access::Trust,
    oidc::{GuestList, OidcClient, OidcConfig, logins},
};
use reqwest::{Response, Url};
use serde_json::{Value, json};
use shared::bus::MemoryBus;
use tempfile::TempDir;
use tests::{hostile_issuer::HostileIssuer, oidc_provider::OidcProvider};
use tokio::net::TcpListener;

/// Of every native sign-in here. Nobody listens there.
pub(crate) const PORT: u16 = 4321;
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Our name at the hostile issuer.
pub(crate) const CLIENT: &str = "subtide";

/// Who vouches for people.
pub(crate) struct Vouching {
    pub(crate) issuer: String,
    pub(crate) client: OidcClient,
    pub(crate) guests: GuestList,
}

/// A server that people sign in at.
pub(crate) struct Desk {
    pub(crate) people: People,
    pub(crate) clock: Clock,
    pub(crate) origin: String,
    _directory: TempDir,
}

impl Desk {
    /// With the real provider; `None`, said aloud, where it is not there.
    pub(crate) async fn real(guests: GuestList) -> Option<(Self, OidcProvider)> {
        let (listener, origin) = listener().await;
        let provider = OidcProvider::spawn(&origin).await?;
        let secret = Some(provider.client_secret.clone().into());
        let client = OidcClient { id: provider.client_id.clone(), secret };
        let vouching = Vouching { issuer: provider.issuer.clone(), client, guests };
        Some((Self::at(listener, origin, Some(vouching), Vec::new()).await, provider))
    }

    /// With one that lies.
    pub(crate) async fn hostile() -> (Self, HostileIssuer) {
        let (listener, origin) = listener().await;
        let issuer = HostileIssuer::start().await;
        let client = OidcClient { id: CLIENT.to_owned(), secret: Some("secret".into()) };
        let vouching = Vouching { issuer: issuer.issuer(), client, guests: GuestList::default() };
        (Self::at(listener, origin, Some(vouching), Vec::new()).await, issuer)
    }

    /// Without a provider; tokens of `trusted` issuers are welcome.
    pub(crate) async fn without_provider(trusted: impl FnOnce(&Clock) -> Vec<Trust>) -> Self {
        let (listener, origin) = listener().await;
        let clock = Clock::default();
        let trusted = trusted(&clock);
        Self::with_clock(listener, origin, None, trusted, clock).await
    }

    pub(crate) async fn at(
        listener: TcpListener,
        origin: String,
        vouching: Option<Vouching>,
        trusted: Vec<Trust>,
    ) -> Self {
        Self::with_clock(listener, origin, vouching, trusted, Clock::default()).await
    }

    async fn with_clock(
        listener: TcpListener,
        origin: String,
        vouching: Option<Vouching>,
        trusted: Vec<Trust>,
        clock: Clock,
    ) -> Self {
        let (directory, bus) = (tempfile::tempdir().unwrap(), Arc::new(MemoryBus::default()));
        let mut config = IdentityConfig::at(&format!("sqlite:{}", directory.path().join("people.db").display()));
        config.issuer.clone_from(&origin);
        let people = People::open(&config, trusted, bus.clone(), clock.clone()).await.unwrap();
        let provider = vouching.map(|Vouching { issuer, client, guests }| {
            let (native, public_url) = (client.clone(), Url::parse(&origin).unwrap());
            let config = OidcConfig { issuer, client, native, public_url, guests };
            Arc::new(Provider::new(config, bus, clock.clone()).unwrap())
        });
        let state = SignIn { people: Some(people.clone()), provider };
        serve(listener, state);
        Self { people, clock, origin, _directory: directory }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&self.origin).unwrap().join(path).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        reqwest::Client::new().post(self.url(path)).json(body).send().await.unwrap()
    }

    /// `/auth/start`.
    pub(crate) async fn start(&self) -> Started {
        let challenge = URL_SAFE_NO_PAD.encode(logins::hash(VERIFIER));
        let answer = self.post("/auth/start", &json!({"code_challenge": challenge, "port": PORT})).await;
        assert_eq!(answer.status(), 200);
        let body: Value = answer.json().await.unwrap();
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        let (login_id, authorize_url) = (text("login_id"), text("authorize_url"));
        let query = |name: &str| {
            let url = Url::parse(&authorize_url).unwrap();
            url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
        };
        let (state, nonce) = (query("state"), query("nonce"));
        Started { login_id, state, nonce, authorize_url }
    }
}

/// A native sign-in that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) login_id: String,
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) authorize_url: String,
}

impl Started {
    /// The body of an honest `/auth/finish`.
    pub(crate) fn finish(&self, code: &str) -> Value {
        json!({"login_id": self.login_id, "code": code, "code_verifier": VERIFIER, "state": self.state})
    }
}

pub(crate) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (listener, origin)
}

pub(crate) fn serve(listener: TcpListener, state: SignIn) {
    let router = routes(state).layer(Extension(ClientAddress(Ipv4Addr::LOCALHOST.into())));
    tokio::spawn(async move { axum::serve(listener, router).await });
}

/// The parameters of a redirect.
pub(crate) fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}
