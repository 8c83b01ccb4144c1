//! Sign-in over HTTP: native programs, browsers, refresh, logout, and the public keys of our tokens.
//!
//! - `native`: `/auth/start`, `/auth/finish`
//! - `browser`: `/auth/login`, `/auth/callback`
//! - `tokens`: `/auth/refresh`, `/auth/logout`
//! - `asked`: what these take of a request, bounded; `cookies`, `page`, `failure`: what they answer with

mod asked;
mod browser;
mod cookies;
mod failure;
mod native;
mod page;
#[doc(hidden)]
pub mod probe;
mod tokens;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::{any, get, post},
};
use identity::{People, Provider};
use serde::Serialize;
use shared::wire::ErrorCode;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::{OpenApi, ToSchema};

pub use self::{
    native::{FinishBody, StartBody, StartedBody},
    tokens::{PersonBody, RefreshBody, TokensBody},
};
use crate::door::TurnedAway;

/// Largest body of these routes, bytes: the longest code of a provider fits in three times.
const MAX_BODY_BYTES: usize = 8 * 1024;
/// How long others may keep our public keys, seconds. A key is published longer than this before it is used.
const KEYS_FRESH: &str = "public, max-age=300";

/// What sign-in needs. Without people (nobody is asked) or without a provider (tokens and keys alone) there is less of it.
#[derive(Debug, Clone, Default)]
pub struct SignIn {
    /// Who people are; `None`: nobody is asked.
    pub people: Option<People>,
    /// Where they sign in; `None`: nowhere.
    pub provider: Option<Arc<Provider>>,
}

/// Both are there.
#[derive(Debug, Clone)]
struct Desk {
    people: People,
    provider: Arc<Provider>,
    cookies: cookies::Cookies,
}

/// Whether people can sign in here, and how.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConfigBody {
    /// Whether they can.
    pub sign_in: bool,
    /// What people call the provider, such as `Google`; `null` without sign-in.
    pub provider: Option<String>,
    /// `browser` (`/auth/login`), `native` (`/auth/start`); empty without sign-in.
    pub ways: &'static [&'static str],
}

/// The description of these routes.
#[derive(OpenApi)]
#[openapi(paths(
    answer_config,
    jwks,
    native::start,
    native::finish,
    browser::login,
    browser::callback,
    tokens::refresh,
    tokens::logout,
))]
pub(super) struct SignInApi;

/// The routes of sign-in. Each request should carry a [`super::address::ClientAddress`] as an extension, for the audit.
pub fn routes(state: SignIn) -> Router {
    let config = ConfigBody {
        sign_in: state.people.is_some() && state.provider.is_some(),
        provider: state.provider.as_ref().filter(|_| state.people.is_some()).map(|provider| provider.name()),
        ways: if state.people.is_some() && state.provider.is_some() { &["browser", "native"] } else { &[] },
    };
    let mut router = Router::new()
        .route("/auth/config", get(answer_config).with_state(config))
        .route("/auth/{*rest}", any(not_found));
    if let Some(people) = &state.people {
        router = router.route("/.well-known/jwks.json", get(jwks).with_state(people.clone()));
    }
    if let (Some(people), Some(provider)) = (state.people, state.provider) {
        router = router.merge(desk(people, provider));
    }
    let unless_set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    router
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(unless_set(header::CACHE_CONTROL, "no-store"))
        .layer(unless_set(header::REFERRER_POLICY, "no-referrer"))
        .layer(unless_set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

fn desk(people: People, provider: Arc<Provider>) -> Router {
    let cookies = cookies::Cookies::new(&provider.config().public_url);
    Router::new()
        .route("/auth/start", post(native::start))
        .route("/auth/finish", post(native::finish))
        .route("/auth/login", get(browser::login))
        .route("/auth/callback", get(browser::callback))
        .route("/auth/refresh", post(tokens::refresh))
        .route("/auth/logout", post(tokens::logout))
        .with_state(Desk { people, provider, cookies })
}

/// Whether people can sign in here, and how. Public.
#[utoipa::path(get, path = "/auth/config", tag = "sign-in", responses((status = 200, body = ConfigBody)))]
async fn answer_config(State(config): State<ConfigBody>) -> Json<ConfigBody> {
    Json(config)
}

/// The public keys of our access tokens, as a JWK Set (RFC 7517). Public.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "sign-in",
    responses((status = 200, description = "a JWK Set"), (status = 503, description = "unavailable")))]
async fn jwks(State(people): State<People>) -> Response {
    match people.jwks().await {
        Ok(keys) => ([(header::CACHE_CONTROL, KEYS_FRESH)], Json(keys)).into_response(),
        Err(refused) => TurnedAway::from(refused).into_response(),
    }
}

async fn not_found() -> TurnedAway {
    TurnedAway::new(ErrorCode::NotFound, "not_found", "nothing of that name is here; GET /auth/config tells what is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described() {
        let described: Vec<_> = SignInApi::openapi().paths.paths.into_keys().collect();
        let expected = [
            "/.well-known/jwks.json",
            "/auth/callback",
            "/auth/config",
            "/auth/finish",
            "/auth/login",
            "/auth/logout",
            "/auth/refresh",
            "/auth/start",
        ];
        assert_eq!(described, expected);
    }
}
