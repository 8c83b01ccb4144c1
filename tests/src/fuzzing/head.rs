//! The head of a request.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use gateway::{
    door::origin::Origins,
    http::{address::client_address, sign_in::probe},
    session,
};

use super::first_line;

/// Where the tunnel runs.
const TUNNEL: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 0, 7));
/// Somebody.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
const PAGE: &str = "https://captions.example.com";
/// Longest cookie that is looked at, bytes.
const MAX_COOKIE: usize = 512;

/// The address asked for in the first line, a header in each of the others: of two credentials none is taken, a ticket is
/// taken from a page alone, nobody's address is believed but the tunnel's, and names are checked before anything else.
pub fn head(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (asked, lines) = first_line(&text);
    let mut headers = HeaderMap::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(':')) {
        let Ok(name) = HeaderName::from_bytes(name.trim().as_bytes()) else { continue };
        let Ok(value) = HeaderValue::from_bytes(value.trim_start().as_bytes()) else { continue };
        if headers.len() < 64 {
            headers.append(name, value);
        }
    }
    credentials(&headers);
    addresses(&headers);
    origins(&headers);
    cookies(&headers);
    if let Ok(uri) = asked.parse::<Uri>() {
        let named = |name: &str| uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with(name)));
        let plain = ["token=", "access_token=", "ticket=", "api_key="].iter().any(|name| named(name));
        assert!(!plain || probe::token_in_url(&uri), "{uri}");
    }
}

fn credentials(headers: &HeaderMap) {
    if let Ok((bearer, text)) = probe::credential(headers) {
        assert_eq!(bearer, headers.contains_key(header::AUTHORIZATION));
        assert!(bearer || headers.contains_key(header::ORIGIN), "a ticket without a page");
        assert!(!bearer || headers.get_all(header::AUTHORIZATION).iter().count() == 1);
        assert!(!bearer || !text.is_empty() && text.trim() == text);
        assert!(text.bytes().all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte)), "{text:?}");
    }
    if let Some(session) = probe::resumed(headers) {
        assert!(session.len() == 32 && session.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }
}

fn addresses(headers: &HeaderMap) {
    let trusted = ["172.30.0.0/24".parse(), "fd00::/64".parse()].map(|network| network.unwrap_or_default());
    assert_eq!(client_address(STRANGER, headers, &trusted).0, STRANGER, "anybody can name an address");
    let named: Vec<_> = headers.get_all("cf-connecting-ip").iter().collect();
    let seen = client_address(TUNNEL, headers, &trusted).0;
    match named[..] {
        [one] => {
            let address = one.to_str().ok().and_then(|text| text.trim().parse::<IpAddr>().ok());
            assert_eq!(seen, address.unwrap_or(TUNNEL));
        }
        _ => assert_eq!(seen, TUNNEL),
    }
}

fn origins(headers: &HeaderMap) {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let (host, origin) = (text(header::HOST), text(header::ORIGIN));
    if Origins::new(vec![PAGE.to_owned()], true).check(headers).is_ok() {
        assert!(["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.starts_with(name)), "{host}");
        let own = origin.to_ascii_lowercase().ends_with(&format!("://{}", host.to_ascii_lowercase()));
        assert!(!headers.contains_key(header::ORIGIN) || origin == PAGE || own, "{origin}");
    }
}

fn cookies(headers: &HeaderMap) {
    for value in probe::cookies(PAGE, headers).into_iter().flatten() {
        assert!(!value.is_empty() && value.len() <= MAX_COOKIE && !value.contains(';'));
        // What a browser gave us it can be given again.
        let kept = probe::kept_by_a_browser(PAGE, value);
        let kept = kept.unwrap_or_else(|| panic!("{value:?} cannot be written"));
        assert_eq!(probe::cookies(PAGE, &kept)[1], Some(value), "{value:?}");
    }
}

/// A resume token: what is one is written as it is read, and names a session and 256 bits.
pub fn resume_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(written) = session::probe::resume_token(text) {
        assert_eq!(session::probe::resume_token(&written).as_ref(), Some(&written));
        assert_eq!(written.len(), 32 + 1 + 64);
        assert!(written.bytes().all(|byte| byte == b'.' || byte.is_ascii_hexdigit()));
    }
}
