//! A person at the caption page: Chromium with a microphone that hears the demo's recording, all of Subtide behind a network
//! that can be cut, and the scripts of `tests/browser` that play the person.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Map, Value};
use shared::{audio::SAMPLE_RATE, config::Env};
use subtide::roles::{Roles, Settings};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::{Mutex, MutexGuard, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    figure::figure,
    oidc_provider::OidcProvider,
    redis_server::RedisServer,
    speech::{Spoken, demo, pcm},
    stack::repository,
};

/// Quiet before the first word of [`recording`]: until the page is listening, on a busy machine too.
pub const LEAD_MS: u64 = 2_000;
/// Quiet behind the last word, longer than the one that ends an utterance.
const TRAIL_MS: u64 = 4_000;
/// As much of the demo's recording, at its beginning, is a quiet room: nothing would be no room at all.
const ROOM_MS: u64 = 500;
/// Bytes of a millisecond of s16le mono.
const BYTES_PER_MS: usize = SAMPLE_RATE as usize / 1000 * 2;
/// No script takes so long.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(300);
/// Where Chromium is looked for, unless the environment variable `CHROMIUM` names it.
const CHROMIUMS: [&str; 3] =
    ["/usr/bin/chromium", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];

/// One at a time: each wants the whole machine, and speech cannot wait.
static TURN: Mutex<()> = Mutex::const_new(());

/// Path of Chromium; `None`, said aloud, where it or the packages of the scripts are not there. With `CI=true` they have
/// to be.
///
/// # Panics
/// When they may not be missing.
#[must_use]
pub fn chromium() -> Option<PathBuf> {
    let chosen = env::var_os("CHROMIUM").map(|path| vec![PathBuf::from(path)]);
    let known = chosen.unwrap_or_else(|| CHROMIUMS.map(PathBuf::from).to_vec());
    let found = known.into_iter().find(|path| path.is_file());
    let missing = match &found {
        None => "Chromium is not installed (Debian: apt-get install chromium), or CHROMIUM does not say where it is",
        Some(_) if !scripts().join("node_modules/playwright-core").is_dir() => {
            "the packages of its scripts are not installed; run `npm ci` in tests/browser"
        }
        Some(_) => return found,
    };
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "the page in a browser: {missing}");
    eprintln!("SKIPPED: this test wants the page in a browser: {missing}");
    None
}

/// Directory of the scripts.
fn scripts() -> PathBuf {
    repository().join("tests/browser")
}

/// What a microphone hears: the first `utterances` of the demo's recording, between stretches of quiet.
#[derive(Debug)]
pub struct Recording {
    /// What is said, with times in this recording.
    pub spoken: Vec<Spoken>,
    /// The wav file.
    pub path: PathBuf,
    _directory: TempDir,
}

/// Makes one.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn recording(utterances: usize) -> Recording {
    let (path, mut spoken) = demo();
    let end_ms = spoken.get(utterances).map_or(u64::MAX, |next| (spoken[utterances - 1].end_ms + next.start_ms) / 2);
    spoken.truncate(utterances);
    let mut sound = pcm(&path);
    sound.truncate(usize::try_from(end_ms).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_MS));
    let room = sound[..ROOM_MS as usize * BYTES_PER_MS].to_vec();
    let quiet = |ms: u64| room.repeat(usize::try_from(ms / ROOM_MS).unwrap_or(0));
    let sound = [quiet(LEAD_MS), sound, quiet(TRAIL_MS)].concat();
    for utterance in &mut spoken {
        utterance.start_ms += LEAD_MS;
        utterance.end_ms += LEAD_MS;
    }
    let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
    let path = directory.path().join("speech.wav");
    std::fs::write(&path, wav(&sound)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Recording { spoken, path, _directory: directory }
}

