//! The WebSocket handshake: everything is decided before the 101.

use axum::{
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use shared::wire::{ErrorCode, SUBPROTOCOL};

use super::AppState;
use crate::{door::TurnedAway, session};

/// The library's own limits: above [`shared::wire::MAX_MESSAGE_BYTES`], so that a frame a little too large still gets
/// an error that says so.
const LIBRARY_MAX_BYTES: usize = 256 * 1024;
/// tungstenite takes this much for every connection; its default of 128 KiB costs 1.3 GB at 10,000 connections.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Answers the WebSocket handshake, or refuses it with a status and a reason before the 101.
pub(super) async fn open(
    State(state): State<AppState>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let away = |away: TurnedAway| {
        state.context.metrics.refused.with_label_values(&[away.reason]).inc();
        away.into_response()
    };
    let Ok(upgrade) = upgrade else {
        let message = "this address speaks WebSocket only; connect with ws:// and the subprotocol subtide.v1";
        return away(TurnedAway::new(ErrorCode::UpgradeRequired, "handshake", message));
    };
    let guest = match state.door.admit(&headers).await {
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
    upgrade.on_upgrade(move |socket| sessions.track_future(session::serve(socket, guest, context, shutdown)))
}
