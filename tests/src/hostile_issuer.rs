//! An OpenID Connect issuer that does what a test tells it: signs anything, rotates its key, falls silent, and counts who
//! asks. It listens on a free loopback port.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, jwk::Jwk};
use serde_json::{Value, json};

/// Seconds that its key set says it is fresh.
pub const MAX_AGE: u64 = 3600;

/// An issuer; it ends with the runtime of the test.
#[derive(Debug, Clone)]
pub struct HostileIssuer {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    key: Mutex<Key>,
    /// Member of the discovery document to replace, and with what.
    discovery: Mutex<Vec<(&'static str, Value)>>,
    token_answer: Mutex<(StatusCode, Value)>,
    token_requests: Mutex<Vec<TokenRequest>>,
    down: AtomicBool,
    discovery_fetches: AtomicU64,
    key_fetches: AtomicU64,
}

/// A key pair, as JWK and as PEM.
#[derive(Clone)]
struct Key {
    kid: String,
    public: Value,
    private: EncodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// What came to the token endpoint.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// `Authorization`, if any.
    pub authorization: Option<String>,
    /// The form, as it was sent.
    pub form: String,
}

impl HostileIssuer {
    /// Starts one with one key.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no free port: {error}"));
        let inner = Arc::new(Inner {
            key: Mutex::new(Key::new("key-1")),
            discovery: Mutex::default(),
            token_answer: Mutex::new((StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"}))),
            token_requests: Mutex::default(),
            down: AtomicBool::new(false),
            discovery_fetches: AtomicU64::new(0),
            key_fetches: AtomicU64::new(0),
        });
        let issuer = Self { address, inner };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/moved", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/keys")]) }))
            .route("/huge", get(|| async { format!("{{\"keys\": [\"{}\"]}}", "x".repeat(100_000)) }))
            .route("/token", post(token))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    /// Its `iss`.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Name of the key it signs with.
    #[must_use]
    pub fn kid(&self) -> String {
        lock(&self.inner.key).kid.clone()
    }

    /// Its public key, as a JWK.
    #[must_use]
    pub fn public_key(&self) -> Value {
        lock(&self.inner.key).public.clone()
    }

    /// From now on it signs with a new key of this name; the old one is no longer in its set.
    pub fn rotate(&self, kid: &str) {
        *lock(&self.inner.key) = Key::new(kid);
    }

    /// From now on every request is answered with 503, or again as it should be.
    pub fn set_down(&self, down: bool) {
        self.inner.down.store(down, Ordering::Release);
    }

    /// From now on the discovery document has this in it.
    pub fn discovery_says(&self, member: &'static str, value: Value) {
        lock(&self.inner.discovery).push((member, value));
    }

    /// How often its discovery document was asked for, answered or not.
    #[must_use]
    pub fn discovery_fetches(&self) -> u64 {
        self.inner.discovery_fetches.load(Ordering::Acquire)
    }

    /// How often its key set was asked for, answered or not.
    #[must_use]
    pub fn key_fetches(&self) -> u64 {
        self.inner.key_fetches.load(Ordering::Acquire)
    }

    /// What came to the token endpoint so far.
    #[must_use]
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        lock(&self.inner.token_requests).clone()
    }

    /// From now on, codes become this ID token.
    pub fn answers_with_id_token(&self, id_token: &str) {
        let answer = json!({
            "access_token": "provider-access-token", "refresh_token": "provider-refresh-token",
            "token_type": "Bearer", "expires_in": 3600, "id_token": id_token,
        });
        self.answers_with(StatusCode::OK, answer);
    }

    /// From now on, codes get this answer.
    pub fn answers_with(&self, status: StatusCode, body: Value) {
        *lock(&self.inner.token_answer) = (status, body);
    }

    /// The header of an honest token.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({"alg": "RS256", "kid": self.kid(), "typ": "JWT"})
    }

    /// The claims of an honest ID token for `client_id`, at `now` (seconds since the Unix epoch).
    #[must_use]
    pub fn claims(&self, client_id: &str, nonce: &str, now: u64) -> Value {
        json!({
            "iss": self.issuer(), "sub": "person-1", "aud": client_id, "nonce": nonce, "iat": now, "exp": now + 300,
            "email": "ann@example.com", "email_verified": true, "name": "Ann Example",
        })
    }

    /// Signs with RS256 and its key, whatever the header says.
    ///
    /// # Panics
    /// When the key does not sign.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// The same for texts that need not be JSON.
    ///
    /// # Panics
    /// When the key does not sign.
    #[must_use]
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = lock(&self.inner.key).private.clone();
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::RS256);
        format!("{message}.{}", signature.unwrap_or_else(|error| panic!("the key does not sign: {error}")))
    }

    /// An honest token of these claims.
    #[must_use]
    pub fn honest(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    fn is_down(&self) -> Option<Response> {
        self.inner.down.load(Ordering::Acquire).then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
    }
}

impl Key {
    fn new(kid: &str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap_or_else(|error| panic!("no RSA key: {error}"));
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap_or_else(|error| panic!("no RSA key: {error}"));
        let lines: Vec<_> = STANDARD.encode(der.as_ref()).as_bytes().chunks(64).map(<[u8]>::to_vec).collect();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            String::from_utf8_lossy(&lines.join(&b'\n'))
        );
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap_or_else(|error| panic!("no RSA key: {error}"));
        let jwk = Jwk::from_encoding_key(&private, Algorithm::RS256);
        let jwk = jwk.unwrap_or_else(|error| panic!("no RSA key: {error}"));
        let mut public = serde_json::to_value(jwk).unwrap_or_default();
        public["kid"] = json!(kid);
        public["use"] = json!("sig");
        Self { kid: kid.to_owned(), public, private }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn discovery(State(issuer): State<HostileIssuer>) -> Response {
    issuer.inner.discovery_fetches.fetch_add(1, Ordering::AcqRel);
    if let Some(down) = issuer.is_down() {
        return down;
    }
    let here = issuer.issuer();
    let mut document = json!({
        "issuer": here, "authorization_endpoint": format!("{here}/authorize"),
        "token_endpoint": format!("{here}/token"), "jwks_uri": format!("{here}/keys"),
        "code_challenge_methods_supported": ["plain", "S256"],
    });
    for (member, value) in lock(&issuer.inner.discovery).iter() {
        document[*member] = value.clone();
    }
    ([(header::CACHE_CONTROL, format!("max-age={MAX_AGE}"))], Json(document)).into_response()
}

async fn keys(State(issuer): State<HostileIssuer>) -> Response {
    issuer.inner.key_fetches.fetch_add(1, Ordering::AcqRel);
    if let Some(down) = issuer.is_down() {
        return down;
    }
    let keys = json!({"keys": [{"kty": "from-the-future", "kid": "odd"}, issuer.public_key()]});
    ([(header::CACHE_CONTROL, format!("public, max-age={MAX_AGE}"))], Json(keys)).into_response()
}

async fn token(State(issuer): State<HostileIssuer>, headers: HeaderMap, form: String) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    lock(&issuer.inner.token_requests).push(TokenRequest { authorization, form });
    if let Some(down) = issuer.is_down() {
        return down;
    }
    let (status, body) = lock(&issuer.inner.token_answer).clone();
    (status, Json(body)).into_response()
}
