//! How many connections each address has open that are not (yet) sessions: nobody alone can take all places at the door.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;

/// Counts the open connections of each address. Networks of proxies stand for many people, and are not counted.
#[derive(Debug)]
pub(super) struct Addresses {
    most: usize,
    proxies: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    /// `None`: of a proxy.
    counted: Option<(Arc<Addresses>, IpAddr)>,
}

/// The address itself, or the network of one customer (RFC 6177).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

impl Addresses {
    /// At most so many of each address, but for `proxies`.
    pub(super) fn new(most: u32, proxies: Vec<IpNet>) -> Arc<Self> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Arc::new(Self { most, proxies, open: Mutex::default() })
    }

    /// Another connection of `peer`; `None` where it has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Visit> {
        let address = network(peer);
        if self.proxies.iter().any(|proxy| proxy.contains(&peer.to_canonical())) {
            return Some(Visit { counted: None });
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Visit { counted: Some((Arc::clone(self), address)) })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Some((addresses, address)) = self.counted.take() else { return };
        let mut open = addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_a_proxy_as_many_as_come() {
        let addresses = Addresses::new(2, vec!["172.30.0.0/24".parse().unwrap()]);
        let enter = |peer: &str| addresses.enter(peer.parse().unwrap());
        let visits = [enter("192.0.2.1"), enter("::ffff:192.0.2.1")];
        assert!(visits.iter().all(Option::is_some) && enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some(), "others are not affected");
        let neighbours = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(neighbours.iter().all(Option::is_some) && enter("2001:db8::3").is_none(), "one customer");
        assert!(enter("2001:db8:0:1::1").is_some());
        let proxied: Vec<_> = (0..9).map(|_| enter("::ffff:172.30.0.9")).collect();
        assert!(proxied.iter().all(Option::is_some));
        drop((visits, neighbours, proxied));
        assert!(enter("192.0.2.1").is_some(), "who has gone makes room");
        assert!(addresses.open.lock().unwrap().is_empty(), "and nothing of it is kept");
    }
}
