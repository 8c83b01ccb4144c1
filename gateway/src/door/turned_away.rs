//! Why somebody was turned away before a session began.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use identity::Refused;
use shared::wire::{ErrorCode, Refusal};

/// A refusal: what the client is told, and the word under which it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// Stable code; decides the HTTP status.
    pub code: ErrorCode,
    /// What is wrong and what to do. Never what was sent.
    pub message: String,
    /// When it may be worth trying again.
    pub retry_after: Option<Duration>,
    /// Label of the metric, one of a closed set.
    pub reason: &'static str,
}

impl TurnedAway {
    /// A refusal that trying again does not change.
    pub(crate) fn new(code: ErrorCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, reason }
    }

    /// Try again after this.
    pub(crate) fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    /// What a part of the server that is away answers.
    pub(crate) fn unavailable() -> Self {
        let message = "a part of the server is away; try again in a moment";
        Self::new(ErrorCode::Unavailable, "unavailable", message).after(Duration::from_secs(2))
    }
}

impl From<Refused> for TurnedAway {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Forbidden(_) => Self::new(ErrorCode::Forbidden, "auth", message),
            Refused::Unavailable => Self { message, ..Self::unavailable() },
            _ => Self::new(ErrorCode::AuthError, "auth", message),
        }
    }
}

/// Whole seconds, as Retry-After is written (RFC 9110 §10.2.3), rounded up: who comes back then is not too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The layer that knows the request's id puts it in.
        let body = Refusal { code: self.code, message: self.message, request_id: String::new() };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after).max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_its_status_and_when_to_come_back() {
        let away = TurnedAway::new(ErrorCode::RateLimited, "rate", "too fast").after(Duration::from_millis(1200));
        let response = away.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let response = TurnedAway::from(Refused::Expired).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(TurnedAway::from(Refused::Unavailable).into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(TurnedAway::from(Refused::Forbidden("no")).code, ErrorCode::Forbidden);
    }
}
