//! Where a request came from.

use std::net::IpAddr;

/// The client's address, as far as it can be known; an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);