/// `pcm` (s16le, mono) as a wav file.
fn wav(pcm: &[u8]) -> Vec<u8> {
    let length = u32::try_from(pcm.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(pcm.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(length + 36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    // Length of this part; PCM; one channel; samples and bytes a second; bytes of a sample; its bits.
    for (value, bytes) in [(16, 4), (1, 2), (1, 2), (SAMPLE_RATE, 4), (SAMPLE_RATE * 2, 4), (2, 2), (16, 2)] {
        file.extend_from_slice(&value.to_le_bytes()[..bytes]);
    }
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(pcm);
    file
}

/// The network between the page and the gateway.
#[derive(Debug)]
pub struct Wire {
    addr: SocketAddr,
    leads_to: Arc<OnceLock<SocketAddr>>,
    cut: watch::Sender<bool>,
    carrying: JoinHandle<()>,
}

impl Wire {
    /// One on a free port, that leads nowhere yet.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap_or_else(|error| panic!("no free port: {error}"));
        let addr = listener.local_addr().unwrap_or_else(|error| panic!("no free port: {error}"));
        let leads_to = Arc::new(OnceLock::new());
        let (cut, is_cut) = watch::channel(false);
        let carrying = tokio::spawn(carry(listener, Arc::clone(&leads_to), is_cut));
        Self { addr, leads_to, cut, carrying }
    }

    /// Breaks every connection at once, with what was on its way in it, and lets none come about.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Undoes a cut.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

async fn carry(listener: TcpListener, leads_to: Arc<OnceLock<SocketAddr>>, is_cut: watch::Receiver<bool>) {
    while let Ok((near, _)) = listener.accept().await {
        let Some(addr) = leads_to.get().copied().filter(|_| !*is_cut.borrow()) else { continue };
        let mut is_cut = is_cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = is_cut.wait_for(|cut| *cut) => {}
                () = pass(near, addr) => {}
            }
        });
    }
}

async fn pass(mut near: TcpStream, addr: SocketAddr) {
    let Ok(mut far) = TcpStream::connect(addr).await else { return };
    for side in [&near, &far] {
        // Without it small frames would wait for each other; that is all an error could mean.
        side.set_nodelay(true).ok();
    }
    // Ends when either side does, in whatever way.
    copy_bidirectional(&mut near, &mut far).await.ok();
}

/// All of Subtide with sign-in at a provider, on a Redis of its own, behind a [`Wire`].
#[derive(Debug)]
pub struct Site {
    /// Where the page is.
    pub url: String,
    /// What its browser is cut off by.
    pub wire: Wire,
    chromium: PathBuf,
    roles: Roles,
    _provider: OidcProvider,
    _redis: RedisServer,
    _people: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Site {
    /// Starts everything, when no other test has one; `None`, said aloud, where a part is not installed.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn open() -> Option<Self> {
        let chromium = chromium()?;
        let turn = TURN.lock().await;
        let wire = Wire::new().await;
        // Not the provider's name: a browser has to see two sites.
        let url = format!("http://localhost:{}", wire.addr.port());
        let provider = OidcProvider::spawn(&url).await?;
        let redis = RedisServer::spawn().await;
        let people = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let database = format!("sqlite:{}", people.path().join("people.db").display());
        let path = |path: &str| repository().join(path).display().to_string();
        let (redis_url, models, page) = (redis.url(), path("models"), path("web-ui/page"));
        let env: [(&str, &str); 12] = [
            ("GATEWAY_PORT", "0"),
            ("REDIS_URL", &redis_url),
            ("MODELS_DIR", &models),
            ("WEB_UI_DIR", &page),
            ("PUBLIC_URL", &url),
            ("OIDC_ISSUER", &provider.issuer),
            ("OIDC_CLIENT_ID", &provider.client_id),
            ("OIDC_CLIENT_SECRET", &provider.client_secret),
            ("ALLOWED_EMAIL_DOMAINS", "example.com"),
            ("DATABASE_URL", &database),
            // One script opens the page more often than people do.
            ("AUTH_PER_MINUTE", "1000"),
            ("CONNECTIONS_PER_MINUTE", "1000"),
        ];
        let mut env = Env::of(env);
        let mut settings = Settings::from_env(&mut env);
        env.finish().unwrap_or_else(|error| panic!("{error}"));
        settings.health = None;
        let roles = Roles::start(settings).await.unwrap_or_else(|error| panic!("{error:#}"));
        wire.leads_to.set(roles.addr).unwrap_or_else(|_| panic!("the wire leads somewhere already"));
        Some(Self { url, wire, chromium, roles, _provider: provider, _redis: redis, _people: people, _turn: turn })
    }

