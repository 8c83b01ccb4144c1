//! `cargo xtask test`: every test there is.

use std::io::Write as _;

use anyhow::{Context as _, bail};

use crate::{
    host::{self, BACKUP, CHAOS, CHROMIUM, COMPILER, DESK, DESKTOP, NODE, NPM, POSTGRES, PROMTOOL, PYTHON, REDIS},
    training::{self, Plan},
    workspace::{Workspace, is_set, run, say},
};

/// One kind of tests. The reason when it is skipped.
type Part = fn(&Workspace) -> anyhow::Result<Option<String>>;

/// Runs everything, also after a failure, and tells all failures together at the end.
///
/// # Errors
/// When something the tests need is missing, or a part failed.
pub(crate) fn every_test(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<()> {
    install(workspace)?;
    if !arguments.is_empty() {
        build(workspace)?;
        return workspace_tests(workspace, arguments);
    }
    build(workspace)?;
    let parts: [(&str, Part); 3] =
        [("cargo test", all_of_cargo), ("the page's tests", page), ("the training smoke test", training_smoke)];
    let mut summary = Vec::new();
    let mut failures = 0;
    for (name, part) in parts {
        summary.push(match part(workspace) {
            Ok(None) => format!("{name}: ok"),
            Ok(Some(reason)) => format!("{name}: SKIPPED: {reason}"),
            Err(error) => {
                failures += 1;
                format!("{name}: FAILED: {error:#}")
            }
        });
    }
    summary.iter().for_each(|line| say(line));
    if failures > 0 { bail!("{failures} of {} parts failed", summary.len()) } else { Ok(()) }
}

/// Installs what building everything and its tests need. What only some tests need may be missing: they leave themselves out
/// and say so; with `CI=true` they may not.
///
/// # Errors
/// When something is missing that cannot be done without.
pub(crate) fn install(workspace: &Workspace) -> anyhow::Result<()> {
    host::ensure(&COMPILER)?;
    let alone =
        "`cargo test --workspace --exclude desktop-client --exclude capture` tests the server side without them";
    host::ensure(&DESKTOP).context(alone)?;
    host::ensure(&[REDIS])?;
    for (tools, tests) in [
        (&[POSTGRES][..], "on PostgreSQL"),
        (&[NODE, NPM], "of sign-in at a provider and of the page"),
        (&[CHROMIUM], "of the page in a browser"),
        (&DESK, "of the desktop client"),
        (&BACKUP, "of backups and units"),
        (&CHAOS, "of clocks that are set and networks that are cut"),
        (&PYTHON, "of rules, dashboards and manifests"),
        (&[PROMTOOL], "of rules on made-up figures"),
    ] {
        if let Err(error) = host::ensure(tools) {
            say(&format!("the tests {tests} will be SKIPPED, or fail with CI=true: {error:#}"));
        }
    }
    packages(workspace, "tests/oidc-provider", "oidc-provider")?;
    packages(workspace, "tests/browser", "playwright-core")
}

/// Packages of a program that tests start, by its lockfile.
fn packages(workspace: &Workspace, folder: &str, one: &str) -> anyhow::Result<()> {
    let folder = workspace.root.join(folder);
    if folder.join("node_modules").join(one).exists() || !NODE.is_here() {
        return Ok(());
    }
    let mut npm = workspace.command("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    // A line of cargo's own tests must be the first thing on stdout.
    let installed = run(npm.stdout(std::io::stderr()));
    if is_set("CI", "true") {
        return installed;
    }
    if let Err(error) = installed {
        say(&format!("{error:#}; the tests that need {one} will be SKIPPED"));
    }
    Ok(())
}

/// Programs and tests in one go: `cargo build --bins` alone would build the dependencies a second time, without the
/// features that only tests ask for.
///
/// # Errors
/// When something does not compile.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<()> {
    run(&mut workspace.cargo(["build", "--workspace", "--all-targets"]))
}

/// Never skipped.
fn all_of_cargo(workspace: &Workspace) -> anyhow::Result<Option<String>> {
    workspace_tests(workspace, &["--workspace".to_owned()]).map(|()| None)
}

fn workspace_tests(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<()> {
    run(workspace.cargo(["test", "--no-fail-fast"]).args(arguments))
}

/// The reason when they are skipped.
fn page(workspace: &Workspace) -> anyhow::Result<Option<String>> {
    if !NODE.is_here() {
        if !is_set("CI", "true") {
            return Ok(Some(
                "node is not installed (Debian: apt-get install nodejs); with CI=true it would be".to_owned(),
            ));
        }
        host::ensure(&[NODE])?;
    }
    let page = workspace.root.join("web-ui");
    // The page itself needs no package; one file of its tests wants a WebSocket server and leaves itself out.
    packages(workspace, "web-ui", "ws")?;
    if page.join("node_modules/typescript").exists() {
        run(workspace.command("npm").args(["run", "--silent", "check"]).current_dir(&page))?;
    } else {
        say("the types of the page are NOT checked: `npm ci` in web-ui");
    }
    run(workspace.command("node").arg("--test").current_dir(&page)).map(|()| None)
}

/// The reason when it is skipped.
fn training_smoke(workspace: &Workspace) -> anyhow::Result<Option<String>> {
    let python = match training::plan(workspace)? {
        Plan::Run(python) => python,
        Plan::Skip(reason) => return Ok(Some(reason)),
    };
    // Of the whole workspace: a package alone has other features, and would build the dependencies a second time.
    let test = ["test", "--workspace", "--test", "training_smoke", "--", "--ignored", "--nocapture"];
    std::io::stdout().flush()?;
    run(workspace.cargo(test).env("SUBTIDE_PYTHON", python)).map(|()| None)
}
