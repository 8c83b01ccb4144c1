//! The page that a person sees when a sign-in in the browser did not work out: what is wrong, and what to do. No script,
//! and nothing of the request.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};

use crate::door::TurnedAway;

/// With the status of `away`.
pub(super) fn of(away: &TurnedAway) -> Response {
    let status = StatusCode::from_u16(away.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Sign-in did not work</title>\n\
         <main>\n<h1>Sign-in did not work</h1>\n<p>{}.</p>\n<p><a href=\"/\">Back to the page, to begin again</a></p>\n\
         </main>\n</html>\n",
        sentence(&away.message)
    );
    let mut response = (status, Html(page)).into_response();
    if let Some(after) = away.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

/// Ours, and escaped all the same: one day somebody writes an ampersand.
fn sentence(message: &str) -> String {
    let escaped = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut letters = escaped.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}
