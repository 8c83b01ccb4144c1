//! Sign-in of a browser: to the provider and back, the refresh token ends up in a cookie.

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use identity::oidc::{Failed, provider::Answer};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Desk, asked::Asker, cookies::Name, page};
use crate::door::TurnedAway;

/// Longest path to return to, bytes.
const MAX_RETURN_BYTES: usize = 512;

/// Where to go after the sign-in.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LoginQuery {
    /// A path of this server, such as `/`; nothing else.
    #[serde(default, rename = "return")]
    return_to: Option<String>,
}

/// What the provider sends along (RFC 6749 §4.1.2, RFC 9207); it may send more.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// Good once, for the ID token.
    code: Option<String>,
    /// The one that was given out.
    state: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    /// Who sends it.
    iss: Option<String>,
}

/// Sends the browser to the provider.
#[utoipa::path(get, path = "/auth/login", tag = "sign-in", params(LoginQuery), responses(
    (status = 303, description = "to the provider"),
    (status = 400, description = "a page: `return` is no path of this server"),
    (status = 404, description = "not_found: no sign-in here"),
    (status = 503, description = "a page: the provider is away")))]
pub(super) async fn login(State(desk): State<Desk>, query: Result<Query<LoginQuery>, QueryRejection>) -> Response {
    let wanted = query.ok().map(|Query(query)| query.return_to.unwrap_or_else(|| "/".to_owned()));
    let Some(return_to) = wanted.filter(|path| is_own_path(path)) else {
        return page::of(&Failed::Request("`return` must be a path of this server, such as /").into());
    };
    let started = match desk.provider.start_browser(return_to).await {
        Ok(started) => started,
        Err(failed) => return page::of(&failed.into()),
    };
    let mut response = see_other(&started.authorize_url);
    put(&mut response, desk.cookies.set(Name::Login, &started.login_id));
    response
}

/// Takes the browser back from the provider: sets the cookie with the refresh token, and sends it where it came from.
#[utoipa::path(get, path = "/auth/callback", tag = "sign-in", params(CallbackQuery), responses(
    (status = 303, description = "signed in; to the page"),
    (status = 401, description = "a page: the sign-in is unknown, over, or does not hold"),
    (status = 403, description = "a page: this person may not come in"),
    (status = 404, description = "not_found: no sign-in here"),
    (status = 503, description = "a page: the provider or a part of the server is away")))]
pub(super) async fn callback(
    State(desk): State<Desk>,
    asker: Asker,
    headers: HeaderMap,
    query: Result<Query<CallbackQuery>, QueryRejection>,
) -> Response {
    let login_id = desk.cookies.get(Name::Login, &headers).map(str::to_owned);
    let mut response = match welcome(&desk, &asker, login_id, query.ok().map(|Query(query)| query)).await {
        Ok(response) => response,
        Err(away) => page::of(&away),
    };
    put(&mut response, desk.cookies.clear(Name::Login));
    response
}

async fn welcome(
    desk: &Desk,
    asker: &Asker,
    login_id: Option<String>,
    query: Option<CallbackQuery>,
) -> Result<Response, TurnedAway> {
    let signed_in = match answer(desk, login_id, query) {
        Ok(answer) => desk.provider.finish_browser(answer).await,
        Err(failed) => Err(failed),
    };
    let signed_in = match signed_in {
        Ok(signed_in) => signed_in,
        Err(failed) => return Err(desk.failed(failed, asker).await),
    };
    let people = desk.people.for_request(&asker.request_id);
    let tokens = people.sign_in(&signed_in.who, &signed_in.device, &asker.address).await?;
    let mut response = see_other(&signed_in.return_to);
    put(&mut response, desk.cookies.set(Name::Refresh, &tokens.refresh_token));
    Ok(response)
}

fn answer(desk: &Desk, login_id: Option<String>, query: Option<CallbackQuery>) -> Result<Answer, Failed> {
    let CallbackQuery { code, state, error, iss } = query.ok_or(Failed::State)?;
    let login_id = login_id.ok_or(Failed::Unknown)?;
    if iss.is_some_and(|issuer| !desk.provider.is_issuer(&issuer)) {
        return Err(Failed::State);
    }
    match error.as_deref() {
        None => (),
        Some("server_error" | "temporarily_unavailable") => return Err(Failed::Away),
        Some(_) => return Err(Failed::Declined),
    }
    let (code, state) = (code.ok_or(Failed::Code)?, state.ok_or(Failed::State)?);
    Ok(Answer { login_id, state, code, code_verifier: String::new() })
}

/// Whether a browser that is sent to `path` stays on our own origin: one slash, no backslash (browsers take it for a slash),
/// nothing that they leave out.
fn is_own_path(path: &str) -> bool {
    let plain = path.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    // Below /auth there is no page to return to, but there are ways to go round in circles.
    let a_page = !path.starts_with("/auth/");
    path.len() <= MAX_RETURN_BYTES && path.starts_with('/') && !path.contains("//") && plain && a_page
}

fn see_other(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => page::of(&Failed::Setup.into()),
    }
}

fn put(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_returns_to_a_path_of_ours_and_nowhere_else() {
        for own in ["/", "/captions", "/captions?source=en&target=es#now", "/a/b.html", "/%2F"] {
            assert!(is_own_path(own), "{own}");
        }
        let long = format!("/{}", "x".repeat(600));
        for foreign in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/ /x",
            "https://evil.example",
            "javascript:alert(1)",
            "evil.example",
            "/a//evil.example",
            "/auth/login",
            "/é",
            &long,
        ] {
            assert!(!is_own_path(foreign), "{foreign}");
        }
    }
}
