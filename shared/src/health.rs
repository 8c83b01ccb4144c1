//! The health port of every role: `/livez`, `/readyz`, `/health` and `/metrics`; and what every role tells there of itself.

mod about;

use std::{
    collections::BTreeMap,
    future::IntoFuture as _,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus::{Encoder, IntGauge, Registry, TextEncoder, core::Collector};
use serde::Serialize;
use tokio::net::TcpListener;

use self::about::About;
use crate::shutdown::CancellationToken;

/// What a role knows about itself; clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    role: &'static str,
    components: Arc<RwLock<BTreeMap<&'static str, Component>>>,
    about: Option<About>,
    registry: Registry,
}

/// Whether a part of a role works, here and in `/metrics`.
#[derive(Debug)]
struct Component {
    works: bool,
    up: Option<IntGauge>,
}

#[derive(Debug, Serialize)]
struct Report {
    role: &'static str,
    version: &'static str,
    ready: bool,
    components: BTreeMap<&'static str, bool>,
}

impl Health {
    /// A role that is ready once every one of `components` was [set](Health::set) to true. What every role tells of itself
    /// (its build, its components, its process) is registered in `registry`.
    #[must_use]
    pub fn new(role: &'static str, components: &[&'static str], registry: Registry) -> Self {
        let about = About::register(&registry, role);
        let about =
            about.inspect_err(|error| tracing::error!(%error, "a role's own metrics cannot be registered")).ok();
        let health = Self { role, components: Arc::default(), about, registry };
        components.iter().for_each(|component| health.set(component, false));
        health
    }

    /// Says whether a component works at present.
    pub fn set(&self, component: &'static str, works: bool) {
        let mut components = self.components.write().unwrap_or_else(PoisonError::into_inner);
        let up = || self.about.as_ref().map(|about| about.component(component));
        let known = components.entry(component).or_insert_with(|| Component { works, up: up() });
        known.works = works;
        if let Some(up) = &known.up {
            up.set(i64::from(works));
        }
    }

    /// Whether every component works.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.components.read().unwrap_or_else(PoisonError::into_inner).values().all(|component| component.works)
    }

    fn report(&self) -> Report {
        let components = self.components.read().unwrap_or_else(PoisonError::into_inner);
        let components: BTreeMap<_, _> = components.iter().map(|(name, component)| (*name, component.works)).collect();
        let ready = components.values().all(|works| *works);
        Report { role: self.role, version: env!("CARGO_PKG_VERSION"), ready, components }
    }

    /// The routes, for a role that serves them on a listener of its own.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/health", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let report = health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report))
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    match encoder.encode(&health.registry.gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, encoder.format_type().to_owned())], text),
        Err(error) => {
            let text = format!("metrics cannot be written: {error}\n").into_bytes();
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain".to_owned())], text)
        }
    }
}

/// A bound health port.
#[derive(Debug)]
pub struct HealthServer {
    listener: TcpListener,
    health: Health,
}

impl HealthServer {
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(addr: SocketAddr, health: Health) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(addr).await?, health })
    }

    /// Where it listens; tells the port when it was bound to port 0.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When accepting connections fails for good.
    pub async fn run(self, shutdown: CancellationToken) -> std::io::Result<()> {
        let serving = axum::serve(self.listener, self.health.router()).into_future();
        // Answers take no time, and nobody waits for a half-read one.
        tokio::select! {
            served = serving => served,
            () = shutdown.cancelled() => Ok(()),
        }
    }
}

/// Registers a metric and hands it back.
///
/// # Errors
/// When its name is taken in `registry`.
pub fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Asks the health port at `addr` whether its role is ready; what the `health` argument of every role does.
///
/// # Errors
/// When nothing answers there.
pub async fn probe(addr: SocketAddr) -> std::io::Result<bool> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).await?;
    Ok(&head == b"HTTP/1.1 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_only_when_every_component_works() {
        let health = Health::new("test", &["model", "bus"], Registry::new());
        let server = HealthServer::bind("127.0.0.1:0".parse().unwrap(), health.clone()).await.unwrap();
        let addr = server.local_addr().unwrap();
        let stop = CancellationToken::new();
        let run = tokio::spawn(server.run(stop.clone()));
        assert!(!probe(addr).await.unwrap());
        health.set("model", true);
        assert!(!probe(addr).await.unwrap());
        health.set("bus", true);
        assert!(probe(addr).await.unwrap());
        stop.cancel();
        run.await.unwrap().unwrap();
    }

    #[test]
    fn a_role_tells_its_build_its_components_and_its_process() {
        let registry = Registry::new();
        let health = Health::new("test", &["model", "bus"], registry.clone());
        let told = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(told().contains("subtide_component_up{component=\"bus\"} 0\n"), "{}", told());
        health.set("bus", true);
        assert!(told().contains("subtide_component_up{component=\"bus\"} 1\n"));
        assert!(told().contains("subtide_component_up{component=\"model\"} 0\n"));
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            told().contains(&format!("subtide_build_info{{role=\"test\",version=\"{version}\"}} 1\n")),
            "{}",
            told()
        );
        assert_eq!(told().contains("\nprocess_resident_memory_bytes "), cfg!(target_os = "linux"));
    }
}
