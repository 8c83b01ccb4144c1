//! Who is here: the sessions of all gateways.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::wire::ErrorCode;
use utoipa::ToSchema;

use super::{super::openapi::RefusalBody, Admin};
use crate::door::{TurnedAway, credentials::session_id, live::LiveSession};

/// The sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    /// How many there are.
    count: usize,
    /// The first thousand, in the order of their ids.
    sessions: Vec<LiveSession>,
}

/// The sessions of all gateways.
#[utoipa::path(
    get, path = "/admin/sessions", tag = "admin", security(("bearer" = [])),
    responses(
        (status = 200, body = Sessions), (status = 401, body = RefusalBody), (status = 403, body = RefusalBody),
        (status = 503, body = RefusalBody),
    )
)]
pub(crate) async fn list(State(admin): State<Admin>) -> Response {
    match admin.door.live().list().await {
        Ok((sessions, count)) => Json(Sessions { count, sessions }).into_response(),
        Err(_) => TurnedAway::unavailable().into_response(),
    }
}

/// Closes a session, at whichever gateway it is, within two seconds.
#[utoipa::path(
    delete, path = "/admin/sessions/{id}", tag = "admin", security(("bearer" = [])),
    params(("id" = String, Path, description = "The session")),
    responses(
        (status = 202, description = "It is being closed"), (status = 400, body = RefusalBody),
        (status = 401, body = RefusalBody), (status = 403, body = RefusalBody), (status = 503, body = RefusalBody),
    )
)]
pub(crate) async fn close(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    let Some(id) = session_id(&id) else {
        return TurnedAway::new(ErrorCode::BadMessage, "http", "that is no id of a session").into_response();
    };
    match admin.people.revocations().close_session(&id).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refused) => TurnedAway::from(refused).into_response(),
    }
}
