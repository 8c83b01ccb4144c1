//! The listener, its routes, and who may open a session.

use std::{future::IntoFuture as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::Registry;
use serde_json::json;
use shared::{bus::Bus, consumer::BUS, health::Health, shutdown::CancellationToken, wire::SUBPROTOCOL};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

use crate::{
    auth::{AuthError, Authenticator},
    config::GatewayConfig,
    mailbox::Mailbox,
    metrics::Metrics,
    session::{self, Context},
};

/// The library's own limits: above [`shared::wire::MAX_MESSAGE_BYTES`], so that a frame a little too large still gets
/// an error that says so.
const LIBRARY_MAX_BYTES: usize = 256 * 1024;
/// tungstenite takes this much for every connection; its default of 128 KiB costs 1.3 GB at 10,000 connections.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// How long sessions may take to end once the server stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);
/// How long answers that are no sessions may take to end.
const PAGE_DEADLINE: Duration = Duration::from_secs(3);
/// What the page may do: its own scripts and styles, its own WebSocket, nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                           font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Why a gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The client port cannot be had.
    #[error("{addr} cannot be listened on: {source}; choose another GATEWAY_PORT or stop what holds it")]
    Bind {
        /// Address wanted.
        addr: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A metric's name is taken.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Serving failed.
    #[error("the client port failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// A bound gateway.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    state: AppState,
}

#[derive(Debug, Clone)]
struct AppState {
    context: Context,
    places: Arc<Semaphore>,
    sessions: TaskTracker,
    shutdown: CancellationToken,
    health: Health,
}

impl Gateway {
    /// Opens the client port. Metrics go to `registry`; `health` is told whether the bus answers.
    ///
    /// # Errors
    /// See [`GatewayError`].
    pub async fn bind(
        config: GatewayConfig,
        bus: Arc<dyn Bus>,
        health: Health,
        registry: &Registry,
    ) -> Result<Self, GatewayError> {
        let addr = config.addr;
        let listener = TcpListener::bind(addr).await.map_err(|source| GatewayError::Bind { addr, source })?;
        let name = format!("{:016x}", rand::random::<u64>());
        let context = Context {
            authenticator: Arc::new(Authenticator::new(&config.auth, config.allowed_origins.clone())),
            mailbox: Mailbox::new(Arc::clone(&bus), &name),
            metrics: Metrics::new(registry)?,
            config: Arc::new(config),
            bus,
        };
        let places = Arc::new(Semaphore::new(context.config.max_sessions));
        let (sessions, shutdown) = (TaskTracker::new(), CancellationToken::new());
        Ok(Self { listener, state: AppState { context, places, sessions, shutdown, health } })
    }

    /// Where clients connect; tells the port when it was bound to port 0.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then lets every session end in order, within a deadline.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), GatewayError> {
        let AppState { context, sessions, shutdown: draining, health, .. } = self.state.clone();
        let reading = CancellationToken::new();
        let reader = tokio::spawn(context.mailbox.run(reading.clone(), move |up| health.set(BUS, up)));
        // Sessions must hear of the shutdown at the same moment as the listener.
        let forward = tokio::spawn(async move {
            shutdown.cancelled().await;
            draining.cancel();
        });
        let stop = self.state.shutdown.clone();
        let serving = axum::serve(self.listener, router(self.state))
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .into_future();
        // Connections that are no sessions may not hold up the end: a page half read is cut off.
        let overdue = async {
            stop.cancelled().await;
            sleep(PAGE_DEADLINE).await;
        };
        let served = tokio::select! {
            served = serving => served,
            () = overdue => Ok(()),
        };
        sessions.close();
        if timeout(DRAIN_DEADLINE, sessions.wait()).await.is_err() {
            tracing::warn!(left = sessions.len(), "sessions did not end in time and are cut off");
        }
        forward.abort();
        reading.cancel();
        // The reader ends by itself once told; it only fails when it was cancelled with the runtime.
        drop(reader.await);
        Ok(served?)
    }
}

fn router(state: AppState) -> Router {
    let web_ui = state.context.config.web_ui.clone();
    let router = Router::new().route("/v1/stream", get(stream)).with_state(state);
    let router = match web_ui {
        Some(directory) => router.fallback_service(ServeDir::new(directory)),
        None => router,
    };
    let set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
    };
    router
        .layer(set(header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        .layer(set(HeaderName::from_static("permissions-policy"), "microphone=(self), display-capture=(self)"))
        .layer(set(header::CACHE_CONTROL, "no-cache"))
}

/// Answers the WebSocket handshake, or refuses it with a status and a reason before the 101.
async fn stream(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let refused = &state.context.metrics.refused;
    let who = match state.context.authenticator.admit(&headers) {
        Ok(who) => who,
        Err(error) => {
            let status = match error {
                AuthError::Origin | AuthError::Host => StatusCode::FORBIDDEN,
                _ => StatusCode::UNAUTHORIZED,
            };
            refused.with_label_values(&["auth"]).inc();
            let code = if status == StatusCode::FORBIDDEN { "forbidden" } else { "auth_error" };
            let mut response = refusal(status, code, &error.to_string());
            if status == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return response;
        }
    };
    let Ok(place) = Arc::clone(&state.places).try_acquire_owned() else {
        refused.with_label_values(&["full"]).inc();
        let mut response =
            refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "all sessions are taken; try again soon");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(_) => {
            refused.with_label_values(&["handshake"]).inc();
            let message = "this address speaks WebSocket only; connect with ws:// and the subprotocol subtide.v1";
            return refusal(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message);
        }
    };
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(LIBRARY_MAX_BYTES)
        .max_message_size(LIBRARY_MAX_BYTES)
        .max_frame_size(LIBRARY_MAX_BYTES);
    let (context, shutdown, sessions) = (state.context, state.shutdown, state.sessions);
    upgrade.on_upgrade(move |socket| {
        sessions.track_future(async move {
            session::serve(socket, who, context, shutdown).await;
            drop(place);
        })
    })
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"code": code, "message": message}))).into_response()
}