    /// Plays `script` of `tests/browser` while the microphone hears `recording`; `answer` does what it asks for. What the
    /// script told comes back by name; its figures are printed.
    ///
    /// # Panics
    /// When the script fails.
    pub async fn play(&self, script: &str, recording: &Recording, answer: impl AsyncFnMut(&str)) -> Map<String, Value> {
        let given = serde_json::json!({
            "url": self.url,
            "chromium": self.chromium,
            "wav": recording.path,
            "leadMs": recording.spoken.first().map_or(0, |first| first.start_ms),
            "lastMs": recording.spoken.last().map_or(0, |last| last.start_ms),
            "pictures": pictures(),
        });
        play(script, &given, answer).await
    }

    /// Where the gateway itself listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.roles.addr
    }
}

/// Folder for pictures, where somebody wants some: the environment variable `SUBTIDE_PICTURES`, seen from the repository.
#[must_use]
pub fn pictures() -> Option<PathBuf> {
    env::var_os("SUBTIDE_PICTURES").map(|folder| repository().join(folder))
}

/// What a script says, a line each.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    /// A figure it measured.
    Figure { figure: String, value: f64 },
    /// Something to be done before it goes on.
    Ask { ask: String },
    /// Something for the test to judge.
    Told { told: String, value: Value },
}

/// Runs `script` with `given` as its settings.
///
/// # Panics
/// When it fails.
pub async fn play(script: &str, given: &Value, answer: impl AsyncFnMut(&str)) -> Map<String, Value> {
    let mut command = Command::new("node");
    command.arg(script).arg(given.to_string()).current_dir(scripts());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("node does not start: {error}"));
    let told = timeout(SCRIPT_TIMEOUT, follow(&mut child, answer)).await;
    let told = told.unwrap_or_else(|_| panic!("{script} is not over after {SCRIPT_TIMEOUT:?}"));
    let status = child.wait().await.unwrap_or_else(|error| panic!("{script}: {error}"));
    assert!(status.success(), "{script} failed ({status}); its words are above");
    told
}

async fn follow(child: &mut Child, mut answer: impl AsyncFnMut(&str)) -> Map<String, Value> {
    let mut told = Map::new();
    let (Some(stdout), Some(mut stdin)) = (child.stdout.take(), child.stdin.take()) else { return told };
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line).unwrap_or_else(|error| panic!("`{line}`: {error}")) {
            Line::Figure { figure: name, value } => figure(&name, value),
            Line::Told { told: name, value } => drop(told.insert(name, value)),
            Line::Ask { ask } => {
                answer(&ask).await;
                // A script that failed meanwhile says so by its status.
                stdin.write_all(b"done\n").await.ok();
            }
        }
    }
    told
}

/// Runs a script of another room of the repository; the figures that it prints are printed here, the rest of it goes to stderr.
///
/// # Panics
/// When it fails.
pub async fn measure(script: &Path) {
    let mut command = Command::new("node");
    command.arg(script).current_dir(script.parent().unwrap_or(script)).envs(chromium().map(|path| ("CHROMIUM", path)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("node does not start: {error}"));
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let found = line.strip_prefix("FIGURE ").and_then(|line| line.split_once(' '));
            match found.and_then(|(name, value)| Some((name, value.parse().ok()?))) {
                Some((name, value)) => figure(name, value),
                None => eprintln!("{line}"),
            }
        }
    }
    let status = child.wait().await.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(status.success(), "{} failed ({status}); its words are above", script.display());
}
