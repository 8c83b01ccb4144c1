//! The client port: its listener, its routes, and what every answer carries.
//!
//! - [`serve`]: a gateway from its ports to its end; `listen`: connections; [`tls`]: certificates
//! - `stream`: the WebSocket handshake; `me`: tickets, and who am I; [`sign_in`]: sign-in, refresh, logout
//! - [`hygiene`]: ids, limits and headers of every answer; [`address`]: where a request came from; `addresses`: how many
//!   connections each has
//! - `admin`: the operators' port
//! - [`openapi`], [`paths`]: what there is

pub mod address;
mod addresses;
mod admin;
pub mod hygiene;
mod listen;
mod me;
pub mod openapi;
pub mod paths;
pub mod serve;
pub mod sign_in;
mod stream;
pub mod tls;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, Method, header},
    middleware,
    routing::{get, post},
};
use shared::{health::Health, shutdown::CancellationToken};
use tokio_util::task::TaskTracker;
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    services::ServeDir,
};

use self::{
    hygiene::{Hygiene, MAX_BODY_BYTES},
    sign_in::SignIn,
};
use crate::{config::GatewayConfig, door::Door, session::Context};

/// For so long a browser need not ask again what a page of another origin may do.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone)]
struct AppState {
    context: Context,
    door: Arc<Door>,
    sign_in: SignIn,
    sessions: TaskTracker,
    shutdown: CancellationToken,
    health: Health,
}

fn router(state: AppState) -> Router {
    let config = Arc::clone(&state.context.config);
    let door = Router::new().route(paths::TICKET, post(me::ticket)).route(paths::ME, get(me::me));
    let api = Router::new()
        .route(paths::STREAM, get(stream::open))
        .route(paths::OPENAPI, get(openapi::openapi))
        .with_state(state.clone())
        .merge(door.with_state(Arc::clone(&state.door)))
        .merge(sign_in::routes(state.sign_in.clone()))
        .layer(cors(&config));
    let router = match &config.web_ui {
        Some(directory) => api.fallback_service(ServeDir::new(directory)),
        None => api,
    };
    around(router, &state)
}

/// `router` with what every answer has in common.
fn around(router: Router, state: &AppState) -> Router {
    let config = &state.context.config;
    let hygiene = Hygiene {
        door: Arc::clone(&state.door),
        trusted: config.door.trusted_proxies.clone().into(),
        strict_transport: config.tls.is_some() || config.public_url.as_ref().is_some_and(|url| url.scheme() == "https"),
    };
    router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).layer(middleware::from_fn_with_state(hygiene, hygiene::around))
}

/// What pages of other origins may do: those on the list, with these methods and headers, without cookies.
fn cors(config: &GatewayConfig) -> CorsLayer {
    let origins = config.allowed_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let request_id = HeaderName::from_static("x-request-id");
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, request_id.clone()])
        .expose_headers([header::RETRY_AFTER, request_id])
        .max_age(CORS_MAX_AGE)
}
