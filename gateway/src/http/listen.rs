//! Accepts connections, with TLS or without, and serves each in a task of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::shutdown::CancellationToken;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::{
    addresses::{Addresses, Visit},
    hygiene::Peer,
};
use crate::door::metrics::DoorMetrics;

/// Longest time for a TLS handshake.
const TLS_WITHIN: Duration = Duration::from_secs(10);
/// Longest time until the head of a request is there, from the connection or from the answer before it.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Largest head of a request: far above what browsers send.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long answers that are no sessions may take to end once the server stops.
const PAGE_DEADLINE: Duration = Duration::from_secs(3);
/// How long accepting waits after an error that is not of one connection, such as too many open files.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// Connections at once that are not (yet) sessions; more wait in the operating system's queue. Each ends within
/// [`HEAD_WITHIN`] unless it asks for something.
const MAX_CONNECTIONS: usize = 4096;

/// A port that is served.
pub(super) struct Port {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    /// `None`: an address may have any number of connections.
    pub(super) crowd: Option<(Arc<Addresses>, DoorMetrics)>,
}

impl Port {
    /// A place for another connection of `peer`; `None` where it has as many as it may. It is closed without a word: there may
    /// be thousands, and a word would cost a TLS handshake.
    fn let_in(&self, peer: SocketAddr) -> Option<Option<Visit>> {
        let Some((addresses, metrics)) = &self.crowd else { return Some(None) };
        let visit = addresses.enter(peer.ip());
        if visit.is_none() {
            metrics.count_refused("connections");
        }
        visit.map(Some)
    }

    /// Serves until `stop`, and then for a few seconds what is under way. Sessions are none of its business: they have their
    /// own tasks.
    pub(super) async fn serve(self, stop: CancellationToken) {
        let (connections, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        let cut = CancellationToken::new();
        while let Some(Ok(place)) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
            let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await else { break };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    sleep(AFTER_ERROR).await;
                    continue;
                }
            };
            let Some(visit) = self.let_in(peer) else { continue };
            let (router, stop) = (self.router.clone(), stop.clone());
            let connection = Connection { peer, router, stop, _place: place, _visit: visit };
            let tls = self.tls.clone();
            let cut = cut.clone();
            connections.spawn(async move { cut.run_until_cancelled(connection.open(stream, tls)).await });
        }
        drop(self.listener);
        connections.close();
        if timeout(PAGE_DEADLINE, connections.wait()).await.is_err() {
            tracing::debug!(left = connections.len(), "connections that did not end are cut off");
            cut.cancel();
        }
    }
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
    _visit: Option<Visit>,
}

impl Connection {
    async fn open(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Captions are small and wait for nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is gone already");
        }
        let Some(tls) = tls else { return self.serve(stream).await };
        match timeout(TLS_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(|request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(self.peer));
            // A router is always ready.
            self.router.clone().call(request)
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MAX_HEAD_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection broke");
        }
    }
}
