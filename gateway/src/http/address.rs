//! Where a request came from: the TCP peer, or who the tunnel says it was.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The address of a client, as far as it can be believed. An extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Set by Cloudflare's edge to the visitor's address, whatever the visitor sent.
const CONNECTING_IP: &str = "cf-connecting-ip";

/// The client behind a TCP connection from `peer`. `CF-Connecting-IP` is believed only from the networks where the tunnel
/// runs, and `X-Forwarded-For` never: whoever sends one puts the first address into it.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> ClientAddress {
    let peer = peer.to_canonical();
    if !trusted.iter().any(|network| network.contains(&peer)) {
        return ClientAddress(peer);
    }
    let mut named = headers.get_all(CONNECTING_IP).iter();
    let address = named.next().and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    match (address, named.next()) {
        (Some(address), None) => ClientAddress(address),
        _ => ClientAddress(peer),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn seen(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["172.30.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
        client_address(peer.parse().unwrap(), &map, &trusted).0.to_string()
    }

    #[test]
    fn only_the_tunnel_may_say_who_it_was() {
        let visitor = ("cf-connecting-ip", "203.0.113.9");
        assert_eq!(seen("172.30.0.7", &[visitor]), "203.0.113.9");
        assert_eq!(seen("::ffff:172.30.0.7", &[visitor]), "203.0.113.9");
        assert_eq!(seen("fd00::7", &[("cf-connecting-ip", "2001:db8::1")]), "2001:db8::1");
        assert_eq!(seen("198.51.100.1", &[visitor]), "198.51.100.1", "anybody can write that header");
        assert_eq!(seen("172.30.0.7", &[("x-forwarded-for", "203.0.113.9")]), "172.30.0.7");
        assert_eq!(seen("172.30.0.7", &[visitor, visitor]), "172.30.0.7", "one, or none is believed");
        assert_eq!(seen("172.30.0.7", &[("cf-connecting-ip", "x")]), "172.30.0.7");
    }
}
