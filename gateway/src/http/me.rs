//! What somebody with a token may ask besides a session: a ticket for a page, and who they are.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{address::ClientAddress, openapi::RefusalBody, paths};
use crate::door::{Door, Knock, TurnedAway, tickets::TICKET_TTL};

/// A ticket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TicketBody {
    /// To be offered as the WebSocket subprotocol `ticket.TICKET`, beside `subtide.v1`.
    ticket: String,
    /// Seconds for which it is good, once.
    expires_in: u64,
}

/// Who somebody is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// Whose limits and usage count.
    subject: String,
    /// E-mail address, for people who signed in here.
    email: Option<String>,
    /// Name, likewise.
    name: Option<String>,
    /// What the token allows, with spaces between the words.
    scope: String,
    /// When the token ends, seconds since the Unix epoch; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// Audio heard today (UTC), milliseconds.
    audio_today_ms: u64,
    /// Audio that may be sent in a day; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_ms: Option<u64>,
}

fn refused(door: &Door, away: TurnedAway) -> Response {
    door.metrics().count_refused(away.reason);
    away.into_response()
}

/// Makes a ticket: a page cannot send a header with its WebSocket.
#[utoipa::path(
    post, path = paths::TICKET, tag = "session", security(("bearer" = [])),
    responses(
        (status = 200, body = TicketBody),
        (status = 401, body = RefusalBody), (status = 403, body = RefusalBody),
        (status = 429, body = RefusalBody), (status = 503, body = RefusalBody),
    )
)]
pub(super) async fn ticket(
    State(door): State<Arc<Door>>,
    Extension(address): Extension<ClientAddress>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match door.ticket(Knock { headers: &headers, uri: &uri, address: address.0 }).await {
        Ok(ticket) => {
            let body = TicketBody { ticket, expires_in: TICKET_TTL.as_secs() };
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(away) => refused(&door, away),
    }
}

/// Who am I, and how much of today is used?
#[utoipa::path(
    get, path = paths::ME, tag = "session", security(("bearer" = [])),
    responses(
        (status = 200, body = Me), (status = 401, body = RefusalBody),
        (status = 429, body = RefusalBody), (status = 503, body = RefusalBody),
    )
)]
pub(super) async fn me(
    State(door): State<Arc<Door>>,
    Extension(address): Extension<ClientAddress>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match describe(&door, Knock { headers: &headers, uri: &uri, address: address.0 }).await {
        Ok(me) => ([(header::CACHE_CONTROL, "no-store")], Json(me)).into_response(),
        Err(away) => refused(&door, away),
    }
}

async fn describe(door: &Door, knock: Knock<'_>) -> Result<Me, TurnedAway> {
    let who = door.bearer(knock).await?;
    let person = match door.people() {
        Some(people) => people.person(&who.subject).await?,
        None => None,
    };
    let (email, name) = person.map_or((None, None), |person| (person.email, person.name));
    let audio_today_ms = door.limits().used_today(&who.subject).await?;
    let (scope, quota_ms) = (who.scopes.to_string(), door.limits().quota_ms());
    Ok(Me { subject: who.subject, email, name, scope, expires: who.expires, audio_today_ms, quota_ms })
}
