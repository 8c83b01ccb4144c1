//! How the promises of the front door are measured: by the tests that hold them, each figure as they print it
//! (`FIGURE name value`), beside its goal.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use anyhow::Context as _;

use super::{Check, Context, figure::Figure, goals::front_door as goal, pipeline::counted_tests};
use crate::{
    host, test,
    workspace::{line, run, say},
};

/// What one run of tests came to.
#[derive(Debug, Default)]
struct Found {
    passed: usize,
    failed: bool,
    figures: BTreeMap<String, f64>,
}

/// Which tests to run.
#[derive(Debug, Clone, Copy)]
struct Tests {
    package: &'static str,
    /// File below `tests/` of the package.
    file: &'static str,
    /// Its name, or a part of it; empty: all of the file.
    name: &'static str,
    /// Those that are left out otherwise because they measure; on the release build.
    measuring: bool,
}

impl Tests {
    const fn of(file: &'static str, name: &'static str) -> Self {
        Self { package: "tests", file, name, measuring: false }
    }

    const fn measuring(file: &'static str, name: &'static str) -> Self {
        Self { measuring: true, ..Self::of(file, name) }
    }
}

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "bad credentials", goal: goal::CREDENTIALS, measure: credentials },
        Check { name: "issuer's keys", goal: goal::ISSUER, measure: issuer },
        Check { name: "refresh and revocation", goal: goal::REVOCATION, measure: revocation },
        Check { name: "resume", goal: goal::RESUME, measure: resume },
        Check { name: "secrets", goal: goal::SECRETS, measure: secrets },
        Check { name: "the newcomer's path", goal: goal::NEWCOMER, measure: newcomer },
        Check { name: "tunnel", goal: goal::TUNNEL, measure: tunnel },
    ]
}

fn credentials(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let table = tests(context, Tests::of("front_door", "no_bad_credential_gets_past_the_handshake"))?;
    let door = tests(context, Tests { package: "gateway", ..Tests::of("credentials", "") })?;
    let speed = tests(context, Tests::measuring("front_door", "the_door_decides_fast"))?;
    Ok(vec![
        table.ran("the table of bad credentials, at a gateway with everything"),
        table.at_least("bad credentials tried", "bad_credentials_tried", goal::BAD_CREDENTIALS),
        table.share("bad credentials refused before the 101", "bad_credentials_refused", "bad_credentials_tried"),
        table.at_most("answers with a status of 500 and above", "bad_credentials_5xx", 0.0, ""),
        door.ran("the door's own table"),
        speed.ran("handshakes at 100/s"),
        speed.at_most("decision of a handshake, p99", "handshake_p99_ms", goal::HANDSHAKE_P99_MS, "ms"),
    ])
}

fn issuer(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::of("sign_in", "trusted"))?;
    let live = tests(context, Tests::of("front_door", "an_issuer_that_is_away"))?;
    let made_up = "jwks_fetches_per_minute_for_unknown_keys";
    Ok(vec![
        found.ran("trusted issuers"),
        found.exactly("fetches until a rotated key is taken", "jwks_fetches_after_rotation", 1.0),
        found.at_most("fetches a minute for 10,000 made-up keys", made_up, goal::FETCHES_A_MINUTE, ""),
        found.at_most("refused while the issuer was away for an hour", "refused_while_issuer_down", 0.0, ""),
        live.ran("a live session while the issuer is away"),
    ])
}

fn revocation(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let once = tests(context, Tests::of("front_door", "a_hundred_refreshes_of_one_token"))?;
    let reuse = tests(context, Tests::of("front_door", "a_refresh_token_used_again"))?;
    let logout = tests(context, Tests::of("front_door", "signing_out_ends_the_sockets"))?;
    let people = tests(context, Tests::of("people", ""))?;
    Ok(vec![
        once.exactly("successors of 100 refreshes of one token at once", "refresh_successors", 1.0),
        reuse.at_most(
            "a used token again: its sockets at two gateways end",
            "reuse_closes_seconds",
            goal::REVOKED_S,
            "s",
        ),
        logout.at_most("signing out: its sockets at two gateways end", "logout_closes_seconds", goal::REVOKED_S, "s"),
        people.ran("people on SQLite and PostgreSQL"),
    ])
}

