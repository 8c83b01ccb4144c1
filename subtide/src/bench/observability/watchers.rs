//! Those who watch: one who scrapes every second as Prometheus does, and a collector that takes traces and drops them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{Router, body::Bytes, extract::State, routing::post};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// How often metrics are scraped; Prometheus is rarely set to less than 15 s.
const EVERY: Duration = Duration::from_secs(1);

/// What came.
#[derive(Debug, Default)]
struct Seen {
    scrapes: AtomicU64,
    trace_requests: AtomicU64,
    trace_bytes: AtomicU64,
}

/// Watchers of one server; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Watchers {
    seen: Arc<Seen>,
    client: reqwest::Client,
    collector: SocketAddr,
    collecting: JoinHandle<()>,
    scraping: Option<JoinHandle<()>>,
}

impl Watchers {
    /// Opens the collector.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let seen = Arc::new(Seen::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a collector")?;
        let collector = listener.local_addr()?;
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&seen));
        let collecting = tokio::spawn(async move {
            // It ends with the program; what it lost is seen in its counts.
            axum::serve(listener, router).await.ok();
        });
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { seen, client, collector, collecting, scraping: None })
    }

    /// Where the collector is.
    pub(super) fn collector_url(&self) -> String {
        format!("http://{}", self.collector)
    }

    /// Scrapes `health` every second from now on.
    pub(super) fn scrape(&mut self, health: SocketAddr) {
        self.rest();
        let (client, seen) = (self.client.clone(), Arc::clone(&self.seen));
        self.scraping = Some(tokio::spawn(async move {
            let mut clock = interval(EVERY);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                if let Ok(answer) = client.get(format!("http://{health}/metrics")).send().await
                    && answer.bytes().await.is_ok_and(|text| !text.is_empty())
                {
                    seen.scrapes.fetch_add(1, Relaxed);
                }
            }
        }));
    }

    /// Stops scraping.
    pub(super) fn rest(&mut self) {
        if let Some(scraping) = self.scraping.take() {
            scraping.abort();
        }
    }

    pub(super) fn scrapes(&self) -> u64 {
        self.seen.scrapes.load(Relaxed)
    }

    pub(super) fn trace_requests(&self) -> u64 {
        self.seen.trace_requests.load(Relaxed)
    }

    pub(super) fn trace_bytes(&self) -> u64 {
        self.seen.trace_bytes.load(Relaxed)
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.rest();
        self.collecting.abort();
    }
}

/// An empty body is an `ExportTraceServiceResponse` without a complaint.
async fn take(State(seen): State<Arc<Seen>>, body: Bytes) {
    seen.trace_requests.fetch_add(1, Relaxed);
    seen.trace_bytes.fetch_add(body.len() as u64, Relaxed);
}
