//! A worker that starts: ready when it can work, patient with what may pass, and short with what may not.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use shared::health::probe;
use tempfile::TempDir;
use tests::{
    redis_server::RedisServer,
    stack::{command, free_addr, repository},
};
use tokio::time::{Instant, sleep};

use super::speech::PATIENCE;

const MODEL: &str = "demo-stt-en";
const WEIGHTS: &str = "model.safetensors";

/// `MODELS_DIR` with the speech model that ships, but for its weights.
fn models_without_weights() -> TempDir {
    let models = tempfile::tempdir().unwrap();
    std::fs::create_dir(models.path().join(MODEL)).unwrap();
    for file in std::fs::read_dir(shipped("")).unwrap() {
        let file = file.unwrap();
        if file.file_name() != WEIGHTS {
            symlink(file.path(), models.path().join(MODEL).join(file.file_name())).unwrap();
        }
    }
    models
}

fn shipped(file: &str) -> PathBuf {
    repository().join("models").join(MODEL).join(file)
}

fn worker(redis: &RedisServer, models: &Path) -> (Command, std::net::SocketAddr) {
    let health = free_addr();
    let mut worker = command("stt-worker");
    worker.env("REDIS_URL", redis.url()).env("MODELS_DIR", models).env("HEALTH_PORT", health.port().to_string());
    worker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    (worker, health)
}

/// Waits until the health port says whether the worker is ready.
async fn first_word(health: std::net::SocketAddr) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(ready) = probe(health).await {
            return ready;
        }
        assert!(Instant::now() < deadline, "the health port does not open");
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

/// Its exit code, and all it said.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_model_that_comes_late_and_is_not_ready_before() {
    let (redis, models) = (RedisServer::spawn().await, models_without_weights());
    let (mut worker, health) = worker(&redis, models.path());
    let child = worker.spawn().unwrap();
    assert!(!first_word(health).await, "ready without a model");
    sleep(Duration::from_millis(500)).await;
    symlink(shipped(WEIGHTS), models.path().join(MODEL).join(WEIGHTS)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !probe(health).await.unwrap() {
        assert!(Instant::now() < deadline, "never ready");
        sleep(Duration::from_millis(5)).await;
    }
    signal(&child, "TERM");
    let (code, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("trying again") && said.contains(WEIGHTS), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_wait_for_a_model_and_a_model_that_never_comes_is_told_with_code_66() {
    let (redis, models) = (RedisServer::spawn().await, models_without_weights());
    let (mut told, told_health) = worker(&redis, models.path());
    let (mut left, left_health) = worker(&redis, models.path());
    let (told, left) = (told.spawn().unwrap(), left.spawn().unwrap());
    assert!(!first_word(told_health).await && !first_word(left_health).await);
    sleep(Duration::from_millis(500)).await;
    signal(&told, "TERM");
    let (code, said) = ended(told);
    assert_eq!(code, Some(0), "it was told to stop before it gave up: {said}");
    let (code, said) = ended(left);
    assert_eq!(code, Some(66), "{said}");
    assert_eq!(said.matches("trying again").count(), 3, "{said}");
    assert!(said.contains("subtide models pull"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_damaged_is_not_tried_again() {
    let (redis, models) = (RedisServer::spawn().await, models_without_weights());
    std::fs::write(models.path().join(MODEL).join(WEIGHTS), b"no tensors in here").unwrap();
    let (mut worker, _) = worker(&redis, models.path());
    let (code, said) = ended(worker.spawn().unwrap());
    assert_eq!(code, Some(66), "{said}");
    assert!(said.contains(WEIGHTS) && !said.contains("trying again"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_are_mounted_late_are_waited_for() {
    let redis = RedisServer::spawn().await;
    let volume = tempfile::tempdir().unwrap();
    let (mut worker, health) = worker(&redis, &volume.path().join("models"));
    let child = worker.spawn().unwrap();
    assert!(!first_word(health).await, "ready without models");
    sleep(Duration::from_millis(500)).await;
    symlink(repository().join("models"), volume.path().join("models")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !probe(health).await.unwrap_or(false) {
        assert!(Instant::now() < deadline, "never ready");
        sleep(Duration::from_millis(5)).await;
    }
    signal(&child, "TERM");
    let (code, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_wait_for_models_that_are_not_mounted_and_for_a_redis_that_is_away() {
    let (redis, nothing) = (RedisServer::spawn().await, tempfile::tempdir().unwrap());
    let (mut unmounted, unmounted_health) = worker(&redis, nothing.path());
    let (mut without_redis, without_redis_health) = worker(&redis, &repository().join("models"));
    without_redis.env("REDIS_URL", format!("redis://{}", free_addr()));
    let children = [unmounted.spawn().unwrap(), without_redis.spawn().unwrap()];
    assert!(!first_word(unmounted_health).await && !first_word(without_redis_health).await);
    for child in children {
        signal(&child, "TERM");
        let (code, said) = ended(child);
        assert_eq!(code, Some(0), "{said}");
    }
}
