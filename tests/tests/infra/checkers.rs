//! The checkers that lie beside what they check, `infra/prometheus/check.py` and `infra/k8s/check.py`: run here, and held by
//! bad examples; and the autoscaler's own tests. Where one cannot run, that is said aloud; with `CI=true` it is a fault.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tests::{figure::figure, stack::repository};

use super::files::with;

/// That on the `PATH`, which may know other packages than Debian's, and Debian's.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];
/// Debian has none of a usable age, so nothing can be asked of who has none, not even with `CI=true`; `cargo xtask prove`
/// then says that nobody looked.
const KUBECTL: &str = "install kubectl 1.27 or newer";
/// What `infra/prometheus/check.py` compares.
const COMPARED: [&str; 8] = [
    "infra/prometheus",
    "infra/grafana",
    "docs/OPERATIONS.md",
    "gateway/src",
    "shared/src",
    "identity/src",
    "stt-worker/src",
    "translation-worker/src",
];

/// The first of `programs` that does with these arguments; if none does, `what` is said not to be looked at.
fn first(programs: &[&'static str], arguments: &[&str], what: &str, remedy: &str) -> Option<&'static str> {
    let does = |program: &&&'static str| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = programs.iter().find(does).copied();
    if found.is_none() {
        let why = format!("`{} {}` does not run, and so {what}; {remedy}", programs[0], arguments.join(" "));
        assert!(std::env::var("CI").as_deref() != Ok("true") || remedy == KUBECTL, "{why}");
        eprintln!("SKIPPED: {why}");
    }
    found
}

/// A checker of the checkout that lies at `root`.
fn checker(python: &str, root: &Path, path: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(root.join(path)).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root);
    command
}

/// Whether it found nothing, and its lines.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

fn python() -> Option<&'static str> {
    let remedy = "Debian: apt-get install python3; `cargo xtask test` does it";
    first(&PYTHONS, &["--version"], "rules and dashboards are not compared with the code", remedy)
}

const PROMETHEUS: &str = "infra/prometheus/check.py";

#[test]
fn rules_dashboards_and_documents_name_metrics_that_the_code_has() {
    let Some(python) = python() else { return };
    let promtool = "Debian: apt-get install prometheus; `cargo xtask test` does it";
    let has_promtool = first(&["promtool"], &["--version"], "no rule is tried on made-up figures", promtool).is_some();
    let (well, text) = run(&mut checker(python, &repository(), PROMETHEUS));
    assert!(well, "\n{text}");
    assert_eq!(text.contains("promtool is not installed"), !has_promtool, "{text}");
}

#[test]
fn a_metric_that_is_nowhere_is_found_wherever_it_is_named() {
    let Some(python) = python() else { return };
    let copied = tempfile::tempdir().unwrap();
    let root = copied.path();
    for path in COMPARED {
        copy(&repository().join(path), &root.join(path));
    }
    fs::create_dir_all(root.join("subtide/src")).unwrap();
    let dashboards = fs::read_dir(root.join("infra/grafana/dashboards")).unwrap();
    let dashboard = dashboards
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read_to_string(path).unwrap().contains("gateway_sessions"))
        .unwrap();
    let dashboard = dashboard.strip_prefix(root).unwrap().display().to_string();
    let rules = "infra/prometheus/rules.yml";
    // It would try the rules on made-up figures each time, which takes long and is not what is asked here.
    let executable = Command::new(python).args(["-c", "import sys; print(sys.executable, end='')"]).output().unwrap();
    let executable = String::from_utf8(executable.stdout).unwrap();
    let without_promtool = || {
        let mut command = checker(&executable, root, PROMETHEUS);
        command.env("PATH", root);
        command
    };
    for (file, from, to, word) in [
        (dashboard.as_str(), "gateway_sessions", "gateway_made_up", "gateway_made_up"),
        (rules, "subtide_jobs_lost_total", "subtide_made_up", "subtide_made_up is no metric"),
        (rules, "- alert: RedisAway", "- alert: RedisGone", "nothing makes RedisGone fire"),
        (rules, "OPERATIONS.md#redisaway", "OPERATIONS.md#nowhere", "no heading for #nowhere"),
        (
            "docs/OPERATIONS.md",
            "| `subtide_jobs_lost_total` |",
            "| `subtide_jobs_gone_total` |",
            "subtide_jobs_lost_total is missing",
        ),
        (
            "docs/OPERATIONS.md",
            "| `subtide_jobs_lost_total` |",
            "| `subtide_jobs_gone_total` |",
            "subtide_jobs_gone_total is in no code",
        ),
    ] {
        let good = fs::read_to_string(root.join(file)).unwrap();
        fs::write(root.join(file), with(&good, from, to)).unwrap();
        let (well, text) = run(&mut without_promtool());
        fs::write(root.join(file), good).unwrap();
        assert!(!well && text.contains(word), "`{to}` in {file}: no fault says `{word}`:\n{text}");
    }
    let (well, text) = run(&mut without_promtool());
    assert!(well, "without any of that:\n{text}");
}

#[test]
fn every_rendering_of_the_manifests_is_as_it_should_be() {
    let (what, yaml) = (
        "no rendering of the manifests is looked at",
        "Debian: apt-get install python3-yaml; `cargo xtask test` does it",
    );
    let Some(python) = first(&PYTHONS, &["-c", "import yaml"], what, yaml) else { return };
    if first(&["kubectl"], &["kustomize", "--help"], what, KUBECTL).is_none() {
        return;
    }
    figure("manifests_rendered", 1.0);
    let (well, text) = run(checker(python, &repository(), "infra/k8s/check.py").arg("--self-test"));
    assert!(well, "\n{text}");
    eprint!("{text}");
}

#[test]
fn the_autoscaler_s_own_tests_pass() {
    let (what, remedy) = ("the autoscaler is not tried", "Debian: apt-get install python3; `cargo xtask test` does it");
    let Some(python) = first(&PYTHONS, &["--version"], what, remedy) else { return };
    let mut unittest = Command::new(python);
    unittest.args(["-m", "unittest", "discover", "-s", "infra/autoscale"]).env("PYTHONDONTWRITEBYTECODE", "1");
    let (well, text) = run(unittest.current_dir(repository()));
    // With no test at all, older Pythons call it well, too.
    assert!(well && !text.contains("Ran 0 tests"), "\n{text}");
}
