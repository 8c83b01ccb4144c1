//! One look at every role: what its health port says.

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use reqwest::{Client, redirect::Policy};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{
    samples::Metrics,
    target::{Target, Targets},
};

/// A health port answers within milliseconds; one that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Why nothing was said where no process listens.
const REFUSED: &str = "connection refused";
/// More than any role tells: something else answers.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A role process at one address.
#[derive(Debug)]
pub(super) struct Replica {
    /// The name it was found by.
    pub(super) target: Target,
    /// Its health port.
    pub(super) address: SocketAddr,
    /// What it said, or why it said nothing.
    pub(super) answer: Result<Answer, String>,
}

/// What a role said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) health: HealthReport,
    pub(super) metrics: Metrics,
}

/// `/health` of every role.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct HealthReport {
    pub(super) role: String,
    #[serde(default)]
    pub(super) version: String,
    pub(super) ready: bool,
    #[serde(default)]
    pub(super) components: BTreeMap<String, bool>,
}

/// All replicas, in the order of their addresses, and names that stand for none.
#[derive(Debug, Default)]
pub(super) struct Scraped {
    pub(super) replicas: Vec<Replica>,
    pub(super) unknown: Vec<(Target, String)>,
}

/// Asks health ports.
#[derive(Debug, Clone)]
pub(super) struct Scraper {
    client: Client,
}

impl Scraper {
    /// # Errors
    /// When the system has no sockets for us.
    pub(super) fn new() -> anyhow::Result<Self> {
        // What a proxy or a redirection leads to is not the role that was meant.
        let client = Client::builder().timeout(TIMEOUT).no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { client })
    }

    /// Asks all of them at the same time.
    pub(super) async fn look(&self, targets: &Targets) -> Scraped {
        let (addresses, unknown) = targets.resolve().await;
        let mut asked = JoinSet::new();
        for (address, target) in addresses {
            let scraper = self.clone();
            asked.spawn(async move { Replica { target, address, answer: scraper.ask(address).await } });
        }
        let mut replicas = without_other_loopbacks(asked.join_all().await);
        replicas.sort_by_key(|replica| replica.address);
        Scraped { replicas, unknown }
    }

    async fn ask(&self, address: SocketAddr) -> Result<Answer, String> {
        let (health, metrics) =
            tokio::try_join!(self.get(address, "health"), self.get(address, "metrics")).map_err(|error| why(&error))?;
        let health =
            serde_json::from_slice(&health).map_err(|_| "what answers there is no role of Subtide".to_owned())?;
        Ok(Answer { health, metrics: Metrics::parse(&String::from_utf8_lossy(&metrics)) })
    }

    /// Whatever the status: a role that is not ready says so with 503.
    async fn get(&self, address: SocketAddr, path: &str) -> reqwest::Result<Vec<u8>> {
        let mut response = self.client.get(format!("http://{address}/{path}")).send().await?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await? {
            if body.len() + piece.len() > MAX_BYTES {
                break;
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// `localhost` often stands for two addresses, and a role listens at one of them: the other is no replica that is down.
fn without_other_loopbacks(replicas: Vec<Replica>) -> Vec<Replica> {
    let (refused, mut kept): (Vec<_>, Vec<_>) = replicas.into_iter().partition(|replica| {
        replica.address.ip().is_loopback() && replica.answer.as_ref().is_err_and(|error| error == REFUSED)
    });
    let answers = |target: &Target| {
        let same = |replica: &&Replica| replica.target == *target && replica.address.ip().is_loopback();
        kept.iter().filter(same).any(|replica| replica.answer.is_ok())
    };
    let down: Vec<_> = refused.into_iter().filter(|replica| !answers(&replica.target)).collect();
    kept.extend(down);
    kept
}

/// The cause at the bottom, which is what the operating system says.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        return REFUSED.to_owned();
    }
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_loopback_addresses_the_one_that_answers_is_the_role() {
        let health =
            HealthReport { role: String::new(), version: String::new(), ready: true, components: BTreeMap::new() };
        let replica = |target: &str, address: &str, error: Option<&str>| {
            let answer = Answer { health: health.clone(), metrics: Metrics::parse("") };
            let answer = error.map_or(Ok(answer), |error| Err(error.to_owned()));
            Replica { target: target.parse().unwrap(), address: address.parse().unwrap(), answer }
        };
        let kept = |second: Option<&str>, other: &str| {
            let replicas = [
                replica("localhost:1", "127.0.0.1:1", None),
                replica("localhost:1", "[::1]:1", second),
                replica("gateway:1", other, Some(REFUSED)),
            ];
            without_other_loopbacks(replicas.into()).len()
        };
        assert_eq!(kept(Some(REFUSED), "10.0.0.1:1"), 2);
        assert_eq!(kept(Some(REFUSED), "127.0.0.2:1"), 2, "another name's role is down");
        assert_eq!(kept(Some("no answer within 2 s"), "10.0.0.1:1"), 3, "something hangs there");
        assert_eq!(kept(None, "10.0.0.1:1"), 3);
    }
}
