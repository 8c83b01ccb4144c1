//! What the routes of sign-in take of a request, bounded.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use shared::wire::ErrorCode;

use crate::{
    door::TurnedAway,
    http::{address::ClientAddress, hygiene::RequestId},
};

/// A JSON body of exactly the fields that are known; `None` where there is no body.
///
/// Without `Content-Type: application/json` it is refused: a form of a foreign page cannot send that.
#[derive(Debug)]
pub(super) struct MaybeBody<T>(pub(super) Option<T>);

/// The same where there must be one.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for MaybeBody<T> {
    type Rejection = TurnedAway;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let bad = |message| TurnedAway::new(ErrorCode::BadMessage, "body", message);
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| unread(&rejection))?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        if !is_json {
            return Err(bad("the body must be JSON, with the header Content-Type: application/json"));
        }
        // The reason stays here: it would have parts of the body in it.
        let Ok(Json(value)) = Json::from_bytes(&bytes) else {
            return Err(bad(
                "the body is not the JSON that is wanted here: a field is missing, unknown or of another type",
            ));
        };
        Ok(Self(Some(value)))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = TurnedAway;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let MaybeBody(body) = MaybeBody::from_request(request, state).await?;
        let missing = || TurnedAway::new(ErrorCode::BadMessage, "body", "a JSON body is wanted here");
        Ok(Self(body.ok_or_else(missing)?))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn unread(rejection: &BytesRejection) -> TurnedAway {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return TurnedAway::new(ErrorCode::TooLarge, "body", "the body is too large; 8 KiB are the limit here");
    }
    TurnedAway::new(ErrorCode::BadMessage, "body", "the body broke off")
}

/// Who asks, for the audit.
#[derive(Debug, Clone, Default)]
pub(super) struct Asker {
    /// Where it comes from; empty when nobody knows.
    pub(super) address: String,
    /// Finds the request in the logs; empty when it has none.
    pub(super) request_id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let address = parts.extensions.get::<ClientAddress>().map(|ClientAddress(ip)| ip.to_string());
        let id = parts.extensions.get::<RequestId>().map(|RequestId(id)| id.as_ref().to_owned());
        Ok(Self { address: address.unwrap_or_default(), request_id: id.unwrap_or_default() })
    }
}

/// Whether a page of our own origin asks: what a cookie does must not be done for another's page (RFC 6454, Fetch
/// Metadata). A browser that sends neither header is too old to be sure.
pub(super) fn is_same_origin(headers: &HeaderMap, origin: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("origin"), text("sec-fetch-site")) {
        (Some(found), site) => found == origin && site.is_none_or(|site| site == "same-origin"),
        (None, Some(site)) => site == "same-origin",
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_a_page_of_our_own_may_use_the_cookie() {
        let own = "https://captions.example.com";
        let asks = |pairs: &[(&'static str, &'static str)]| {
            let pair =
                |(k, v): &(&'static str, &'static str)| (HeaderName::from_static(k), HeaderValue::from_static(v));
            is_same_origin(&pairs.iter().map(pair).collect(), own)
        };
        assert!(asks(&[("origin", own)]));
        assert!(asks(&[("sec-fetch-site", "same-origin")]));
        assert!(asks(&[("origin", own), ("sec-fetch-site", "same-origin")]));
        for foreign in [
            "https://evil.example",
            "null",
            "",
            "https://captions.example.com.evil.example",
            "http://captions.example.com",
        ] {
            assert!(!asks(&[("origin", foreign)]), "{foreign}");
            assert!(!asks(&[("origin", foreign), ("sec-fetch-site", "same-origin")]), "{foreign}");
        }
        assert!(!asks(&[("sec-fetch-site", "same-site")]));
        assert!(!asks(&[("sec-fetch-site", "cross-site"), ("origin", own)]));
        assert!(!asks(&[]));
    }
}
