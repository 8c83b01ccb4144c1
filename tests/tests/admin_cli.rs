//! `subtide admin`, the real program: what it prints, and that a gateway's people hear of what it does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{process::Output, sync::Arc, time::Duration};

use identity::{Clock, IdentityConfig, People, ProviderIdentity, Refused, Tokens, revocation::Watch};
use serde_json::Value;
use shared::bus::{Bus, MemoryBus, RedisBus};
use tempfile::TempDir;
use tests::{redis_server::RedisServer, stack};
use tokio::time::timeout;

/// For what must come; never waited out by a test that passes.
const PATIENCE: Duration = Duration::from_secs(60);
const EMAIL: &str = "ana@example.com";

/// A database that a gateway has open, and the command beside it.
struct Desk {
    directory: TempDir,
    gateway: People,
    redis_url: Option<String>,
}

impl Desk {
    /// A gateway without Redis, as `subtide serve` has it.
    async fn new() -> Self {
        Self::with(Arc::new(MemoryBus::default()), None).await
    }

    async fn with(bus: Arc<dyn Bus>, redis_url: Option<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = IdentityConfig::at(&database_url(&directory));
        let gateway = People::open(&config, Vec::new(), bus, Clock::default()).await.unwrap();
        Self { directory, gateway, redis_url }
    }

    async fn sign_in(&self, issuer: &str) -> Tokens {
        let (issuer, subject) = (issuer.to_owned(), "1".to_owned());
        let who = ProviderIdentity { issuer, subject, verified_email: Some(EMAIL.to_owned()), name: None };
        self.gateway.sign_in(&who, "laptop", "192.0.2.7").await.unwrap()
    }

    async fn watch(&self, tokens: &Tokens) -> Watch {
        let who = self.gateway.verify(&tokens.access_token).await.unwrap();
        self.gateway.revocations().watch(who.family.as_deref(), &who.subject)
    }

    /// What the command does; its arguments are separated by blanks.
    fn run(&self, arguments: &str) -> Output {
        let mut command = stack::command("subtide");
        command.arg("admin").args(arguments.split(' ')).env("DATABASE_URL", database_url(&self.directory));
        command.envs(self.redis_url.iter().map(|url| ("REDIS_URL", url))).output().unwrap()
    }

    /// What it prints when it succeeds.
    #[track_caller]
    fn text(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.text(&format!("{arguments} --json"))).unwrap()
    }

    /// What it says when it fails.
    #[track_caller]
    fn failure(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments} succeeds");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn database_url(directory: &TempDir) -> String {
    format!("sqlite:{}", directory.path().join("people.db").display())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_listed_disabled_enabled_and_signed_out() {
    let desk = Desk::new().await;
    assert_eq!(desk.json("users list"), Value::Array(Vec::new()));
    let tokens = desk.sign_in("https://id.example").await;
    let listed = desk.json("users list");
    assert_eq!((&listed[0]["id"], &listed[0]["email"]), (&tokens.person.id.clone().into(), &EMAIL.into()));
    let table = desk.text("users list");
    assert!(table.starts_with("id ") && table.contains(EMAIL) && table.lines().count() == 2, "{table}");

    let mut watch = desk.watch(&tokens).await;
    desk.text(&format!("users disable {EMAIL}"));
    timeout(PATIENCE, watch.revoked()).await.unwrap();
    assert_eq!(desk.gateway.verify(&tokens.access_token).await, Err(Refused::Revoked));
    assert_eq!(desk.json("users list")[0]["disabled"], true);
    desk.text(&format!("users enable {}", tokens.person.id));
    // What is revoked for a subject is revoked to the second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again = desk.sign_in("https://id.example").await;
    let mut watch = desk.watch(&again).await;
    desk.text(&format!("users sign-out {}", tokens.person.id));
    timeout(PATIENCE, watch.revoked()).await.unwrap();

    assert!(desk.failure("users disable nobody@example.com").contains("nobody with this id"));
    desk.sign_in("https://other.example").await;
    assert!(desk.failure(&format!("users disable {EMAIL}")).contains("2 people"));
}

