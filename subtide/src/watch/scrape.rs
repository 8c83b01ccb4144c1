//! One look at every role: what its health port says.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use reqwest::{Client, redirect::Policy};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{
    samples::Metrics,
    target::{Target, Targets},
};

/// A health port answers within milliseconds; one that takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(2);
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
        let mut replicas = asked.join_all().await;
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

/// The cause at the bottom, which is what the operating system says.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
