//! The Autobahn test suite: several hundred ways to speak WebSocket rightly and wrongly, written by people who are not us.
//!
//! It wants Python 2.7, which few systems still have, so whoever runs it is told what is missing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::json;

/// The suite, as pip calls it.
const PACKAGE: &str = "autobahntestsuite==25.10.1";
/// Starts its command line program, which pip leaves out of a `--target` directory.
const START: &str = "from autobahntestsuite import wstest; wstest.run()";
/// What the server is called in its reports.
const AGENT: &str = "subtide";
/// Verdicts that are no failure. `UNIMPLEMENTED`: the server did not offer the extension that the case is about.
const FINE: [&str; 4] = ["OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED"];

/// An installed suite.
#[derive(Debug)]
pub struct Autobahn {
    python: PathBuf,
    site: PathBuf,
}

/// What it found.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Cases that were about something the server does.
    pub cases: usize,
    /// Those that it failed.
    pub failed: Vec<String>,
    /// Those in which it did right, but later than it could have.
    pub non_strict: Vec<String>,
    /// Cases about extensions that it did not offer.
    pub not_offered: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    behavior: String,
    behavior_close: String,
}

impl Autobahn {
    /// Finds Python 2.7, and the suite below `directory`, where it is installed when it is not there.
    ///
    /// # Errors
    /// What to install, for people.
    pub fn find(directory: &Path) -> Result<Self, String> {
        let python = python()
            .ok_or("the Autobahn suite wants Python 2.7: `pyenv install 2.7.18`, or a python2.7 on the PATH")?;
        let site = directory.join("site");
        let suite = Self { python, site };
        if !suite.site.join("autobahntestsuite").is_dir() {
            suite.install()?;
        }
        Ok(suite)
    }

    fn install(&self) -> Result<(), String> {
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&self.site).arg(PACKAGE).stdin(Stdio::null());
        let by_hand = format!(
            "install it by hand: {} -m pip install --target {} {PACKAGE}",
            self.python.display(),
            self.site.display()
        );
        let output = pip.output().map_err(|error| format!("pip cannot be started ({error}); {by_hand}"))?;
        if !output.status.success() {
            return Err(format!("pip failed; {by_hand}\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        // pip makes a namespace of it, and Python 2.7 knows those by this file alone.
        let marker = self.site.join("zope/__init__.py");
        fs::File::create(&marker).map(drop).map_err(|error| format!("{}: {error}", marker.display()))
    }

    /// Runs every case against the echo server at `url`; reports for people go below `directory`.
    ///
    /// # Errors
    /// When the suite does not run to its end.
    pub fn run(&self, url: &str, directory: &Path) -> Result<Verdicts, String> {
        let fault = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let reports = directory.join("reports");
        let settings = json!({
            "outdir": reports, "servers": [{"agent": AGENT, "url": url}],
            "cases": ["*"], "exclude-cases": [], "exclude-agent-cases": {},
        });
        fs::create_dir_all(&reports).map_err(|e| fault("the reports have no place", &e))?;
        let path = directory.join("fuzzingclient.json");
        fs::write(&path, settings.to_string()).map_err(|e| fault("its settings cannot be written", &e))?;
        let mut suite = Command::new(&self.python);
        suite.args(["-c", START, "--mode", "fuzzingclient", "--spec"]).arg(&path).env("PYTHONPATH", &self.site);
        let output = suite.stdin(Stdio::null()).output().map_err(|e| fault("the suite cannot be started", &e))?;
        if !output.status.success() {
            return Err(format!("the suite ended early: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let index = fs::read(reports.join("index.json")).map_err(|e| fault("it left no report", &e))?;
        verdicts(&index)
    }
}

fn verdicts(index: &[u8]) -> Result<Verdicts, String> {
    let mut all: BTreeMap<String, BTreeMap<String, Verdict>> =
        serde_json::from_slice(index).map_err(|error| format!("its report cannot be read: {error}"))?;
    let cases = all.remove(AGENT).ok_or("its report is about somebody else")?;
    let mut verdicts = Verdicts::default();
    for (case, Verdict { behavior, behavior_close }) in cases {
        match behavior.as_str() {
            "UNIMPLEMENTED" => verdicts.not_offered += 1,
            _ => verdicts.cases += 1,
        }
        if !FINE.contains(&behavior.as_str()) || !FINE.contains(&behavior_close.as_str()) {
            verdicts.failed.push(format!("{case}: {behavior}, closing {behavior_close}"));
        } else if behavior == "NON-STRICT" {
            verdicts.non_strict.push(case);
        }
    }
    Ok(verdicts)
}

/// A Python 2.7 that runs: the shims of pyenv are on the `PATH` whether there is a version behind them or not.
fn python() -> Option<PathBuf> {
    let mut candidates = vec![PathBuf::from("python2.7")];
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let versions = versions.into_iter().flatten().flatten().map(|version| version.path());
    candidates.extend(versions.map(|version| version.join("bin/python2.7")));
    let runs = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import pip"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_and_failures_named() -> Result<(), String> {
        let verdict = |behavior, close| json!({"behavior": behavior, "behaviorClose": close, "duration": 1});
        let index = json!({"subtide": {
            "1.1.1": verdict("OK", "OK"), "6.4.3": verdict("NON-STRICT", "OK"), "7.1.1": verdict("OK", "UNCLEAN"),
            "7.1.2": verdict("FAILED", "OK"), "12.1.1": verdict("UNIMPLEMENTED", "OK"),
        }});
        let found = verdicts(index.to_string().as_bytes())?;
        assert_eq!((found.cases, found.not_offered, found.non_strict), (4, 1, vec!["6.4.3".to_owned()]));
        assert_eq!(found.failed, ["7.1.1: OK, closing UNCLEAN", "7.1.2: FAILED, closing OK"]);
        assert!(verdicts(b"{}").is_err());
        Ok(())
    }
}