#[tokio::test(flavor = "multi_thread")]
async fn api_keys_are_made_shown_once_and_revoked() {
    let desk = Desk::new().await;
    let made = desk.json("keys create --scopes stream,batch --label archive --expires 90d");
    let (id, key) = (made[0]["id"].as_str().unwrap(), made[0]["key"].as_str().unwrap());
    let who = desk.gateway.verify(key).await.unwrap();
    assert_eq!(who.scopes.to_string(), "stream batch");
    let listed = desk.text("keys list");
    assert!(listed.contains(id) && listed.contains("archive") && !listed.contains(key), "{listed}");
    desk.text(&format!("keys revoke {id}"));
    assert_eq!(desk.gateway.verify(key).await, Err(Refused::Revoked));
    assert!(desk.failure(&format!("keys revoke {id}")).contains("no API key"));
    assert!(desk.failure("keys create --scopes root --label x").contains("root"));
    assert!(desk.failure("keys create --scopes stream --label x --expires soon").contains("90d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_token_gets_in_and_is_all_that_is_printed() {
    let desk = Desk::new().await;
    let printed = desk.text("token mint --subject robot-1 --scopes admin --for 5m");
    let token = printed.strip_suffix('\n').unwrap();
    let who = desk.gateway.verify(token).await.unwrap();
    assert_eq!((who.subject.as_str(), who.scopes.to_string().as_str()), ("robot-1", "admin"));
    let mut watch = desk.gateway.revocations().watch(who.family.as_deref(), &who.subject);
    desk.text(&format!("revoke --family {}", who.family.unwrap()));
    timeout(PATIENCE, watch.revoked()).await.unwrap();
    assert!(desk.failure("token mint --subject robot-1 --for 2h").contains("an hour"));
    assert!(desk.failure(&format!("token mint --subject {EMAIL}")).contains("no e-mail address"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_keys_are_rotated_and_dropped() {
    let desk = Desk::new().await;
    let first = desk.json("signing list")[0]["kid"].as_str().unwrap().to_owned();
    desk.text("signing rotate");
    let states: Vec<_> = desk.json("signing list").as_array().unwrap().iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["next", "current"]);
    desk.text(&format!("signing drop {first}"));
    assert_eq!(desk.json("signing list")[1]["state"], "dropped");
    assert!(desk.failure(&format!("signing drop {first}")).contains("no signing key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_and_audit_are_told() {
    let desk = Desk::new().await;
    let tokens = desk.sign_in("https://id.example").await;
    desk.gateway.used(&tokens.person.id, 1500).await;
    let usage = desk.json("usage");
    assert_eq!((&usage[0]["subject"], &usage[0]["audio_ms"]), (&tokens.person.id.clone().into(), &1500.into()));
    assert_eq!(desk.json("usage --day 2001-01-01"), Value::Array(Vec::new()));
    desk.text("signing rotate");
    let audit = desk.json("audit --last 1");
    assert_eq!((&audit[0]["what"], audit.as_array().unwrap().len()), (&"signing_key_rotated".into(), 1));
    let all = desk.text("audit");
    assert!(all.contains("sign_in") && !all.contains(EMAIL) && !all.contains("192.0.2.7"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_said() {
    let desk = Desk::new().await;
    let run = |pairs: &[(&str, &str)]| {
        let mut command = stack::command("subtide");
        let output = command.args(["admin", "users", "list"]).envs(pairs.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/d")]);
    assert!(code == Some(64) && said.contains("AUTH_SECRET") && !said.contains("hush"), "{said}");
    let secret = ("AUTH_SECRET", "0123456789abcdef0123456789abcdef");
    let (code, said) = run(&[("DATABASE_URL", "postgres://u:hush@127.0.0.1:1/d"), secret]);
    assert!(code == Some(1) && said.contains("database") && !said.contains("hush"), "{said}");
    // Below a file nobody can make one, not even root.
    let file = desk.directory.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let below = format!("sqlite:{}/people.db", file.display());
    let (code, said) = run(&[("DATABASE_URL", &below)]);
    assert!(code == Some(1) && said.contains("a-file/people.db"), "{said}");
    let url = database_url(&desk.directory);
    let (code, said) = run(&[("DATABASE_URL", &url), ("REDIS_URL", "redis://127.0.0.1:1/")]);
    assert!(code == Some(1) && said.contains("Redis"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_on_redis_hear_of_it() {
    let redis = RedisServer::spawn().await;
    let bus = Arc::new(RedisBus::connect(&redis.url()).await.unwrap());
    let desk = Desk::with(bus, Some(redis.url())).await;
    let tokens = desk.sign_in("https://id.example").await;
    let mut watch = desk.watch(&tokens).await;
    desk.text(&format!("users sign-out {}", tokens.person.id));
    assert_eq!(desk.gateway.verify(&tokens.access_token).await, Err(Refused::Revoked));
    timeout(PATIENCE, watch.revoked()).await.unwrap();
}
