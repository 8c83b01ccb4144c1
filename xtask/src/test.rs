//! `cargo xtask test`: every test there is.

use std::io::Write as _;

use anyhow::bail;

use crate::{
    host::{self, COMPILER, NODE, NPM, POSTGRES, REDIS},
    training::{self, Plan},
    workspace::{Workspace, is_set, on_path, run, say},
};

/// One kind of tests. The reason when it is skipped.
type Part = fn(&Workspace) -> anyhow::Result<Option<String>>;

/// Runs everything, also after a failure, and tells all failures together at the end.
///
/// # Errors
/// When something the tests need is missing, or a part failed.
pub(crate) fn every_test(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<()> {
    host::ensure(&COMPILER)?;
    host::ensure(&[REDIS])?;
    if let Err(error) = host::ensure(&[POSTGRES]) {
        // With CI=true they fail instead.
        say(&format!("the tests on PostgreSQL will be SKIPPED: {error:#}"));
    }
    provider_packages(workspace)?;
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

/// Packages of the provider that people sign in at in tests. Where they cannot be had, those tests leave themselves out and
/// say so; with `CI=true` they may not.
fn provider_packages(workspace: &Workspace) -> anyhow::Result<()> {
    let must = is_set("CI", "true");
    if must {
        host::ensure(&[NODE, NPM])?;
    }
    let provider = workspace.root.join("tests/oidc-provider");
    if provider.join("node_modules/oidc-provider").exists() || !NODE.is_here() {
        return Ok(());
    }
    let mut npm = workspace.command("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&provider);
    // A line of cargo's own tests must be the first thing on stdout.
    let installed = run(npm.stdout(std::io::stderr()));
    if must {
        return installed;
    }
    if let Err(error) = installed {
        say(&format!("{error:#}; the tests of sign-in at a provider will be SKIPPED"));
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
    if !page.join("node_modules/ws").exists() {
        // The page itself needs no package; one file of its tests wants a WebSocket server and leaves itself out.
        let installed = is_set("CI", "true")
            && on_path("npm")
            && run(workspace
                .command("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&page))
            .is_ok();
        if !installed {
            say("web-ui/test/link.test.js will be SKIPPED: it wants the package `ws` (`npm ci` in web-ui)");
        }
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
