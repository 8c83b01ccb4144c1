//! The page that a person sees when a sign-in in the browser did not work out: what is wrong, and what to do. No script,
//! and nothing of the request.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};

use shared::wire::ErrorCode;

use crate::door::TurnedAway;

/// Its own style, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = ":root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;\
                     margin:15vh auto;padding:0 1rem}h1{font-size:1.5rem}";

/// With the status of `away`.
pub(super) fn of(away: &TurnedAway) -> Response {
    let status = StatusCode::from_u16(away.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Whoever may not come in needs another account, and a provider that remembers the last one does not ask by itself.
    let (link, text) = if away.code == ErrorCode::Forbidden {
        ("/auth/login?choose=true", "Use another account")
    } else {
        ("/", "Back to the page, to begin again")
    };
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Sign-in did not work</title>\n\
         <style>{STYLE}</style>\n<main>\n<h1>Sign-in did not work</h1>\n<p>{}.</p>\n<p><a href=\"{link}\">{text}</a></p>\n\
         </main>\n</html>\n",
        sentence(&away.message)
    );
    let mut response = (status, [(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response();
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
