//! What tests and scripts measure (`FIGURE name value`), read while they run.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::{Context, figure::Figure};
use crate::{
    test,
    workspace::{line, run, say},
};

/// What one run of tests came to.
#[derive(Debug, Default)]
pub(crate) struct Found {
    passed: usize,
    failed: bool,
    figures: BTreeMap<String, f64>,
}

/// Which tests to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tests {
    /// File below `tests/` of a package.
    file: &'static str,
    /// Its name, or a part of it; empty: all of the file.
    name: &'static str,
    /// Those that are left out otherwise because they measure; on the release build.
    measuring: bool,
}

impl Tests {
    pub(crate) const fn of(file: &'static str, name: &'static str) -> Self {
        Self { file, name, measuring: false }
    }

    pub(crate) const fn measuring(file: &'static str, name: &'static str) -> Self {
        Self { measuring: true, ..Self::of(file, name) }
    }
}

/// Runs tests, shows their lines as they come, and keeps their figures.
pub(crate) fn tests(context: &Context, which: Tests) -> anyhow::Result<Found> {
    test::install(context.workspace)?;
    // Of the whole workspace: a package alone has other features, and would build the dependencies a second time.
    let mut arguments = vec!["test", "--workspace", "--test", which.file];
    if which.measuring {
        run(context.workspace.cargo(["build", "--release", "--workspace", "--bins"]).stdout(std::io::stderr()))?;
        arguments.push("--release");
    } else {
        test::build(context.workspace)?;
    }
    arguments.extend(["--", "--nocapture"]);
    if which.measuring {
        arguments.push("--ignored");
    }
    if !which.name.is_empty() {
        arguments.push(which.name);
    }
    let mut command = context.workspace.cargo(arguments);
    // What cannot run has to fail: a test that leaves itself out proves nothing.
    command.env("CI", "true");
    script(&mut command)
}

/// Runs a program, shows its lines as they come, and keeps their figures.
pub(crate) fn script(command: &mut Command) -> anyhow::Result<Found> {
    let line = line(command);
    say(&line);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("`{line}` does not start"))?;
    let mut found = Found::default();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        found.read(&line);
        writeln!(std::io::stderr(), "{line}")?;
    }
    found.failed |= !child.wait()?.success();
    Ok(found)
}

impl Found {
    /// A line of `cargo test`. A figure may stand behind the name of its test.
    pub(super) fn read(&mut self, line: &str) {
        if let Some((_, figure)) = line.split_once("FIGURE ")
            && let Some((name, value)) = figure.trim().rsplit_once(' ')
            && let Ok(value) = value.parse()
        {
            self.figures.insert(name.trim().to_owned(), value);
        }
        if let Some((_, result)) = line.split_once("test result: ") {
            self.failed |= !result.starts_with("ok");
            let passed =
                result.split_once(" passed").and_then(|(before, _)| before.rsplit(' ').next()?.parse::<usize>().ok());
            self.passed += passed.unwrap_or(0);
        }
    }

    /// Met when at least one test ran and none failed.
    pub(crate) fn ran(&self, what: &str) -> Figure {
        let passed = format!("{} passed", self.passed);
        match (self.failed, self.passed) {
            (false, 1..) => Figure::met(what, passed),
            (false, 0) => Figure::not_proven(what, "no test ran"),
            (true, _) => Figure::failed(what, format!("{passed}, and some failed")),
        }
    }

    /// Met when the program ended well; of a program that is no test.
    pub(crate) fn ended(&self, what: &str) -> Figure {
        if self.failed { Figure::failed(what, "it failed") } else { Figure::met(what, "done") }
    }

    /// Figures whose names are as wanted.
    pub(crate) fn named(&self, wanted: impl Fn(&str) -> bool) -> Vec<(&str, f64)> {
        let all = self.figures.iter().map(|(name, value)| (name.as_str(), *value));
        all.filter(|(name, _)| wanted(name)).collect()
    }

    pub(crate) fn value(&self, name: &str) -> f64 {
        self.figures.get(name).copied().unwrap_or(f64::INFINITY)
    }

    pub(crate) fn at_most(&self, what: &str, name: &str, limit: f64, unit: &str) -> Figure {
        Figure::at_most(what, self.value(name), limit, unit)
    }

    pub(crate) fn at_least(&self, what: &str, name: &str, least: f64) -> Figure {
        match self.figures.get(name) {
            Some(value) if *value >= least => Figure::met(what, format!("{value} (goal >= {least})")),
            Some(value) => Figure::failed(what, format!("{value} (goal >= {least})")),
            None => Figure::failed(what, "never told"),
        }
    }

    pub(crate) fn exactly(&self, what: &str, name: &str, goal: f64) -> Figure {
        match self.figures.get(name) {
            Some(value) if (value - goal).abs() < 1e-9 => Figure::met(what, format!("{value} (goal {goal})")),
            Some(value) => Figure::failed(what, format!("{value} (goal {goal})")),
            None => Figure::failed(what, "never told"),
        }
    }

    /// Met when both figures are the same count, and more than none.
    pub(crate) fn share(&self, what: &str, name: &str, of: &str) -> Figure {
        let count = |name| self.figures.get(name).map_or(0, |value| *value as usize);
        Figure::all(what, count(name), count(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_wherever_they_stand_on_a_line() {
        let mut found = Found::default();
        for line in [
            "FIGURE bad_credentials_tried 93.000",
            "test the_door ... FIGURE handshake_p99_ms 1.250",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.08s",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "a FIGURE of speech",
        ] {
            found.read(line);
        }
        assert_eq!((found.passed, found.failed, found.figures.len()), (5, false, 2));
        assert_eq!(found.at_most("p99", "handshake_p99_ms", 5.0, "ms").verdict(), super::super::Verdict::Met);
    }

    #[test]
    fn what_was_never_told_or_never_ran_is_not_met() {
        use super::super::Verdict::{FallsShort, Met, NotProven};
        let mut found = Found::default();
        assert_eq!(found.ran("nothing").verdict(), NotProven);
        assert_eq!(found.at_most("x", "x", 1.0, "").verdict(), FallsShort);
        assert_eq!(found.at_least("x", "x", 1.0).verdict(), FallsShort);
        assert_eq!(found.exactly("x", "x", 1.0).verdict(), FallsShort);
        assert_eq!(found.share("x", "x", "y").verdict(), FallsShort);
        found.read("FIGURE x 60");
        found.read("FIGURE y 61");
        assert_eq!(found.share("x", "x", "y").verdict(), FallsShort);
        assert_eq!(found.at_least("x", "x", 60.0).verdict(), Met);
        assert_eq!(found.exactly("x", "x", 60.0).verdict(), Met);
        found.read("test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s");
        assert_eq!(found.ran("some").verdict(), FallsShort);
    }
}
