//! What every answer has in common: an id, a time limit, a body limit, headers, and errors of one shape.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use shared::wire::{ErrorCode, Refusal};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::{
    address::{ClientAddress, client_address},
    paths,
};
use crate::door::{Door, TurnedAway};

/// Largest body of a request.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest time for an answer; a session is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Largest body of an error that is looked into.
const MAX_ERROR_BYTES: usize = 16 * 1024;
/// Longest id that is taken over from a client.
const MAX_ID_BYTES: usize = 64;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a page may do: its own scripts and styles, its own WebSocket, nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                           font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The id of a request: the client's own, if it is a plain word, or ours. An extension of every request; it stands in every
/// line of the log and in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// The TCP peer of a connection; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What the layer around all routes knows.
#[derive(Debug, Clone)]
pub(super) struct Hygiene {
    pub(super) door: Arc<Door>,
    pub(super) trusted: Arc<[ipnet::IpNet]>,
    /// Whether browsers shall come back by HTTPS only.
    pub(super) strict_transport: bool,
}

/// The layer around all routes.
pub(super) async fn around(State(hygiene): State<Hygiene>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let span = tracing::error_span!("request", request = %id.0);
    // Only a test that calls the routes without a connection has no peer.
    let peer = request.extensions().get::<Peer>().map_or_else(|| ([127, 0, 0, 1], 0).into(), |peer| peer.0);
    let address = client_address(peer.ip(), request.headers(), &hygiene.trusted);
    request.extensions_mut().insert(address);
    request.extensions_mut().insert(id.clone());
    let answer = answer(&hygiene, address, request, next);
    let response = with_request_id(answer.instrument(span.clone()).await, &id).instrument(span).await;
    with_headers(response, &id, hygiene.strict_transport)
}

async fn answer(hygiene: &Hygiene, address: ClientAddress, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if content_length(request.headers()) > MAX_BODY_BYTES as u64 {
        return simple(ErrorCode::TooLarge, "the body is above the limit of 65536 bytes").into_response();
    }
    if path == paths::STREAM {
        return next.run(request).await;
    }
    // What a page asks before anybody signs in is no attempt at anything; and signing out must always be possible.
    if path.starts_with("/auth/")
        && !["/auth/config", "/auth/logout"].contains(&path)
        && let Err(away) = hygiene.door.limits().sign_in(address.0).await
    {
        hygiene.door.metrics().count_refused(away.reason);
        return away.into_response();
    }
    let ends_sign_in = ["/auth/finish", "/auth/callback"].contains(&path);
    let answer = timeout(ANSWER_WITHIN, next.run(request)).await;
    if ends_sign_in {
        // Whoever it was that did not answer in time is as good as away.
        let status = answer.as_ref().map_or(StatusCode::SERVICE_UNAVAILABLE, Response::status);
        hygiene.door.metrics().count_sign_in(status);
    }
    answer.unwrap_or_else(|_| simple(ErrorCode::Timeout, "the answer took too long; try again").into_response())
}

fn simple(code: ErrorCode, message: &str) -> TurnedAway {
    TurnedAway::new(code, "http", message)
}

fn content_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn request_id(headers: &HeaderMap) -> RequestId {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let theirs = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let theirs = theirs.filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(plain));
    RequestId(theirs.map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned).into())
}

/// An error as every error looks, with the id of its request: what a route said of it, or what its status says. Pages stay
/// as they are.
async fn with_request_id(response: Response, id: &RequestId) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || kind.starts_with("text/html") {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = to_bytes(body, MAX_ERROR_BYTES).await.unwrap_or_default();
    let mut refusal = serde_json::from_slice::<Refusal>(&said).unwrap_or_else(|_| by_status(status));
    id.0.as_ref().clone_into(&mut refusal.request_id);
    tracing::debug!(status = status.as_u16(), code = refusal.code.as_str(), "refused");
    let mut told = Json(refusal).into_response();
    *told.status_mut() = status;
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            told.headers_mut().append(name, value.clone());
        }
    }
    told
}

fn by_status(status: StatusCode) -> Refusal {
    let (code, message) = match status {
        StatusCode::NOT_FOUND => (ErrorCode::NotFound, "nothing of that name is here"),
        StatusCode::METHOD_NOT_ALLOWED => {
            (ErrorCode::BadMessage, "this address does not take that method; the header Allow says which")
        }
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::TooLarge, "the body is above the limit of 65536 bytes"),
        StatusCode::REQUEST_TIMEOUT => (ErrorCode::Timeout, "the request took too long; try again"),
        StatusCode::UNAUTHORIZED => (ErrorCode::AuthError, "a credential is needed"),
        StatusCode::FORBIDDEN => (ErrorCode::Forbidden, "that is not allowed"),
        StatusCode::TOO_MANY_REQUESTS => (ErrorCode::RateLimited, "requests come too fast; wait a moment"),
        StatusCode::SERVICE_UNAVAILABLE => (ErrorCode::Unavailable, "a part of the server is away; try again"),
        status if status.is_client_error() => (ErrorCode::BadMessage, "the request cannot be understood"),
        _ => (ErrorCode::Internal, "a fault of the server's own"),
    };
    Refusal { code, message: message.to_owned(), request_id: String::new() }
}

fn with_headers(mut response: HttpResponse<Body>, id: &RequestId, strict_transport: bool) -> Response {
    let headers = response.headers_mut();
    // A route may have been stricter.
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(HeaderName::from_static("permissions-policy"), "microphone=(self), display-capture=(self)");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    if strict_transport {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    set(header::CACHE_CONTROL, "no-cache");
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_taken_over_and_any_other_replaced() {
        let of = |id: &str| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap())]);
            request_id(&headers).0.to_string()
        };
        assert_eq!(of("a-B_1.2"), "a-B_1.2");
        let long = "a".repeat(65);
        for bad in ["", "a b", "a\"b", "é", "a=b", "{}", &long] {
            let ours = of(bad);
            assert!(ours.len() == 32 && ours != bad, "{bad}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
