//! The two cookies of a browser: one for the minutes of a sign-in, one that holds the refresh token. No script can read
//! either, and neither leaves `/auth`.

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

/// Seconds that a sign-in may take.
const LOGIN_SECONDS: u64 = 300;
/// Seconds that a browser keeps the refresh token: as long as a sign-in can last at most.
const REFRESH_SECONDS: u64 = 30 * 24 * 3600;
/// Nothing we gave out is longer.
const MAX_VALUE_BYTES: usize = 512;

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// Binds a sign-in to the browser that began it. `Lax`: it has to come along from the provider's page.
    Login,
    /// The refresh token. `Strict`: only our own pages send it.
    Refresh,
}

/// How cookies are written here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookies {
    secure: bool,
}

impl Cookies {
    /// For pages at `public_url`. Plain http is for a loopback address, where some browsers take no `Secure` cookie.
    pub(super) fn new(public_url: &Url) -> Self {
        Self { secure: public_url.scheme() == "https" }
    }

    /// Has the browser keep `value`.
    pub(super) fn set(self, name: Name, value: &str) -> Option<HeaderValue> {
        let (site, seconds) = match name {
            Name::Login => ("Lax", LOGIN_SECONDS),
            Name::Refresh => ("Strict", REFRESH_SECONDS),
        };
        self.write(name, value, site, seconds)
    }

    /// Has the browser forget it.
    pub(super) fn clear(self, name: Name) -> Option<HeaderValue> {
        self.write(name, "", if name == Name::Login { "Lax" } else { "Strict" }, 0)
    }

    fn write(self, name: Name, value: &str, site: &str, seconds: u64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/auth; Max-Age={seconds}; HttpOnly; SameSite={site}{secure}",
            self.full_name(name)
        );
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// What the browser sent.
    pub(super) fn get(self, name: Name, headers: &HeaderMap) -> Option<&str> {
        let full_name = self.full_name(name);
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let value = pairs.find(|(found, _)| *found == full_name).map(|(_, value)| value);
        value.filter(|value| !value.is_empty() && value.len() <= MAX_VALUE_BYTES)
    }

    /// With the prefix, browsers take it from an https page alone.
    fn full_name(self, name: Name) -> &'static str {
        match (name, self.secure) {
            (Name::Login, true) => "__Secure-subtide_login",
            (Name::Login, false) => "subtide_login",
            (Name::Refresh, true) => "__Secure-subtide_refresh",
            (Name::Refresh, false) => "subtide_refresh",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_written_for_the_server_alone_and_read_back() {
        let secure = Cookies::new(&Url::parse("https://captions.example.com").unwrap());
        assert_eq!(
            secure.set(Name::Refresh, "x").unwrap(),
            "__Secure-subtide_refresh=x; Path=/auth; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"
        );
        let local = Cookies::new(&Url::parse("http://localhost:5026").unwrap());
        assert_eq!(
            local.set(Name::Login, "x").unwrap(),
            "subtide_login=x; Path=/auth; Max-Age=300; HttpOnly; SameSite=Lax"
        );
        assert!(
            local.clear(Name::Refresh).unwrap().to_str().unwrap().contains("subtide_refresh=; Path=/auth; Max-Age=0;")
        );
        let sent = |text| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static(text))]);
        let cookies = sent("a=b; subtide_refresh=srt_1; subtide_login=2");
        assert_eq!(local.get(Name::Refresh, &cookies), Some("srt_1"));
        assert_eq!(local.get(Name::Login, &cookies), Some("2"));
        assert_eq!(secure.get(Name::Login, &cookies), None, "a cookie that another page of the domain could have set");
        assert_eq!(local.get(Name::Login, &sent("xsubtide_login=2; subtide_login=")), None);
    }
}
