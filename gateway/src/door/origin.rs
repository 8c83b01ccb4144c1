//! Which pages may connect, and under which name this gateway may be asked for.

use axum::http::{HeaderMap, header};
use shared::wire::ErrorCode;

use super::turned_away::TurnedAway;

/// The origins whose pages may connect, and whether foreign names are refused.
#[derive(Debug, Clone)]
pub struct Origins {
    allowed: Vec<String>,
    loopback_only: bool,
}

impl Origins {
    /// Pages of the gateway's own origin and of those in `allowed`. With `loopback_only` (nobody is asked to sign in) the
    /// name asked for must be this machine's own, or a foreign page could reach us by DNS rebinding.
    #[must_use]
    pub fn new(allowed: Vec<String>, loopback_only: bool) -> Self {
        Self { allowed, loopback_only }
    }

    /// Checks `Origin`, then `Host`. A browser always names the page's origin; programs send none.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), TurnedAway> {
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().ok();
            let same = origin
                .and_then(|origin| origin.split_once("://"))
                .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
            if !same && !origin.is_some_and(|origin| self.allowed.iter().any(|allowed| allowed == origin)) {
                let message = "pages of this origin may not connect; the operator can add it to ALLOWED_ORIGINS";
                return Err(TurnedAway::new(ErrorCode::Forbidden, "origin", message));
            }
        }
        if self.loopback_only && !is_loopback_name(host) {
            let message = "without sign-in only requests for localhost, 127.0.0.1 or [::1] are answered";
            return Err(TurnedAway::new(ErrorCode::Forbidden, "host", message));
        }
        Ok(())
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit())).map_or(host, |p| p.0);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.clone(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn foreign_origins_and_rebound_names_stay_out() {
        let open = Origins::new(vec!["https://app.example".to_owned()], true);
        for host in ["localhost:5026", "127.0.0.1:5026", "[::1]:5026", "localhost"] {
            let own = format!("http://{host}");
            assert!(open.check(&headers(&[(header::HOST, host), (header::ORIGIN, &own)])).is_ok(), "{host}");
        }
        let reason = |pairs: &[(HeaderName, &str)]| open.check(&headers(pairs)).map_err(|away| away.reason);
        let at_home = (header::HOST, "localhost:5026");
        assert_eq!(reason(&[at_home.clone(), (header::ORIGIN, "https://app.example")]), Ok(()));
        for foreign in ["https://evil.example", "https://app.example.evil.example", "null", "localhost:5026", ""] {
            assert_eq!(reason(&[at_home.clone(), (header::ORIGIN, foreign)]), Err("origin"), "{foreign}");
        }
        let rebound = [(header::HOST, "evil.example:5026"), (header::ORIGIN, "http://evil.example:5026")];
        assert_eq!(reason(&rebound), Err("host"));
        assert_eq!(reason(&[]), Err("host"));
    }
}
