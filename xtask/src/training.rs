//! The Python packages of `training/`, for its smoke test.

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    host::{self, VOICES},
    workspace::{Workspace, is_set, run, say},
};

const REQUIREMENTS: &str = "training/requirements.txt";
/// In the environment's directory once it is whole.
const STAMP: &str = "complete";

/// Whether the smoke test is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// With this Python.
    Run(PathBuf),
    /// Not, and why.
    Skip(String),
}

/// Decides, and installs the packages where that was asked for.
///
/// # Errors
/// When they were asked for and cannot be had.
pub(crate) fn plan(workspace: &Workspace) -> anyhow::Result<Plan> {
    if is_set("SUBTIDE_TRAINING", "0") {
        return Ok(Plan::Skip("SUBTIDE_TRAINING=0".to_owned()));
    }
    let home = environment(workspace)?;
    let python = home.join("bin/python");
    let whole = home.join(STAMP).exists();
    if !whole && !is_set("CI", "true") && !is_set("SUBTIDE_TRAINING", "1") {
        return Ok(Plan::Skip(format!(
            "its Python packages are not installed (3 GB to download, 6 GB in {}); SUBTIDE_TRAINING=1 installs them",
            home.display()
        )));
    }
    host::ensure(&VOICES)?;
    if !whole {
        install(workspace, &home)?;
    }
    Ok(Plan::Run(python))
}

fn install(workspace: &Workspace, home: &Path) -> anyhow::Result<()> {
    // Debian keeps `venv` apart from Python; without it the command exists and fails.
    let probe = || workspace.command("python3").args(["-c", "import ensurepip, venv"]).output();
    if !probe().is_ok_and(|output| output.status.success()) {
        host::install(&["python3", "python3-venv"])?;
    }
    say(&format!("installing {REQUIREMENTS} into {}: some minutes", home.display()));
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    run(workspace.command("python3").args(["-m", "venv"]).arg(home).stdout(std::io::stderr()))?;
    let mut pip = workspace.command(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check", "-r", REQUIREMENTS]);
    run(pip.stdout(std::io::stderr()))?;
    fs::write(home.join(STAMP), "").context("cannot mark the Python environment as complete")
}

/// Where the packages lie: one directory for each state of the requirements.
fn environment(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let path = workspace.root.join(REQUIREMENTS);
    let requirements = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = DefaultHasher::new();
    requirements.hash(&mut hasher);
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(|| workspace.target.clone());
    Ok(cache.join("subtide").join(format!("training-{:016x}", hasher.finish())))
}
