//! Which credential a request shows, and where it must not.

use axum::http::{HeaderMap, Uri, header};
use identity::Refused;
use shared::wire::{ErrorCode, SUBPROTOCOL};
use url::form_urlencoded;

use super::turned_away::TurnedAway;

/// What a handshake shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// `Authorization: Bearer TOKEN`.
    Bearer(&'a str),
    /// A ticket among the subprotocols, as a page sends it.
    Ticket(&'a str),
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
///
/// # Errors
/// [`Refused::Missing`], [`Refused::Malformed`].
pub fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refused::Missing)?;
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match (token, values.next()) {
        (Some(token), None) if !token.is_empty() => Ok(token),
        _ => Err(Refused::Malformed),
    }
}

/// What comes after `prefix` in the subprotocols offered, when exactly one of them begins with it.
fn offered<'a>(headers: &'a HeaderMap, prefix: &str) -> Option<&'a str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let names = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim);
    let mut found = names.filter_map(|name| name.strip_prefix(prefix));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The session that a client says it comes back to (`resume.SESSION`, an offer like a ticket): it needs no second place.
/// Nothing but that hangs on it.
pub(crate) fn resumed(headers: &HeaderMap) -> Option<String> {
    session_id(offered(headers, "resume.")?)
}

/// The id of a session as it stands in keys and logs, however it was written (with hyphens, in capitals).
pub(crate) fn session_id(text: &str) -> Option<String> {
    let id = text.replace('-', "").to_ascii_lowercase();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The one credential of a handshake: a page, which names its origin, may show a ticket; everybody may show a Bearer header.
///
/// # Errors
/// [`Refused::Missing`], [`Refused::Malformed`].
pub(crate) fn credential(headers: &HeaderMap) -> Result<Credential<'_>, Refused> {
    let ticket = offered(headers, "ticket.");
    match (headers.contains_key(header::AUTHORIZATION), ticket) {
        (true, None) => bearer(headers).map(Credential::Bearer),
        (true, Some(_)) => Err(Refused::Malformed),
        (false, Some(ticket)) if headers.contains_key(header::ORIGIN) && offered(headers, SUBPROTOCOL) == Some("") => {
            Ok(Credential::Ticket(ticket))
        }
        (false, _) => Err(Refused::Missing),
    }
}

/// Refuses a token in the URL, where it would end up in logs and histories.
///
/// # Errors
/// `bad_message`.
pub(crate) fn none_in_url(uri: &Uri) -> Result<(), TurnedAway> {
    let names = ["token", "access_token", "ticket", "api_key"];
    let query = uri.query().unwrap_or_default();
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str())) {
        let message = "a token in the URL ends up in logs: send it as `Authorization: Bearer TOKEN`, or a ticket as a \
                       subprotocol; and consider that one lost";
        return Err(TurnedAway::new(ErrorCode::BadMessage, "token_in_url", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_header_must_be_one_bearer() {
        let shown = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| (header::AUTHORIZATION, *value)).collect();
            bearer(&headers(&pairs)).map(str::to_owned)
        };
        assert_eq!(shown(&["Bearer abc"]).unwrap(), "abc");
        assert_eq!(shown(&["bearer  abc "]).unwrap(), "abc");
        assert_eq!(shown(&[]), Err(Refused::Missing));
        for bad in [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"]] {
            assert_eq!(shown(bad), Err(Refused::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_ticket_is_shown_by_a_page_beside_the_protocol_itself() {
        let (protocol, origin) = (header::SEC_WEBSOCKET_PROTOCOL, (header::ORIGIN, "https://a.example"));
        let of = |pairs: &[(HeaderName, &str)]| {
            let headers = headers(pairs);
            credential(&headers).map(|credential| matches!(credential, Credential::Ticket("abc")))
        };
        let offer = (protocol.clone(), "subtide.v1, ticket.abc");
        assert_eq!(of(&[offer.clone(), origin.clone()]), Ok(true));
        assert_eq!(of(&[(protocol.clone(), "subtide.v1"), (protocol.clone(), "ticket.abc"), origin.clone()]), Ok(true));
        assert_eq!(of(std::slice::from_ref(&offer)), Err(Refused::Missing), "no page");
        assert_eq!(of(&[(protocol.clone(), "ticket.abc"), origin.clone()]), Err(Refused::Missing), "not our protocol");
        let two = (protocol.clone(), "subtide.v1, ticket.abc, ticket.def");
        assert_eq!(of(&[two, origin.clone()]), Err(Refused::Missing));
        let both = (header::AUTHORIZATION, "Bearer x");
        assert_eq!(of(&[offer, origin.clone(), both.clone()]), Err(Refused::Malformed));
        assert_eq!(of(&[both, origin]), Ok(false));
    }

    #[test]
    fn a_session_that_is_resumed_is_named_by_its_id() {
        let id = "0123456789abcdef0123456789abcdef";
        let offer = |text: String| resumed(&headers(&[(header::SEC_WEBSOCKET_PROTOCOL, &text)]));
        assert_eq!(offer(format!("subtide.v1, resume.{id}")).as_deref(), Some(id));
        let hyphens = "resume.01234567-89AB-cdef-0123-456789abcdef".to_owned();
        assert_eq!(offer(hyphens).as_deref(), Some(id));
        for bad in
            ["subtide.v1".to_owned(), "resume.".to_owned(), format!("resume.{id}0"), format!("resume.x{}", &id[1..])]
        {
            assert_eq!(offer(bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn a_token_in_the_url_is_refused_however_it_is_written() {
        for bad in ["/v1/stream?token=a", "/?a=b&access_token=", "/?TOKEN=a", "/?%74oken=a", "/?ticket=a"] {
            assert_eq!(none_in_url(&bad.parse().unwrap()).unwrap_err().reason, "token_in_url", "{bad}");
        }
        for good in ["/v1/stream", "/v1/stream?lang=en", "/?tokens=1"] {
            assert_eq!(none_in_url(&good.parse().unwrap()), Ok(()), "{good}");
        }
    }
}
