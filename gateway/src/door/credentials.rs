//! Which credential a request shows.

use axum::http::{HeaderMap, header};
use identity::Refused;

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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn shown(values: &[&str]) -> Result<String, Refused> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn the_header_must_be_one_bearer() {
        assert_eq!(shown(&["Bearer abc"]).unwrap(), "abc");
        assert_eq!(shown(&["bearer  abc "]).unwrap(), "abc");
        assert_eq!(shown(&[]), Err(Refused::Missing));
        for bad in [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"]] {
            assert_eq!(shown(bad), Err(Refused::Malformed), "{bad:?}");
        }
    }
}
