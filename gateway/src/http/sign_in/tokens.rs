//! The next tokens for a refresh token, and the end of a sign-in. A browser has its refresh token in a cookie, a program in
//! the body.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use identity::{Refused, Tokens};
use serde::{Deserialize, Serialize};
use shared::wire::ErrorCode;
use utoipa::ToSchema;

use super::{
    Desk,
    asked::{Asker, MaybeBody, is_same_origin},
    cookies::Name,
};
use crate::door::TurnedAway;

/// A refresh token that is no cookie.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshBody {
    /// As it was given out.
    refresh_token: String,
}

impl std::fmt::Debug for RefreshBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshBody").finish_non_exhaustive()
    }
}

/// What a person gets who signed in (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
pub struct TokensBody {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds that the access token is good for.
    expires_in: u64,
    /// Good for one refresh; absent where it travels in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Scopes, with spaces between them.
    scope: String,
    /// Whose they are.
    person: PersonBody,
}

/// Somebody who signed in.
#[derive(Serialize, ToSchema)]
pub struct PersonBody {
    /// The `sub` of the access token.
    id: String,
    /// As the provider told it.
    email: Option<String>,
    /// Likewise.
    name: Option<String>,
}

impl std::fmt::Debug for TokensBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokensBody").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PersonBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonBody").finish_non_exhaustive()
    }
}

impl TokensBody {
    pub(super) fn with_refresh_token(tokens: Tokens) -> Self {
        let refresh_token = Some(tokens.refresh_token.clone());
        Self { refresh_token, ..Self::without_refresh_token(tokens) }
    }

    fn without_refresh_token(tokens: Tokens) -> Self {
        let person = PersonBody { id: tokens.person.id, email: tokens.person.email, name: tokens.person.name };
        Self {
            access_token: tokens.access_token,
            token_type: tokens.token_type,
            expires_in: tokens.expires_in,
            refresh_token: None,
            scope: tokens.scope,
            person,
        }
    }
}

/// Where a refresh token was found.
enum Shown {
    Body(String),
    Cookie(String),
    Nowhere,
}

/// The next tokens. With the cookie, a page of our own origin has to ask; the answer then sets the next cookie.
#[utoipa::path(post, path = "/auth/refresh", tag = "sign-in", request_body = Option<RefreshBody>, responses(
    (status = 200, body = TokensBody),
    (status = 400, description = "bad_message"),
    (status = 401, description = "auth_error: no refresh token, or one that is not good any more; sign in again"),
    (status = 403, description = "forbidden: a foreign page asks, or this person may not come in any more"),
    (status = 404, description = "not_found: no sign-in here"),
    (status = 413, description = "too_large"),
    (status = 429, description = "rate_limited"),
    (status = 503, description = "unavailable: try again, with the same refresh token")))]
pub(super) async fn refresh(
    State(desk): State<Desk>,
    asker: Asker,
    headers: HeaderMap,
    MaybeBody(body): MaybeBody<RefreshBody>,
) -> Result<Response, TurnedAway> {
    let people = desk.people.for_request(&asker.request_id);
    match shown(&desk, &headers, body)? {
        Shown::Nowhere => Err(TurnedAway::new(ErrorCode::AuthError, "auth", "nobody is signed in here; sign in first")),
        Shown::Body(token) => {
            let tokens = people.refresh(&token, &asker.address).await?;
            Ok(Json(TokensBody::with_refresh_token(tokens)).into_response())
        }
        Shown::Cookie(token) => match people.refresh(&token, &asker.address).await {
            Ok(tokens) => {
                let cookie = desk.cookies.set(Name::Refresh, &tokens.refresh_token);
                Ok(with_cookie(Json(TokensBody::without_refresh_token(tokens)).into_response(), cookie))
            }
            // It may be good again when whatever is away is back.
            Err(Refused::Unavailable) => Err(Refused::Unavailable.into()),
            Err(refused) => {
                let response = TurnedAway::from(refused).into_response();
                Ok(with_cookie(response, desk.cookies.clear(Name::Refresh)))
            }
        },
    }
}

/// Ends a sign-in: no token of it is good any more, and its sockets are closed. Nobody to sign out is no error.
#[utoipa::path(post, path = "/auth/logout", tag = "sign-in", request_body = Option<RefreshBody>, responses(
    (status = 204, description = "signed out"),
    (status = 400, description = "bad_message"),
    (status = 403, description = "forbidden: a foreign page asks"),
    (status = 404, description = "not_found: no sign-in here"),
    (status = 413, description = "too_large"),
    (status = 429, description = "rate_limited"),
    (status = 503, description = "unavailable: forgotten here, not ended everywhere yet")))]
pub(super) async fn logout(
    State(desk): State<Desk>,
    asker: Asker,
    headers: HeaderMap,
    MaybeBody(body): MaybeBody<RefreshBody>,
) -> Result<Response, TurnedAway> {
    let people = desk.people.for_request(&asker.request_id);
    let (token, of_a_browser) = match shown(&desk, &headers, body)? {
        Shown::Nowhere => return Ok(StatusCode::NO_CONTENT.into_response()),
        Shown::Body(token) => (token, false),
        Shown::Cookie(token) => (token, true),
    };
    let response = match people.sign_out(&token).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => TurnedAway::from(refused).into_response(),
    };
    // Also when it could not be ended everywhere: whoever sits here next shall not be signed in.
    let cookie = of_a_browser.then(|| desk.cookies.clear(Name::Refresh)).flatten();
    Ok(with_cookie(response, cookie))
}

/// The refresh token of this request. A cookie counts only when a page of our own asks.
fn shown(desk: &Desk, headers: &HeaderMap, body: Option<RefreshBody>) -> Result<Shown, TurnedAway> {
    if let Some(RefreshBody { refresh_token }) = body {
        return Ok(Shown::Body(refresh_token));
    }
    let Some(token) = desk.cookies.get(Name::Refresh, headers) else { return Ok(Shown::Nowhere) };
    if !is_same_origin(headers, &desk.provider.config().origin()) {
        let message = "only this server's own page, at its PUBLIC_URL, may use the cookie of a sign-in";
        return Err(TurnedAway::new(ErrorCode::Forbidden, "origin", message));
    }
    Ok(Shown::Cookie(token.to_owned()))
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
