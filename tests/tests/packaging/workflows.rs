//! `.github/`: workflows whose parts fit each other and the repository, and what looks for newer parts.

use std::collections::BTreeSet;

use yaml_serde::Value;

use super::{faulty, names_in, none, read, repository, with};

const FOLDER: &str = ".github/workflows";
const MANIFESTS: [(&str, &str); 3] =
    [("cargo", "Cargo.toml"), ("npm", "package.json"), ("docker-compose", "compose.yml")];

fn yaml(text: &str) -> Value {
    yaml_serde::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

fn entries(value: &Value) -> Vec<(String, Value)> {
    let name = |key: &Value| key.as_str().unwrap_or("true").to_owned();
    value.as_mapping().into_iter().flatten().map(|(key, value)| (name(key), value.clone())).collect()
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Sequence(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn steps(workflow: &Value) -> Vec<(String, Value)> {
    let jobs = entries(&workflow["jobs"]).into_iter();
    jobs.flat_map(|(job, it)| list(&it["steps"]).into_iter().map(move |step| (job.clone(), step))).collect()
}

/// All that is run, in one text.
fn commands(workflow: &Value) -> String {
    steps(workflow).iter().map(|(_, step)| text(&step["run"])).collect::<Vec<_>>().join("\n")
}

fn faults(workflow: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let jobs = entries(&workflow["jobs"]);
    let names: BTreeSet<_> = jobs.iter().map(|(name, _)| name.clone()).collect();
    if text(&workflow["permissions"]["contents"]) != "read" || entries(&workflow["permissions"]).len() != 1 {
        faults.push("a job may read the repository and nothing else, unless it says so itself".to_owned());
    }
    for (name, job) in &jobs {
        for needed in list(&job["needs"]).iter().map(text).filter(|needed| !names.contains(needed)) {
            faults.push(format!("{name} needs {needed}, which is no job"));
        }
        if job["timeout-minutes"].as_u64().is_none() {
            faults.push(format!("{name} may hang for six hours: no timeout-minutes"));
        }
        let runner = text(&job["runs-on"]);
        if runner.is_empty() || runner.ends_with("-latest") {
            faults.push(format!("{name} runs on `{runner}`, which is another machine tomorrow: no latest"));
        }
    }
    for (job, step) in steps(workflow) {
        let (uses, run) = (text(&step["uses"]), text(&step["run"]));
        if uses.is_empty() == run.is_empty() {
            faults.push(format!("{job}: a step either uses or runs: {step:?}"));
        }
        if !uses.is_empty()
            && !uses.starts_with("./")
            && !uses.split_once('@').is_some_and(|(_, at)| at.starts_with('v') || at.len() == 40)
        {
            faults.push(format!("{job}: {uses} has no version"));
        }
        // Whoever opens a pull request chooses these; in a script they would be commands.
        for chosen in ["github.event.", "github.head_ref", "inputs."] {
            if run.split("${{").skip(1).any(|rest| rest.split("}}").next().unwrap_or_default().contains(chosen)) {
                faults.push(format!("{job}: {chosen} in a script; hand it over in env"));
            }
        }
        if run.contains("secrets.") {
            faults.push(format!("{job}: a secret in a script stands in its arguments; hand it over in env"));
        }
    }
    if entries(&workflow["on"]).iter().any(|(name, _)| name == "pull_request_target") {
        faults.push("pull_request_target gives our secrets to anybody".to_owned());
    }
    faults
}

#[test]
fn the_workflows_fit_together() {
    for name in names_in(FOLDER) {
        let found = faults(&yaml(&read(&format!("{FOLDER}/{name}"))));
        none(&found.iter().map(|fault| format!("{name}: {fault}")).collect::<Vec<_>>());
    }
}

#[test]
fn workflows_that_do_not_are_found() {
    let good = read(".github/workflows/release.yml");
    for (from, to, word) in [
        ("permissions:\n  contents: read\n", "permissions: write-all\n", "read the repository"),
        ("    needs: check\n", "    needs: checks\n", "which is no job"),
        ("actions/checkout@v6", "actions/checkout@main", "no version"),
        ("    timeout-minutes: 5\n", "", "timeout-minutes"),
        ("runs-on: ubuntu-24.04\n", "runs-on: ubuntu-latest\n", "no latest"),
        (
            "        run: rustup show",
            "        run: echo ${{ github.event.head_commit.message }}; rustup show",
            "github.event.",
        ),
        ("        run: rustup show", "        run: echo ${{ secrets.REGISTRY_PASSWORD }}; rustup show", "a secret"),
        ("on:\n  push:\n", "on:\n  pull_request_target:\n  push:\n", "anybody"),
    ] {
        faulty(&faults(&yaml(&with(&good, from, to))), word);
    }
}

#[test]
fn ci_runs_what_the_readme_and_the_operator_s_page_say() {
    let ran = commands(&yaml(&read(".github/workflows/ci.yml")));
    assert!(ran.contains(".ci/run"), "{ran}");
    let readme = read("README.md");
    let shown = readme.split("cargo run --release -- ").skip(1);
    let programs: BTreeSet<&str> = shown.filter_map(|rest| rest.split([' ', '`', '\n']).next()).collect();
    assert!(programs.len() >= 4, "{programs:?}");
    let missing = programs.iter().filter(|program| !ran.contains(&format!("-- {program}")));
    none(&missing.map(|program| format!("CI does not run `{program}`, which README.md shows")).collect::<Vec<_>>());
    for word in ["docker compose up", "--scale stt-worker=", "cargo deny", "backup.sh", "restore.sh"] {
        assert!(ran.contains(word), "CI does not run `{word}`");
    }
}

#[test]
fn a_release_has_programs_and_images_for_both_processors_with_and_without_a_gpu() {
    let release = yaml(&read(".github/workflows/release.yml"));
    let includes = |job: &str| list(&release["jobs"][job]["strategy"]["matrix"]["include"]);
    for job in ["programs", "images"] {
        let kinds: BTreeSet<(bool, bool)> = includes(job)
            .iter()
            .map(|one| (text(&one["runner"]).ends_with("-arm"), !text(&one["cuda"]).is_empty()))
            .collect();
        assert_eq!(kinds.len(), 4, "{job}: {kinds:?}");
    }
    // The stages of the one Dockerfile.
    let dockerfile = read("infra/Dockerfile");
    for target in includes("images").iter().map(|one| text(&one["target"])) {
        assert!(dockerfile.contains(&format!(" AS {target}\n")), "infra/Dockerfile has no stage {target}");
    }
    let ran = commands(&release);
    for word in
        ["--target \"$TARGET\"", "--sbom=true", "--provenance=mode=max", "cargo cyclonedx", "cargo deb ", "seal.sh"]
    {
        assert!(ran.contains(word), "no `{word}`");
    }
    assert!(read("desktop-client/bundle/seal.sh").contains("sha256sum"), "checksums");
}

#[test]
fn both_releases_go_to_one_draft_whichever_comes_first() {
    for name in ["release.yml", "release-desktop.yml"] {
        let workflow = yaml(&read(&format!("{FOLDER}/{name}")));
        let last = text(&list(&workflow["jobs"]["release"]["steps"]).last().unwrap()["run"]);
        let [view, create, upload] = ["gh release view", "gh release create", "gh release upload"]
            .map(|word| last.find(word).unwrap_or(usize::MAX));
        assert!(view < create && create < upload && upload < usize::MAX, "{name}: {last}");
    }
}

/// Whether a manifest of Kubernetes in `directory` names an image.
fn has_images(directory: &str) -> bool {
    let folder = directory.trim_start_matches('/');
    names_in(folder)
        .iter()
        .any(|name| name.ends_with(".yaml") && read(&format!("{folder}/{name}")).contains(" image: "))
}

#[test]
fn what_looks_for_newer_parts_looks_where_they_are() {
    let dependabot = yaml(&read(".github/dependabot.yml"));
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for update in list(&dependabot["updates"]) {
        let kind = text(&update["package-ecosystem"]);
        let directories = list(&update["directories"]).into_iter().chain(list(&update["directory"]));
        for directory in directories.map(|directory| text(&directory)) {
            let folder = repository().join(directory.trim_start_matches('/'));
            let manifest = MANIFESTS.iter().find(|(name, _)| *name == kind).map(|(_, manifest)| *manifest);
            let there = match (kind.as_str(), manifest) {
                (_, Some(manifest)) => folder.join(manifest).is_file(),
                ("docker", _) => folder.join("Dockerfile").is_file() || has_images(&directory),
                ("github-actions", _) => repository().join(FOLDER).is_dir(),
                _ => false,
            };
            if !there {
                faults.push(format!("dependabot: {kind} has nothing in {directory}"));
            }
        }
        seen.insert(kind);
    }
    none(&faults);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["cargo", "docker", "docker-compose", "github-actions", "npm"]);
}
