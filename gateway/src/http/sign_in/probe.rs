//! For the fuzz targets alone (`tests/src/fuzzing`): what is read of the head of a request.

use axum::http::{HeaderMap, Uri};
use url::Url;

use super::cookies::{Cookies, Name};
use crate::door::credentials::{self, Credential};

/// The credential of a handshake, `Bearer` or not, and its text.
///
/// # Errors
/// What is wrong, for people.
pub fn credential(headers: &HeaderMap) -> Result<(bool, &str), String> {
    match credentials::credential(headers).map_err(|refused| refused.to_string())? {
        Credential::Bearer(token) => Ok((true, token)),
        Credential::Ticket(ticket) => Ok((false, ticket)),
    }
}

/// The session that a client says it comes back to.
#[must_use]
pub fn resumed(headers: &HeaderMap) -> Option<String> {
    credentials::resumed(headers)
}

/// Whether an address holds a token.
#[must_use]
pub fn token_in_url(uri: &Uri) -> bool {
    credentials::none_in_url(uri).is_err()
}

/// The two cookies that pages of `public_url` send: of a sign-in that has begun, and the refresh token.
#[must_use]
pub fn cookies<'a>(public_url: &str, headers: &'a HeaderMap) -> [Option<&'a str>; 2] {
    let Ok(url) = Url::parse(public_url) else { return [None, None] };
    let cookies = Cookies::new(&url);
    [Name::Login, Name::Refresh].map(|name| cookies.get(name, headers))
}

/// The refresh token as a browser gives it back that was told to keep it.
#[must_use]
pub fn kept_by_a_browser(public_url: &str, token: &str) -> Option<HeaderMap> {
    let set = Cookies::new(&Url::parse(public_url).ok()?).set(Name::Refresh, token)?;
    let pair = set.to_str().ok()?.split_once(';')?.0.to_owned();
    Some(HeaderMap::from_iter([(axum::http::header::COOKIE, pair.parse().ok()?)]))
}
