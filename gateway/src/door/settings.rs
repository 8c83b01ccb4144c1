//! The keys of the limits: how often and how much one client, one person and all together may ask.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use shared::config::Env;

/// Connections a minute of one address, and of one person; as many may come at once.
pub const ENV_CONNECTIONS: &str = "CONNECTIONS_PER_MINUTE";
/// A page that reconnects every second for a minute still gets in.
pub const DEFAULT_CONNECTIONS: u32 = 60;
/// Connections of one address at once that are not (yet) sessions; of proxies in `TRUSTED_PROXIES` any number.
pub const ENV_OPEN: &str = "CONNECTIONS_PER_ADDRESS";
/// A browser opens 6; a network with many people behind one address has room, and nobody alone fills the 4096 places.
pub const DEFAULT_OPEN: u32 = 256;
/// Requests a minute of one address to `/auth/`.
pub const ENV_AUTH: &str = "AUTH_PER_MINUTE";
/// A sign-in takes two, a refresh one every ten minutes; several people may share an address.
pub const DEFAULT_AUTH: u32 = 30;
/// Sessions of one person at once, over all gateways.
pub const ENV_SESSIONS: &str = "SESSIONS_PER_USER";
/// A few devices, and a few rooms.
pub const DEFAULT_SESSIONS: u32 = 10;
/// Minutes of audio of one person in one day (UTC); 0: no limit.
pub const ENV_QUOTA: &str = "DAILY_QUOTA_MINUTES";
/// New sessions are refused while the oldest job that no worker has taken is older.
pub const ENV_QUEUE_AGE: &str = "MAX_QUEUE_AGE_SECONDS";
/// Captions ten seconds late are of little use, and one more session makes them later.
pub const DEFAULT_QUEUE_AGE: Duration = Duration::from_secs(10);
/// New sessions are refused while more jobs wait that no worker has taken.
pub const ENV_QUEUE_DEPTH: &str = "MAX_QUEUE_DEPTH";
/// A hard stop, for a queue that grows faster than it ages.
pub const DEFAULT_QUEUE_DEPTH: u64 = 100;
/// Networks whose `CF-Connecting-IP` is believed, separated by commas: where the tunnel runs.
pub const ENV_PROXIES: &str = "TRUSTED_PROXIES";

/// How much may be asked of the door.
#[derive(Debug, Clone, PartialEq)]
pub struct DoorSettings {
    /// Connections a minute of one address, and of one person.
    pub connections_per_minute: u32,
    /// Connections of one address at once that are no sessions.
    pub connections_per_address: u32,
    /// Requests a minute of one address to `/auth/`.
    pub auth_per_minute: u32,
    /// Sessions of one person at once.
    pub sessions_per_user: u32,
    /// Audio of one person in a day; `None`: as much as they like.
    pub daily_quota: Option<Duration>,
    /// Longest wait of a job that no worker has taken.
    pub max_queue_age: Duration,
    /// Most jobs that no worker has taken.
    pub max_queue_depth: u64,
    /// Networks whose `CF-Connecting-IP` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for DoorSettings {
    fn default() -> Self {
        Self {
            connections_per_minute: DEFAULT_CONNECTIONS,
            connections_per_address: DEFAULT_OPEN,
            auth_per_minute: DEFAULT_AUTH,
            sessions_per_user: DEFAULT_SESSIONS,
            daily_quota: None,
            max_queue_age: DEFAULT_QUEUE_AGE,
            max_queue_depth: DEFAULT_QUEUE_DEPTH,
            trusted_proxies: Vec::new(),
        }
    }
}

impl DoorSettings {
    /// Reads every key of the limits.
    pub fn from_env(env: &mut Env) -> Self {
        let minutes: u64 = env.parse_or(ENV_QUOTA, 0);
        Self {
            connections_per_minute: at_least_one(env, ENV_CONNECTIONS, DEFAULT_CONNECTIONS),
            connections_per_address: at_least_one(env, ENV_OPEN, DEFAULT_OPEN),
            auth_per_minute: at_least_one(env, ENV_AUTH, DEFAULT_AUTH),
            sessions_per_user: at_least_one(env, ENV_SESSIONS, DEFAULT_SESSIONS),
            daily_quota: (minutes > 0).then(|| Duration::from_secs(minutes.saturating_mul(60))),
            max_queue_age: env.seconds_or(ENV_QUEUE_AGE, DEFAULT_QUEUE_AGE, 1.0..=600.0),
            max_queue_depth: env.parse_or(ENV_QUEUE_DEPTH, DEFAULT_QUEUE_DEPTH),
            trusted_proxies: networks(env),
        }
    }
}

fn at_least_one(env: &mut Env, key: &str, default: u32) -> u32 {
    let value = env.parse_or(key, default);
    if value == 0 {
        env.fault(format!("{key}=0: nobody could get in; it must be at least 1"));
    }
    value.max(1)
}

fn networks(env: &mut Env) -> Vec<IpNet> {
    let list = env.get(ENV_PROXIES).unwrap_or_default();
    let mut networks = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) {
            Some(network) => networks.push(network),
            None => env.fault(format!("{ENV_PROXIES}: `{text}` is no network; write 172.30.0.0/24 or an address")),
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let mut env = Env::of([]);
        assert_eq!(DoorSettings::from_env(&mut env), DoorSettings::default());
        assert!(env.finish().is_ok());
    }

    #[test]
    fn what_cannot_be_is_named() {
        let pairs = [("SESSIONS_PER_USER", "0"), ("TRUSTED_PROXIES", "10.0.0.0/8, tunnel"), ("MAX_QUEUE_DEPTH", "-1")];
        let mut env = Env::of(pairs);
        let settings = DoorSettings::from_env(&mut env);
        assert_eq!(settings.trusted_proxies.len(), 1);
        let error = env.finish().unwrap_err().to_string();
        for named in ["SESSIONS_PER_USER=0", "`tunnel`", "MAX_QUEUE_DEPTH=-1"] {
            assert!(error.contains(named), "{error}");
        }
        let mut env = Env::of([("DAILY_QUOTA_MINUTES", "90"), ("TRUSTED_PROXIES", "::1,127.0.0.1")]);
        let settings = DoorSettings::from_env(&mut env);
        assert_eq!((settings.daily_quota, settings.trusted_proxies.len()), (Some(Duration::from_secs(5400)), 2));
    }
}
