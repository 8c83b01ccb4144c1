//! All programs as processes that write their logs to files, at the most talkative level, and a provider to sign in at.

use std::{
    collections::BTreeSet,
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Client, Url, redirect::Policy};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::{health::probe, wire::ClientMessage};
use tempfile::TempDir;
use tests::{
    hostile_issuer::HostileIssuer,
    redis_server::RedisServer,
    session::{PATIENCE, start},
    stack::{command, free_addr},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use super::search::Artefacts;

const CLIENT: &str = "subtide";
const CLIENT_SECRET: &str = "canary-client-secret-4f1c";
const JWT_SECRET: &str = "canary-jwt-secret-of-more-than-32-bytes-77aa";
const AUTH_SECRET: &str = "canary-auth-secret-of-more-than-32-bytes-19cd";
const EMAIL: &str = "canary.bird@example.com";
const NAME: &str = "Canary Q. Bird";
const CODE: &str = "4/canary-authorization-code";
const VERIFIER: &str = "canary-verifier-dBjftJeZ4CVP-mB92K27uhbUJU1";
const BACK: u16 = 4321;
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A program that writes to a file.
struct Talker {
    name: &'static str,
    child: Child,
    health: SocketAddr,
    log: PathBuf,
}

impl Talker {
    fn spawn(name: &'static str, directory: &TempDir, env: &[(&str, &str)]) -> Self {
        let (health, log) = (free_addr(), directory.path().join(format!("{name}.log")));
        let file = File::create(&log).unwrap();
        let mut command = command(name);
        command.envs(env.iter().copied()).env("HEALTH_PORT", health.port().to_string());
        command.env("LOG_LEVEL", "debug").stdin(Stdio::null());
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { name, child, health, log }
    }

    async fn ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !probe(self.health).await.unwrap_or(false) {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "{}: {}",
                self.name,
                std::fs::read_to_string(&self.log).unwrap()
            );
            assert!(Instant::now() < deadline, "{} is not ready", self.name);
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) struct House {
    pub(crate) http: Client,
    origin: String,
    redis: RedisServer,
    issuer: HostileIssuer,
    directory: TempDir,
    talkers: Vec<Talker>,
}

/// Names of keys, gathered while things happen.
pub(crate) struct Watched {
    over: Arc<AtomicBool>,
    task: JoinHandle<BTreeSet<String>>,
}

impl Watched {
    pub(crate) async fn stop(self) -> String {
        self.over.store(true, Ordering::Release);
        self.task.await.unwrap().into_iter().collect::<Vec<_>>().join("\n")
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        let (redis, issuer) = (RedisServer::spawn().await, HostileIssuer::start().await);
        let directory = tempfile::tempdir().unwrap();
        let address = free_addr();
        let origin = format!("http://{address}");
        let database = format!("sqlite:{}", directory.path().join("people.db").display());
        let (redis_url, port, issued_by) = (redis.url(), address.port().to_string(), issuer.issuer());
        let common = [("REDIS_URL", redis_url.as_str())];
        let door = [
            ("REDIS_URL", redis_url.as_str()),
            ("GATEWAY_PORT", &port),
            ("PUBLIC_URL", &origin),
            ("DATABASE_URL", &database),
            ("AUTH_SECRET", AUTH_SECRET),
            ("JWT_SECRET", JWT_SECRET),
            ("OIDC_ISSUER", &issued_by),
            ("OIDC_CLIENT_ID", CLIENT),
            ("OIDC_CLIENT_SECRET", CLIENT_SECRET),
            ("AUTH_PER_MINUTE", "1000"),
        ];
        let mut talkers = vec![
            Talker::spawn("gateway", &directory, &door),
            Talker::spawn("stt-worker", &directory, &common),
            Talker::spawn("translation-worker", &directory, &common),
        ];
        for talker in &mut talkers {
            talker.ready().await;
        }
        let http = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self { http, origin, redis, issuer, directory, talkers }
    }

    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn stream(&self) -> String {
        self.address("/v1/stream").replacen("http", "ws", 1)
    }

    /// Signs somebody in as a native program would. Returns every secret there is by then, by name.
    pub(crate) async fn sign_in(&self, artefacts: &mut Artefacts) -> Value {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let begin = json!({"code_challenge": challenge, "port": BACK});
        let begun: Value =
            self.http.post(self.address("/auth/start")).json(&begin).send().await.unwrap().json().await.unwrap();
        let address = Url::parse(begun["authorize_url"].as_str().unwrap_or_else(|| panic!("{begun}"))).unwrap();
        artefacts.add("address at the provider, without its state", &bare(&address));
        let of = |name: &str| address.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let (state, nonce) = (of("state"), of("nonce"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = self.issuer.claims(CLIENT, &nonce, now);
        (claims["email"], claims["name"]) = (json!(EMAIL), json!(NAME));
        let id_token = self.issuer.honest(&claims);
        self.issuer.answers_with_id_token(&id_token);
        let finish = json!({"login_id": begun["login_id"], "code": CODE, "code_verifier": VERIFIER, "state": state});
        let tokens: Value =
            self.http.post(self.address("/auth/finish")).json(&finish).send().await.unwrap().json().await.unwrap();
        assert_eq!(tokens["person"]["email"], EMAIL, "{tokens}");
        let hs256 = jsonwebtoken::encode(
            &jsonwebtoken::Header::default(),
            &json!({"sub": "machine", "exp": now + 600}),
            &jsonwebtoken::EncodingKey::from_secret(JWT_SECRET.as_bytes()),
        );
        json!({
            "access token": tokens["access_token"], "refresh token": tokens["refresh_token"], "ID token": id_token,
            "provider's access token": "provider-access-token", "provider's refresh token": "provider-refresh-token",
            "client secret": CLIENT_SECRET, "JWT_SECRET": JWT_SECRET, "AUTH_SECRET": AUTH_SECRET, "e-mail address": EMAIL,
            "name": NAME, "code": CODE, "verifier": VERIFIER, "state": state, "nonce": nonce, "login": begun["login_id"],
            "HS256 token": hs256.unwrap(), "API key": self.api_key(),
        })
    }

    fn api_key(&self) -> String {
        let database = format!("sqlite:{}", self.directory.path().join("people.db").display());
        let mut admin = command("subtide");
        admin.args(["admin", "--json", "keys", "create", "--label", "canary", "--scopes", "stream"]);
        admin.env("DATABASE_URL", database).env("AUTH_SECRET", AUTH_SECRET).env("REDIS_URL", self.redis.url());
        let output = admin.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let key = said.split('"').find(|word| word.starts_with("stk_"));
        key.unwrap_or_else(|| panic!("no key: {said}{}", String::from_utf8_lossy(&output.stderr))).to_owned()
    }

    /// Shows a credential, and is let in.
    pub(crate) async fn who_am_i(&self, bearer: &str) {
        let answer = self.http.get(self.address("/v1/me")).bearer_auth(bearer).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Opens a session, says `message`, and returns all that was said until it ended, but for the token to resume with.
    pub(crate) async fn error_of(&self, token: &str, message: &Value) -> String {
        let mut request = self.stream().into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (mut socket, _) = connect_async(request).await.unwrap();
        let start = serde_json::to_string(&ClientMessage::Start(start(&[]))).unwrap();
        for text in [start, message.to_string()] {
            socket.send(Message::text(text)).await.unwrap();
        }
        let mut said = String::new();
        let until_closed = async {
            while let Some(Ok(frame)) = socket.next().await {
                match frame {
                    Message::Text(text) if !text.contains("\"started\"") => said.push_str(&format!("{text}\n")),
                    Message::Close(close) => said.push_str(&format!("{close:?}\n")),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, until_closed).await.unwrap();
        assert!(said.contains("\"error\""), "`{said}` is no error");
        said
    }

    /// Gathers the names of all keys in Redis, over and over.
    pub(crate) fn watch_key_names(&self) -> Watched {
        let (over, url) = (Arc::new(AtomicBool::new(false)), self.redis.url());
        let seen_enough = Arc::clone(&over);
        let task = tokio::spawn(async move {
            let client = redis::Client::open(url).unwrap();
            let mut redis = client.get_multiplexed_async_connection().await.unwrap();
            let mut names = BTreeSet::new();
            loop {
                let last = seen_enough.load(Ordering::Acquire);
                let mut cursor = 0_u64;
                loop {
                    let (next, found): (u64, Vec<Vec<u8>>) =
                        redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(1000).query_async(&mut redis).await.unwrap();
                    names.extend(found.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
                    cursor = next;
                    if cursor == 0 {
                        break;
                    }
                }
                if last {
                    return names;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        Watched { over, task }
    }

    /// Reads what everybody counted and wrote.
    pub(crate) async fn close(mut self, artefacts: &mut Artefacts) {
        for talker in &self.talkers {
            let address = format!("http://{}/metrics", talker.health);
            let metrics = self.http.get(address).send().await.unwrap().text().await.unwrap();
            artefacts.add(&format!("metrics of {}", talker.name), &metrics);
        }
        for talker in std::mem::take(&mut self.talkers) {
            let (name, log) = (talker.name, talker.log.clone());
            drop(talker);
            artefacts.add(&format!("log of {name}"), &String::from_utf8_lossy(&std::fs::read(log).unwrap()));
        }
    }
}

/// The address without what the provider has to be told.
fn bare(address: &Url) -> String {
    let told = ["state", "nonce"];
    address
        .query_pairs()
        .filter(|(key, _)| !told.contains(&&**key))
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect()
}
