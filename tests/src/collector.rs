//! What services report to: a collector of traces that speaks OTLP over HTTP, and a tracker of errors that speaks Sentry's
//! protocol. Real servers, which decode what they get and keep it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value as AnyValue},
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message as _;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// A span as a collector knows it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The service that sent it.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Id of its trace, in hexadecimal digits.
    pub trace: String,
    /// Its own id, likewise.
    pub id: String,
    /// The id of the span it is below; empty for none.
    pub parent: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Likewise.
    pub end: u64,
    /// Whether it failed.
    pub failed: bool,
    /// What it says of itself.
    pub attributes: BTreeMap<String, String>,
}

impl Seen {
    /// An attribute; empty when it is not there.
    #[must_use]
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

type Kept<T> = Arc<Mutex<Vec<T>>>;

fn kept<T: Clone>(kept: &Kept<T>) -> Vec<T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A server that ends with this.
#[derive(Debug)]
struct Server {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn spawn(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|e| panic!("no free port: {e}"));
        let addr = listener.local_addr().unwrap_or_else(|e| panic!("no free port: {e}"));
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self { addr, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A collector of traces.
#[derive(Debug)]
pub struct Collector {
    server: Server,
    spans: Kept<Seen>,
    headers: Kept<HeaderMap>,
}

type Export = (Kept<Seen>, Kept<HeaderMap>);

impl Collector {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn spawn() -> Self {
        let (spans, headers) = <Export>::default();
        let state: Export = (Arc::clone(&spans), Arc::clone(&headers));
        let server = Server::spawn(Router::new().route("/v1/traces", post(export)).with_state(state)).await;
        Self { server, spans, headers }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    /// All spans that came.
    #[must_use]
    pub fn spans(&self) -> Vec<Seen> {
        kept(&self.spans)
    }

    /// The headers of all requests that came.
    #[must_use]
    pub fn headers(&self) -> Vec<HeaderMap> {
        kept(&self.headers)
    }
}

async fn export(
    State((spans, headers)): State<Export>,
    head: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, HeaderMap::new(), Vec::new());
    };
    headers.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    for resource in request.resource_spans {
        let about = attributes(resource.resource.unwrap_or_default().attributes);
        let service = about.get("service.name").cloned().unwrap_or_default();
        let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.lock().unwrap_or_else(PoisonError::into_inner).extend(all.map(|span| seen(&service, span)));
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    let kind = [(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-protobuf"))];
    (StatusCode::OK, HeaderMap::from_iter(kind), answer)
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(AnyValue::StringValue(text)) => text.clone(),
        Some(AnyValue::IntValue(number)) => number.to_string(),
        Some(AnyValue::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn seen(service: &str, span: Span) -> Seen {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Seen {
        service: service.to_owned(),
        kind: span.kind(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        failed: span.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error),
        name: span.name,
        attributes: attributes(span.attributes),
    }
}

/// A tracker of errors.
#[derive(Debug)]
pub struct Tracker {
    server: Server,
    envelopes: Kept<String>,
}

impl Tracker {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn spawn() -> Self {
        let envelopes: Kept<String> = Arc::default();
        let take = async |State(envelopes): State<Kept<String>>, body: Bytes| {
            let text = String::from_utf8_lossy(&body).into_owned();
            envelopes.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            "{}"
        };
        let router = Router::new().route("/api/7/envelope/", post(take)).with_state(Arc::clone(&envelopes));
        Self { server: Server::spawn(router).await, envelopes }
    }

    /// What `SENTRY_DSN` is to be.
    #[must_use]
    pub fn dsn(&self) -> String {
        format!("http://key@{}/7", self.server.addr)
    }

    /// The events that came. An envelope is lines of JSON: its head, then the head and the body of each item.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let envelopes = kept(&self.envelopes);
        let lines = envelopes.iter().flat_map(|envelope| envelope.lines());
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|item: &Value| item["platform"].is_string())
            .collect()
    }

    /// All that came, as it came.
    #[must_use]
    pub fn envelopes(&self) -> Vec<String> {
        kept(&self.envelopes)
    }
}
