//! The WebSocket handshake: everything is decided before the 101.

use axum::{
    Extension,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use shared::wire::{ErrorCode, SUBPROTOCOL};
use tracing::{Instrument as _, field::Empty};

use super::{AppState, address::ClientAddress, openapi::RefusalBody, paths};
use crate::{
    door::{Knock, TurnedAway},
    session,
};

/// The library's own limits: above [`shared::wire::MAX_MESSAGE_BYTES`], so that a frame a little too large still gets
/// an error that says so.
const LIBRARY_MAX_BYTES: usize = 256 * 1024;
/// tungstenite takes this much for every connection; its default of 128 KiB costs 1.3 GB at 10,000 connections.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Opens a session: a WebSocket handshake, with the messages of docs/PROTOCOL.md behind it. Everything that can be refused
/// is refused before the 101, with a status and a reason.
#[utoipa::path(
    get, path = paths::STREAM, tag = "session", security((), ("bearer" = [])),
    responses(
        (status = 101, description = "The WebSocket is open; send `start`"),
        (status = 400, body = RefusalBody, description = "A token in the URL"),
        (status = 401, body = RefusalBody), (status = 403, body = RefusalBody),
        (status = 426, body = RefusalBody, description = "No WebSocket handshake"),
        (status = 429, body = RefusalBody), (status = 503, body = RefusalBody),
    )
)]
pub(super) async fn open(
    State(state): State<AppState>,
    Extension(address): Extension<ClientAddress>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let away = |away: TurnedAway| {
        state.door.metrics().count_refused(away.reason);
        away.into_response()
    };
    let Ok(upgrade) = upgrade else {
        let message = "this address speaks WebSocket only; connect with ws:// and the subprotocol subtide.v1";
        let mut response = away(TurnedAway::new(ErrorCode::UpgradeRequired, "handshake", message));
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    let guest = match state.door.admit(Knock { headers: &headers, uri: &uri, address: address.0 }).await {
        Ok(guest) => guest,
        Err(refused) => return away(refused),
    };
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(LIBRARY_MAX_BYTES)
        .max_message_size(LIBRARY_MAX_BYTES)
        .max_frame_size(LIBRARY_MAX_BYTES);
    let (context, shutdown, sessions) = (state.context, state.shutdown, state.sessions);
    let trace = headers.get("traceparent").and_then(|parent| parent.to_str().ok()?.parse().ok());
    // The ids of the request and, once it has one, of the session stand in every line that the session writes.
    let span = tracing::error_span!("session", session = Empty);
    upgrade.on_upgrade(move |socket| {
        sessions.track_future(session::serve(socket, guest, trace, context, shutdown).instrument(span))
    })
}
