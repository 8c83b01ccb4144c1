//! A gateway from its bound ports to its end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use identity::{
    Clock, People, Provider,
    oidc::{OidcError, jwks},
    people::OpenError,
};
use prometheus::Registry;
use shared::{bus::Bus, consumer::BUS, health::Health, shutdown::CancellationToken};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    AppState,
    addresses::Addresses,
    admin::{self, Admin},
    around,
    listen::Port,
    router,
    sign_in::SignIn,
    tls::{Tls, TlsError},
};
use crate::{
    config::{AuthMode, GatewayConfig},
    door::{Door, Surroundings, metrics::DoorMetrics},
    mailbox::Mailbox,
    metrics::Metrics,
    session::Context,
};

/// How long sessions may take to end once the server stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// Why a gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A port cannot be had.
    #[error("{addr} cannot be listened on: {source}; choose another {key} or stop what holds it")]
    Bind {
        /// Address wanted.
        addr: SocketAddr,
        /// Key that names the port.
        key: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A metric's name is taken.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The certificate cannot be used.
    #[error("TLS_CERT, TLS_KEY: {0}")]
    Tls(#[from] TlsError),
    /// Nobody can be known.
    #[error(transparent)]
    People(#[from] OpenError),
    /// The provider, or an issuer whose tokens are trusted.
    #[error("sign-in at a provider: {0}")]
    Oidc(#[from] OidcError),
    /// Serving failed.
    #[error("the client port failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// A bound gateway.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    admin: Option<(TcpListener, Admin)>,
    tls: Option<Arc<Tls>>,
    state: AppState,
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
        let sign_in = open_sign_in(&config, &bus).await?;
        let people = sign_in.people.clone();
        let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let listener = listen(config.addr, "GATEWAY_PORT").await?;
        let name = format!("{:016x}", rand::random::<u64>());
        let metrics = DoorMetrics::new(registry)?;
        let around = Surroundings { people: people.clone(), bus: Arc::clone(&bus), gateway: name.clone(), metrics };
        let door = Arc::new(Door::new(&config, around));
        let admin = match (config.admin, people) {
            (Some(addr), Some(people)) => {
                let admin = Admin { people, door: Arc::clone(&door), bus: Arc::clone(&bus) };
                Some((listen(addr, "ADMIN_PORT").await?, admin))
            }
            _ => None,
        };
        let metrics = Arc::new(Metrics::new(registry)?);
        let context = Context {
            mailbox: Mailbox::new(Arc::clone(&bus), &name, Arc::clone(&metrics)),
            metrics,
            pressure: door.pressure(),
            config: Arc::new(config),
            bus,
        };
        let (sessions, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let state = AppState { context, door, sign_in, sessions, shutdown, health };
        Ok(Self { listener, admin, tls, state })
    }

    /// Where clients connect; tells the port when it was bound to port 0.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where operators connect; `None` without an admin listener.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// What decides who gets in.
    #[must_use]
    pub fn door(&self) -> Arc<Door> {
        Arc::clone(&self.state.door)
    }

    /// Serves until `shutdown`, then lets every session end in order, within a deadline.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), GatewayError> {
        let AppState { context, sessions, shutdown: draining, health, door, .. } = self.state.clone();
        let reading = CancellationToken::new();
        let reader = tokio::spawn(context.mailbox.run(reading.clone(), move |up| health.set(BUS, up)));
        // Sessions must hear of the shutdown at the same moment as the listener.
        let stop = draining.clone();
        let forward = tokio::spawn(async move {
            shutdown.cancelled().await;
            draining.cancel();
        });
        let watched = stop.clone();
        let watching = tokio::spawn(async move { door.watch(&watched).await });
        let tls = self.tls.as_ref().map(|tls| tls.acceptor()).transpose()?;
        let looking = self.tls.map(|tls| tokio::spawn(tls.watch(stop.clone())));
        let admin = self.admin.map(|(listener, admin)| {
            let router = around(admin::routes(admin), &self.state);
            tokio::spawn(Port { listener, tls: None, router, crowd: None }.serve(stop.clone()))
        });
        // Where nobody is asked who they are, everybody is at this machine.
        let crowd = self.state.door.people().map(|_| {
            let settings = &context.config.door;
            let addresses = Addresses::new(settings.connections_per_address, settings.trusted_proxies.clone());
            (addresses, self.state.door.metrics().clone())
        });
        Port { listener: self.listener, tls, router: router(self.state), crowd }.serve(stop).await;
        sessions.close();
        if timeout(DRAIN_DEADLINE, sessions.wait()).await.is_err() {
            tracing::warn!(left = sessions.len(), "sessions did not end in time and are cut off");
        }
        forward.abort();
        reading.cancel();
        // They end by themselves once told; they only fail when they were cancelled with the runtime.
        for ended in [Some(watching), Some(reader), looking, admin].into_iter().flatten() {
            drop(ended.await);
        }
        Ok(())
    }
}

/// People and their provider, as far as the configuration has them.
async fn open_sign_in(config: &GatewayConfig, bus: &Arc<dyn Bus>) -> Result<SignIn, GatewayError> {
    let AuthMode::On(identity) = &config.auth else { return Ok(SignIn::default()) };
    let clock = Clock::default();
    let trusted = jwks::trust(&identity.trusted_issuers, &clock)?;
    let provider = config.oidc.as_deref().cloned();
    let provider = provider.map(|oidc| Provider::new(oidc, Arc::clone(bus), clock.clone())).transpose()?;
    let people = People::open(identity, trusted, Arc::clone(bus), clock).await?;
    Ok(SignIn { people: Some(people), provider: provider.map(Arc::new) })
}

async fn listen(addr: SocketAddr, key: &'static str) -> Result<TcpListener, GatewayError> {
    TcpListener::bind(addr).await.map_err(|source| GatewayError::Bind { addr, key, source })
}
