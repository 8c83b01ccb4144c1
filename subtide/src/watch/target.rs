//! Where roles tell how they are: names that may stand for many replicas.

use std::{collections::BTreeMap, fmt, net::SocketAddr, str::FromStr, time::Duration};

use shared::config::Env;
use tokio::{
    net::lookup_host,
    time::{Instant, timeout_at},
};

/// `STATUS_TARGETS`: health ports that `subtide top` and `subtide status` look at, separated by commas.
pub const ENV_STATUS_TARGETS: &str = "STATUS_TARGETS";
/// Default of [`ENV_STATUS_TARGETS`]: gateway, stt-worker and translation-worker on this machine.
pub const DEFAULT_STATUS_TARGETS: &str = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082";

/// A name server that answers does so within milliseconds.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(2);

/// `HOST:PORT` of a health port; every address that the name stands for is a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(String);

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no health port; write HOST:PORT, such as stt-worker:8081");
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
        let one_colon = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        let known = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host.is_empty() || !one_colon || !host.chars().all(known) || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What to look at.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    pub(super) list: Vec<Target>,
    /// Nobody named them: those of the default that are not there need not be.
    pub(super) untold: bool,
}

impl Targets {
    /// Those given, else those of `STATUS_TARGETS`.
    pub(super) fn from_env(env: &mut Env, given: Vec<Target>) -> Self {
        if !given.is_empty() {
            return Self { list: given, untold: false };
        }
        let told = env.get(ENV_STATUS_TARGETS);
        let mut list = Vec::new();
        for item in told.as_deref().unwrap_or(DEFAULT_STATUS_TARGETS).split(',').filter(|item| !item.trim().is_empty())
        {
            match item.parse() {
                Ok(target) => list.push(target),
                Err(fault) => env.fault(format!("{ENV_STATUS_TARGETS}: {fault}")),
            }
        }
        Self { list, untold: told.is_none() }
    }

    /// Every address with the name it was found by first, and the names that stand for none, with why.
    pub(super) async fn resolve(&self) -> (BTreeMap<SocketAddr, Target>, Vec<(Target, String)>) {
        let (mut found, mut unknown) = (BTreeMap::new(), Vec::new());
        let deadline = Instant::now() + LOOK_UP_WITHIN;
        // All at once: one name that nobody answers for must not hold up the others.
        let look_up = |target: &Target| tokio::spawn(timeout_at(deadline, addresses(target.clone())));
        let asked: Vec<_> = self.list.iter().map(|target| (target, look_up(target))).collect();
        for (target, answer) in asked {
            let answer = answer.await.map_err(|error| error.to_string());
            let late = |_| Err(format!("the name was not looked up within {} s", LOOK_UP_WITHIN.as_secs()));
            match answer.and_then(|answer| answer.unwrap_or_else(late)) {
                Ok(addresses) => {
                    for address in addresses {
                        found.entry(address).or_insert_with(|| target.clone());
                    }
                }
                Err(error) => unknown.push((target.clone(), error)),
            }
        }
        (found, unknown)
    }
}

async fn addresses(target: Target) -> Result<Vec<SocketAddr>, String> {
    lookup_host(&target.0).await.map(Iterator::collect).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_host_and_a_port() {
        for good in ["stt-worker:8081", "127.0.0.1:8080", "[::1]:8080", "a.b.c:1"] {
            assert_eq!(good.parse::<Target>().unwrap().to_string(), good);
        }
        for bad in ["", "gateway", "gateway:", "gateway:http", ":8080", "http://gateway:8080", "a b:1", "::1:8080"] {
            assert!(bad.parse::<Target>().unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn the_environment_is_asked_where_nothing_was_given() {
        let mut env = Env::of([("STATUS_TARGETS", "gateway:8080, stt-worker:8081,nonsense")]);
        assert_eq!(Targets::from_env(&mut env, Vec::new()).list.len(), 2);
        assert!(env.finish().unwrap_err().to_string().contains("`nonsense` is no health port"));
        let mut env = Env::of([]);
        let targets = Targets::from_env(&mut env, Vec::new());
        assert!(targets.untold && targets.list.len() == 3 && env.finish().is_ok());
        let given = vec!["a:1".parse().unwrap()];
        assert_eq!(Targets::from_env(&mut Env::of([("STATUS_TARGETS", "b:2")]), given.clone()).list, given);
    }

    #[tokio::test]
    async fn a_name_that_stands_for_nothing_is_told() {
        let list = ["127.0.0.1:7", "127.0.0.1:7", "nowhere.invalid:1"].map(|text| text.parse().unwrap());
        let (found, unknown) = Targets { list: list.into(), untold: false }.resolve().await;
        assert_eq!(found.len(), 1, "an address is asked once");
        assert_eq!(unknown[0].0.to_string(), "nowhere.invalid:1");
    }
}
