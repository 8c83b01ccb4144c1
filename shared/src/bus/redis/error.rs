//! What Redis answers, as errors of the bus. Nothing here quotes a password, a payload or a reply.

use redis::{Client, ConnectionAddr, ErrorKind, RedisError};

use crate::bus::BusError;

/// The address a client connects to, without user and password.
pub(super) fn shown_address(client: &Client) -> String {
    let info = client.get_connection_info();
    let scheme = match info.addr() {
        ConnectionAddr::TcpTls { .. } => "rediss",
        ConnectionAddr::Unix(_) => "redis+unix",
        _ => "redis",
    };
    format!("{scheme}://{}/{}", info.addr(), info.redis_settings().db())
}

/// What of a URL that cannot be parsed may be shown: its scheme and what follows the password.
pub(super) fn redacted(url: &str) -> String {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    // What follows these may be a password with an `@` in it.
    let address = url.split(['?', '#']).next().unwrap_or_default();
    let address = address.rsplit_once('@').map_or("…", |(_, address)| address);
    format!("{scheme}://{address}")
}

/// Whether the group, or the stream itself, is not there.
pub(super) fn is_group_missing(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}

/// Whether a connection is of no use any more: it broke, nothing came in time, or the server does not know us any more.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.kind() == ErrorKind::AuthenticationFailed
}

/// Whether a server says that it is, or just became, a replica.
pub(super) fn is_replica(error: &RedisError) -> bool {
    matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "UNBLOCKED"))
}

/// Whether a server refuses what a primary in good health would do, so that it is worth asking who that is.
pub(super) fn wants_primary(error: &RedisError) -> bool {
    is_replica(error) || error.code() == Some("NOREPLICAS")
}

/// An error of Redis, for the caller of the bus.
pub(super) fn describe(url: &str, error: &RedisError) -> BusError {
    let url = url.to_owned();
    // Redis repeats the arguments, which hold what people said, of a command it does not know.
    let detail = error.detail().unwrap_or_default().split(", with args").next().unwrap_or_default();
    let unreachable = |reason: &str| BusError::Unreachable { url: url.clone(), reason: reason.to_owned() };
    match (error.code(), error.kind()) {
        (Some("OOM"), _) => BusError::OutOfMemory,
        (Some("LOADING"), _) => unreachable("it is still loading its data"),
        (Some("READONLY"), _) => unreachable("it is a read-only replica; REDIS_URL must name the primary"),
        (Some("NOREPLICAS"), _) => unreachable("too few replicas follow it to take anything in (NOREPLICAS)"),
        (Some("MISCONF"), _) => unreachable("it cannot write to its disk (MISCONF)"),
        (Some(code @ ("TRYAGAIN" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "UNBLOCKED")), _) => {
            unreachable(&format!("it answers {code}"))
        }
        (Some("NOAUTH" | "WRONGPASS"), _) | (_, ErrorKind::AuthenticationFailed) => {
            BusError::Url { url, reason: "the server refuses this user name or password".into() }
        }
        (Some("ERR"), _) if detail.contains("max number of clients") => {
            unreachable("it has as many clients as it takes")
        }
        (Some("NOPERM"), _) => BusError::Url { url, reason: format!("the server denies a permission: {detail}") },
        (Some(code), _) => BusError::Protocol(format!("{code} {detail}")),
        (None, ErrorKind::Io) => unreachable(&io(&error.to_string())),
        (None, ErrorKind::MasterNameNotFoundBySentinel) => {
            unreachable("the sentinels name no primary of this name that is up")
        }
        (None, ErrorKind::InvalidClientConfig) => BusError::Url { url, reason: detail.to_owned() },
        (None, _) => BusError::Protocol(error.category().to_owned()),
    }
}

/// What broke a connection, and where TLS did, what to look at.
fn io(reason: &str) -> String {
    let hint = if reason.contains("invalid peer certificate") {
        "; REDIS_TLS_CA must name the authority that signed it, and the certificate the host of REDIS_URL"
    } else if reason.contains("received fatal alert") || reason.contains("CertificateRequired") {
        "; Redis does not take the certificate of REDIS_TLS_CERT and REDIS_TLS_KEY, or wants one"
    } else {
        ""
    };
    format!("{reason}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://user:hunter2@host:port/0",
            "redis://:hunter2@host",
            "redis://:hunter2",
            "redis:hunter2@host",
            "hunter2",
            "redis://user:hun@ter2@host/with?pass=hunter2",
            "redis+sentinel://host:1/?sentinel_password=hun@ter2",
            "redis://host/#hun@ter2",
            "redis://user:hun?ter2@host",
        ] {
            let shown = redacted(url);
            assert!(!shown.contains("ter2"), "{url} is shown as {shown}");
        }
        let client = Client::open("redis://user:hunter2@host:7000/3").unwrap();
        assert_eq!(shown_address(&client), "redis://host:7000/3");
    }
}
