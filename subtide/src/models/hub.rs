//! Asks a hub what a model is made of. Any server with the Hugging Face Hub's API will do.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use shared::config::{ExposeSecret as _, SecretString};

/// A hub that does not answer a connection for so long is out of reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A transfer that brings nothing for so long is broken off, and resumed.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the hub gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No connection, or one that broke.
    #[error("the hub at {endpoint} cannot be reached; check the network, or HF_ENDPOINT for a mirror")]
    Unreachable {
        /// Which hub.
        endpoint: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// 401 or 403. A hub also says so of a model that does not exist, so as not to tell of private ones.
    #[error(
        "the hub refuses {what} (HTTP {status}): check the name; a model that is private or wants its licence \
         accepted needs HF_TOKEN, a token of an account that has access"
    )]
    Refused {
        /// The model or file.
        what: String,
        /// HTTP status.
        status: u16,
    },
    /// 404.
    #[error("the hub has no {what}; check the name and the revision")]
    NotFound {
        /// The model or file.
        what: String,
    },
    /// Any other answer than success.
    #[error("the hub answers {what} with HTTP {status}; try again later")]
    Status {
        /// The model or file.
        what: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer is not what the API promises.
    #[error("the hub at {endpoint} answers with something else than a model's listing; is HF_ENDPOINT right?")]
    NotAListing {
        /// Which hub.
        endpoint: String,
        /// What went wrong.
        source: reqwest::Error,
    },
}

impl HubError {
    /// Whether the same request may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Refused { .. } | Self::NotFound { .. } | Self::NotAListing { .. } => false,
        }
    }
}

/// A model's files at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    /// What the revision stood for when asked, so that all files are of one version.
    pub(super) commit: String,
    pub(super) files: Vec<HubFile>,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubFile {
    /// Path within the model, as the hub tells it: not to be trusted.
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// What a file's bytes must hash to, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Digest {
    /// SHA-256 of the bytes: large files.
    Sha256(String),
    /// SHA-1 of git's blob header and the bytes: small files.
    GitBlob(String),
}

impl Digest {
    pub(super) fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }
}

#[derive(Deserialize)]
struct ModelInfo {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Sibling {
    /// None where the hub tells no checksum: such a file cannot be pulled.
    fn file(self) -> Option<HubFile> {
        let (size, digest) = match self.lfs {
            Some(lfs) => (lfs.size, Digest::Sha256(lfs.sha256)),
            None => (self.size?, Digest::GitBlob(self.blob_id?)),
        };
        Some(HubFile { name: self.rfilename, size, digest })
    }
}

/// A hub and who asks.
#[derive(Debug)]
pub(super) struct Hub {
    client: reqwest::Client,
    endpoint: String,
    token: Option<SecretString>,
}

impl Hub {
    /// # Errors
    /// When no TLS can be set up.
    pub(super) fn new(endpoint: &str, token: Option<SecretString>) -> Result<Self, HubError> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let client = reqwest::Client::builder()
            .user_agent(concat!("subtide/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|source| HubError::Unreachable { endpoint: endpoint.clone(), source })?;
        Ok(Self { client, endpoint, token })
    }

    /// # Errors
    /// When the hub is out of reach, refuses, or has no such model or revision.
    pub(super) async fn listing(&self, name: &str, revision: &str) -> Result<Listing, HubError> {
        let url = format!("{}/api/models/{name}/revision/{}?blobs=true", self.endpoint, escaped(revision));
        let answer = self.send(self.client.get(url), &format!("model {name} at revision {revision}")).await?;
        let info: ModelInfo =
            answer.json().await.map_err(|source| HubError::NotAListing { endpoint: self.endpoint.clone(), source })?;
        Ok(Listing { commit: info.sha, files: info.siblings.into_iter().filter_map(Sibling::file).collect() })
    }

    /// Address of a file's bytes.
    pub(super) fn file_url(&self, name: &str, commit: &str, file: &str) -> String {
        format!("{}/{name}/resolve/{}/{}", self.endpoint, escaped(commit), escaped(file))
    }

    /// The file's bytes from `from` on; the answer's status tells whether the server heeded `from`.
    ///
    /// # Errors
    /// As [`Hub::listing`].
    pub(super) async fn open(&self, url: &str, from: u64) -> Result<Response, HubError> {
        let mut request = self.client.get(url);
        if from > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={from}-"));
        }
        self.send(request, &format!("file {url}")).await
    }

    /// The address is left out of the cause: that of a redirect holds a signature.
    pub(super) fn unreachable(&self, source: reqwest::Error) -> HubError {
        HubError::Unreachable { endpoint: self.endpoint.clone(), source: source.without_url() }
    }

    /// Redirects to another host go without the token.
    async fn send(&self, mut request: RequestBuilder, what: &str) -> Result<Response, HubError> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let answer = request.send().await.map_err(|source| self.unreachable(source))?;
        let (what, status) = (what.to_owned(), answer.status());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(HubError::Refused { what, status: status.as_u16() })
            }
            StatusCode::NOT_FOUND => Err(HubError::NotFound { what }),
            _ if status.is_success() => Ok(answer),
            _ => Err(HubError::Status { what, status: status.as_u16() }),
        }
    }
}

/// Percent-encodes all but what may stand in one segment of a path.
fn escaped(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_tells_the_checksum_of_small_and_of_large_files() {
        let info: ModelInfo = serde_json::from_str(
            r#"{"sha": "c0", "siblings": [
                {"rfilename": "config.json", "size": 7, "blobId": "b1"},
                {"rfilename": "model.safetensors", "size": 99, "blobId": "b2", "lfs": {"sha256": "s2", "size": 99, "pointerSize": 1}},
                {"rfilename": "unknown.json"}]}"#,
        )
        .unwrap();
        let files: Vec<_> = info.siblings.into_iter().filter_map(Sibling::file).collect();
        let file = |name: &str, size, digest| HubFile { name: name.to_owned(), size, digest };
        let large = file("model.safetensors", 99, Digest::Sha256("s2".to_owned()));
        assert_eq!(files, [file("config.json", 7, Digest::GitBlob("b1".to_owned())), large]);
    }

    #[test]
    fn a_revision_is_one_segment_of_the_address() {
        assert_eq!(escaped("refs/pr/7"), "refs%2Fpr%2F7");
        assert_eq!(escaped("v1.0_a-b~c"), "v1.0_a-b~c");
    }
}
