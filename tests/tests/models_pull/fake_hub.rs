//! A small hub: one model, served as a Hugging Face hub serves it, with the faults a test asks for.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

pub(crate) const MODEL: &str = "someone/small-model";
/// Enough for several writes to the socket.
pub(crate) const WEIGHTS_BYTES: usize = 300_000;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Of the pieces a body is sent in.
const PIECE: usize = 10_000;

/// What goes wrong with one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The first transfer ends after so many bytes.
    BreakOffOnceAfter(usize),
    /// Every transfer ends at this byte of the file.
    BreaksOffAlwaysAt(usize),
    /// `Range` has no effect.
    IgnoresRange,
    /// The bytes are not those the checksum was made of.
    FlippedByte,
}

pub(crate) struct FakeHub {
    files: BTreeMap<String, Vec<u8>>,
    faults: HashMap<String, Fault>,
    revision: String,
    token: Option<String>,
    /// File and first byte of each request for bytes.
    log: Mutex<Vec<(String, usize)>>,
    port: u16,
}

impl FakeHub {
    pub(crate) fn new() -> Self {
        let weights = (0..WEIGHTS_BYTES).map(|n| (n * n / 251) as u8).collect();
        let files = [
            ("README.md", b"# A model".to_vec()),
            ("config.json", br#"{"model_type": "whisper"}"#.to_vec()),
            ("model.safetensors", weights),
            ("onnx/model.onnx", b"no".to_vec()),
            ("tokenizer.json", br#"{"version": "1.0"}"#.to_vec()),
        ];
        Self {
            files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
            faults: HashMap::new(),
            revision: "main".to_owned(),
            token: None,
            log: Mutex::default(),
            port: 0,
        }
    }

    pub(crate) fn with(mut self, file: &str, fault: Fault) -> Self {
        self.faults.insert(file.to_owned(), fault);
        self
    }

    pub(crate) fn listing(mut self, file: &str) -> Self {
        self.files.insert(file.to_owned(), b"listed".to_vec());
        self
    }

    pub(crate) fn without(mut self, file: &str) -> Self {
        self.files.remove(file);
        self
    }

    pub(crate) fn private_to(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub(crate) fn at_revision(mut self, revision: &str) -> Self {
        self.revision = revision.to_owned();
        self
    }

    /// On a free port, until the test's runtime ends.
    pub(crate) async fn serve(mut self) -> RunningHub {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let hub = Arc::new(self);
        let routes = Router::new()
            .route("/api/models/{org}/{name}/revision/{revision}", get(listing))
            .route("/{org}/{name}/resolve/{commit}/{file}", get(bytes))
            .with_state(Arc::clone(&hub));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        RunningHub(hub)
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().is_none_or(|token| {
            headers
                .get(header::AUTHORIZATION)
                .is_some_and(|value| value.as_bytes() == format!("Bearer {token}").as_bytes())
        })
    }
}

pub(crate) struct RunningHub(Arc<FakeHub>);

impl RunningHub {
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/", self.0.port)
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        self.0.files[file].clone()
    }

    /// First bytes of the requests for `file`, in order.
    pub(crate) fn asked_for(&self, file: &str) -> Vec<usize> {
        let log = self.0.log.lock().unwrap();
        log.iter().filter(|(name, _)| name == file).map(|(_, from)| *from).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sibling((name, bytes): (&String, &Vec<u8>)) -> serde_json::Value {
    let mut blob = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    blob.update(bytes);
    let mut sibling = json!({"rfilename": name, "size": bytes.len(), "blobId": hex(&blob.finalize())});
    if name.ends_with(".safetensors") {
        sibling["blobId"] = json!("of the pointer, not of the bytes");
        sibling["lfs"] = json!({"sha256": hex(&Sha256::digest(bytes)), "size": bytes.len(), "pointerSize": 134});
    }
    sibling
}

async fn listing(
    State(hub): State<Arc<FakeHub>>,
    Path((org, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    if !hub.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if format!("{org}/{name}") != MODEL || revision != hub.revision {
        return StatusCode::NOT_FOUND.into_response();
    }
    let siblings: Vec<_> = hub.files.iter().map(sibling).collect();
    axum::Json(json!({"id": MODEL, "sha": COMMIT, "siblings": siblings})).into_response()
}

async fn bytes(
    State(hub): State<Arc<FakeHub>>,
    Path((_, _, commit, file)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(mut bytes) = hub.files.get(&file).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    if commit != COMMIT || !hub.admits(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let range = headers.get(header::RANGE).map(|value| value.to_str().unwrap());
    let from = range.map_or(0, |range| range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap());
    let first = {
        let mut log = hub.log.lock().unwrap();
        log.push((file.clone(), from));
        log.iter().filter(|(name, _)| *name == file).count() == 1
    };
    let fault = hub.faults.get(&file).copied();
    if fault == Some(Fault::FlippedByte) {
        bytes[3] ^= 1;
    }
    let (status, from) = match fault {
        Some(Fault::IgnoresRange) => (StatusCode::OK, 0),
        _ if range.is_some() => (StatusCode::PARTIAL_CONTENT, from),
        _ => (StatusCode::OK, 0),
    };
    let end = match fault {
        Some(Fault::BreakOffOnceAfter(sent)) if first => sent,
        Some(Fault::BreaksOffAlwaysAt(end)) => end.max(from),
        _ => bytes.len(),
    };
    // A body that is shorter than its announced length is what a broken connection looks like.
    let pieces: Vec<_> = bytes[from..end].chunks(PIECE).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let broken = (end < bytes.len()).then_some(async {
        // What was sent so far leaves the server only when nothing else is there to be sent.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::other("broken off"))
    });
    let body = Body::from_stream(stream::iter(pieces).chain(stream::iter(broken).then(|broken| broken)));
    let length = [(header::CONTENT_LENGTH, (bytes.len() - from).to_string())];
    (status, length, body).into_response()
}