fn resume(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::measuring("resume", "fifty_sessions_outlive_twenty_gateways"))?;
    let more = tests(context, Tests::of("resume", ""))?;
    Ok(vec![
        found.ran("50 sessions, 20 rounds of killing a gateway"),
        found.at_least("finals that were owed", "resume_finals", 1.0),
        found.at_least("sockets that broke", "resume_sockets", 1.0),
        found.at_most("finals missing", "resume_missing", 0.0, ""),
        found.at_most("finals that came twice", "resume_twice", 0.0, ""),
        found.at_most("from a broken socket to a resumed session, p95", "resume_p95_seconds", goal::RESUMED_P95_S, "s"),
        more.ran("resume, one thing at a time"),
    ])
}

fn secrets(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::of("canary", ""))?;
    Ok(vec![
        found.ran("a run of everything with secrets that are known"),
        found.at_least("kinds of secrets", "canary_secrets", 5.0),
        found.at_least("bytes looked through", "canary_bytes", 1.0),
        found.at_most("times a secret was found", "canary_hits", 0.0, ""),
    ])
}

/// That the document is there and has what it promises; that what it names exists is a test of its own (`tidy`).
fn newcomer(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let text = fs::read_to_string(context.workspace.root.join("docs/SIGN-IN.md")).unwrap_or_default();
    let wanted = goal::DOCUMENTED;
    let there = wanted.iter().filter(|word| text.contains(**word)).count();
    let tidy = tests(context, Tests::of("tidy", ""))?;
    let local = tests(context, Tests::of("sign_in", ""))?;
    Ok(vec![
        Figure::all("what docs/SIGN-IN.md has to tell", there, wanted.len()),
        tidy.ran("what documents name exists"),
        local.ran("sign-in at the provider that runs on this machine"),
    ])
}

fn tunnel(context: &Context) -> anyhow::Result<Vec<Figure>> {
    host::ensure(&[host::REDIS])?;
    let command = context.workspace.cargo(["test", "--package", "tests", "--test", "tunnel_lint"]);
    Ok(vec![counted_tests(command, "the lint of cloudflared/ and compose.yml, and its bad examples")?])
}

/// Runs tests, shows their lines as they come, and keeps their figures.
fn tests(context: &Context, which: Tests) -> anyhow::Result<Found> {
    host::ensure(&[host::REDIS])?;
    let mut arguments = vec!["test", "--package", which.package, "--test", which.file];
    if which.measuring {
        let programs = ["--package", "gateway", "--package", "stt-worker", "--package", "translation-worker"];
        run(context.workspace.cargo(["build", "--release"]).args(programs).stdout(std::io::stderr()))?;
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
    say(&line(&command));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo does not start")?;
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
    fn read(&mut self, line: &str) {
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
    fn ran(&self, what: &str) -> Figure {
        let passed = format!("{} passed", self.passed);
        match (self.failed, self.passed) {
            (false, 1..) => Figure::met(what, passed),
            (false, 0) => Figure::not_proven(what, "no test ran"),
            (true, _) => Figure::failed(what, format!("{passed}, and some failed")),
        }
    }

    fn value(&self, name: &str) -> f64 {
        self.figures.get(name).copied().unwrap_or(f64::INFINITY)
    }

    fn at_most(&self, what: &str, name: &str, limit: f64, unit: &str) -> Figure {
        Figure::at_most(what, self.value(name), limit, unit)
    }

    fn at_least(&self, what: &str, name: &str, least: f64) -> Figure {
        match self.figures.get(name) {
            Some(value) if *value >= least => Figure::met(what, format!("{value} (goal >= {least})")),
            Some(value) => Figure::failed(what, format!("{value} (goal >= {least})")),
            None => Figure::failed(what, "never told"),
        }
    }

    fn exactly(&self, what: &str, name: &str, goal: f64) -> Figure {
        match self.figures.get(name) {
            Some(value) if (value - goal).abs() < 1e-9 => Figure::met(what, format!("{value} (goal {goal})")),
            Some(value) => Figure::failed(what, format!("{value} (goal {goal})")),
            None => Figure::failed(what, "never told"),
        }
    }

    /// Met when both figures are the same count, and more than none.
    fn share(&self, what: &str, name: &str, of: &str) -> Figure {
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
