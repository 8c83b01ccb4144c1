//! Who may depend on whom, as Cargo sees it.

use std::process::Command;

use serde_json::Value;

use super::{checkout::root, none};

/// A crate of the workspace, and the others of it that it may use outside its tests.
const ARROWS: [(&str, &[&str]); 13] = [
    ("shared", &[]),
    ("capture", &[]),
    ("client", &["shared"]),
    ("kernels", &[]),
    ("inference", &["kernels"]),
    ("identity", &["shared"]),
    ("gateway", &["shared", "kernels", "identity"]),
    ("stt-worker", &["shared", "inference"]),
    ("translation-worker", &["shared", "inference"]),
    ("subtide", &["shared", "client", "inference", "identity", "gateway", "stt-worker", "translation-worker"]),
    ("tests", &["shared", "client", "inference", "identity", "gateway", "stt-worker", "translation-worker", "subtide"]),
    // `subtide` only behind its feature `local`: everything in one process, with no server.
    ("desktop-client", &["shared", "capture", "client", "subtide"]),
    ("xtask", &[]),
];

/// A crate from outside, the crates that may use it, and why no other may. Tests may use more: `TESTS`.
const OWNERS: &[(&str, &[&str], &str)] = &[
    ("pulseaudio", &["capture"], "only capture knows sound devices"),
    ("cpal", &["capture"], "only capture knows sound devices"),
    ("redis", &["shared"], "only shared::bus knows Redis"),
    ("opentelemetry", &["shared"], "only shared::telemetry knows how spans are exported"),
    ("opentelemetry_sdk", &["shared"], "only shared::telemetry knows how spans are exported"),
    ("opentelemetry-otlp", &["shared"], "only shared::telemetry knows how spans are exported"),
    ("sentry", &["shared"], "only shared::telemetry knows where errors go"),
    ("candle-core", &["inference"], "only inference knows candle"),
    ("candle-nn", &["inference"], "only inference knows candle"),
    ("candle-transformers", &["inference"], "only inference knows candle"),
    ("tokenizers", &["inference"], "only inference knows tokenizers"),
    ("jsonwebtoken", &["identity"], "only identity reads and writes tokens"),
    ("oauth2", &["identity"], "only identity knows the provider"),
    ("sqlx", &["identity"], "only identity knows the database"),
    ("webrtc-vad", &["gateway"], "the gateway cuts utterances"),
    ("earshot", &[], "its network is in kernels; the gateway is held against it in a test"),
    ("tokio-tungstenite", &["client"], "a worker never sees a socket"),
    (
        "reqwest",
        &["identity", "client", "subtide"],
        "only sign-in and `subtide models pull` open connections to the outside",
    ),
];
const TESTS: &str = "tests";

fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn name(package: &Value) -> String {
    package["name"].as_str().expect("a name").to_owned()
}

/// Names of what `package` depends on; `path` tells whether in the workspace, `dev` whether also in its tests.
fn dependencies(package: &Value, path: bool, dev: bool) -> Vec<String> {
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(|found| found["path"].is_string() == path && (dev || found["kind"] != "dev")).map(name).collect()
}

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let mut faults = Vec::new();
    for package in packages() {
        let name = name(&package);
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            faults.push(format!("{name} is a new crate: draw its arrows here and in ARCHITECTURE.md"));
            continue;
        };
        // What a crate's own tests use may go as far as its own arrows, and the package `tests` is there for the rest.
        let used = dependencies(&package, true, true).into_iter().filter(|used| *used != name);
        faults.extend(used.filter(|used| !allowed.contains(&used.as_str())).map(|used| format!("{name} -> {used}")));
    }
    none(faults);
}

#[test]
fn a_crate_from_outside_is_used_by_its_owners_alone() {
    let mut faults = Vec::new();
    for package in packages() {
        let name = name(&package);
        for used in dependencies(&package, false, false) {
            let owner = OWNERS.iter().find(|(known, ..)| *known == used);
            if let Some((_, owners, reason)) = owner
                && name != TESTS
                && !owners.contains(&name.as_str())
            {
                faults.push(format!("{name} -> {used}: {reason}"));
            }
        }
    }
    none(faults);
}

#[test]
fn every_crate_is_described_and_keeps_the_workspace_s_lints() {
    let faults = packages().into_iter().filter_map(|package| {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str()?).ok()?;
        let whole = package["description"].is_string() && manifest.contains("[lints]\nworkspace = true");
        (!whole).then(|| format!("{}: wants a description, and `[lints] workspace = true`", name(&package)))
    });
    none(faults);
}
