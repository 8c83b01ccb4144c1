//! Who was here, and how much of them was heard.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use shared::wire::ErrorCode;
use utoipa::{IntoParams, ToSchema};

use super::{super::openapi::RefusalBody, Admin};
use crate::door::TurnedAway;

/// People on one page.
const PAGE: u32 = 100;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    /// The last id of the page before.
    #[serde(default)]
    after: String,
}

/// Which day.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Day {
    /// `YYYY-MM-DD` (UTC); today when absent.
    day: Option<String>,
}

/// Somebody who signed in once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// Ours.
    id: String,
    /// The provider that vouches for them.
    issuer: String,
    /// Verified address.
    email: Option<String>,
    /// Name.
    name: Option<String>,
    /// Whether they are kept out.
    disabled: bool,
    /// First seen, seconds since the Unix epoch.
    created: i64,
    /// Last signed in, likewise.
    last_seen: i64,
}

/// Audio of one subject in one day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// A person, an API key, or somebody of a trusted issuer.
    subject: String,
    /// `YYYY-MM-DD` (UTC).
    day: String,
    /// Audio heard, milliseconds.
    audio_ms: i64,
}

/// People, a hundred at a time, in the order of their ids.
#[utoipa::path(
    get, path = "/admin/users", tag = "admin", security(("bearer" = [])), params(After),
    responses(
        (status = 200, body = [User]), (status = 401, body = RefusalBody), (status = 403, body = RefusalBody),
        (status = 503, body = RefusalBody),
    )
)]
pub(crate) async fn list(State(admin): State<Admin>, Query(After { after }): Query<After>) -> Response {
    let rows = match admin.people.list(&after, PAGE).await {
        Ok(rows) => rows,
        Err(refused) => return TurnedAway::from(refused).into_response(),
    };
    let users = rows.into_iter().map(|row| User {
        id: row.id,
        issuer: row.issuer,
        email: row.email,
        name: row.name,
        disabled: row.disabled,
        created: row.created,
        last_seen: row.last_seen,
    });
    Json(users.collect::<Vec<_>>()).into_response()
}

/// Ends everything a person has: sign-ins, tokens, live sessions. They can sign in again.
#[utoipa::path(
    post, path = "/admin/users/{id}/sign-out", tag = "admin", security(("bearer" = [])),
    params(("id" = String, Path, description = "The person")),
    responses(
        (status = 202, description = "Every gateway hears of it within two seconds"),
        (status = 401, body = RefusalBody), (status = 403, body = RefusalBody), (status = 404, body = RefusalBody),
        (status = 503, body = RefusalBody),
    )
)]
pub(crate) async fn sign_out(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    match admin.people.sign_out_everywhere(&id).await {
        Ok(true) => StatusCode::ACCEPTED.into_response(),
        Ok(false) => TurnedAway::new(ErrorCode::NotFound, "http", "there is nobody with this id").into_response(),
        Err(refused) => TurnedAway::from(refused).into_response(),
    }
}

/// Audio heard in a day, the most first, at most a thousand subjects.
#[utoipa::path(
    get, path = "/admin/usage", tag = "admin", security(("bearer" = [])), params(Day),
    responses(
        (status = 200, body = [Usage]), (status = 400, body = RefusalBody), (status = 401, body = RefusalBody),
        (status = 403, body = RefusalBody), (status = 503, body = RefusalBody),
    )
)]
pub(crate) async fn usage(State(admin): State<Admin>, Query(Day { day }): Query<Day>) -> Response {
    let is_day = |day: &str| day.len() == 10 && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if !day.as_deref().is_none_or(is_day) {
        return TurnedAway::new(ErrorCode::BadMessage, "http", "write the day as YYYY-MM-DD").into_response();
    }
    match admin.people.usage_of(day.as_deref()).await {
        Ok(rows) => {
            let usage =
                rows.into_iter().map(|row| Usage { subject: row.subject, day: row.day, audio_ms: row.audio_ms });
            Json(usage.collect::<Vec<_>>()).into_response()
        }
        Err(refused) => TurnedAway::from(refused).into_response(),
    }
}
