//! The client port: its listener, its routes, and what every answer carries.
//!
//! - [`stream`]: the WebSocket handshake
//! - [`sign_in`]: sign-in, refresh, logout; [`address`]: where a request came from

pub mod address;
pub mod sign_in;
mod stream;

use std::{future::IntoFuture as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    routing::get,
};
use prometheus::Registry;
use shared::{bus::Bus, consumer::BUS, health::Health, shutdown::CancellationToken};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

use crate::{config::GatewayConfig, door::Door, mailbox::Mailbox, metrics::Metrics, session::Context};

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
    door: Arc<Door>,
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
            mailbox: Mailbox::new(Arc::clone(&bus), &name),
            metrics: Metrics::new(registry)?,
            config: Arc::new(config),
            bus,
        };
        let door = Arc::new(Door::new(&context.config));
        let (sessions, shutdown) = (TaskTracker::new(), CancellationToken::new());
        Ok(Self { listener, state: AppState { context, door, sessions, shutdown, health } })
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
    let router = Router::new().route("/v1/stream", get(stream::open)).with_state(state);
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
