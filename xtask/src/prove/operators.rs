//! How the promises to operators are measured: by the tests that hold them (`test_run`), by `infra/try-compose.sh` on real
//! containers, and by `subtide bench observability`.

use super::{
    Check, Context,
    figure::Figure,
    goals::operators as goal,
    pipeline::{build, subtide},
    test_run::{Found, Tests, script, tests},
};
use crate::{
    host,
    workspace::{is_root, on_path, run},
};

/// What containers are tried with; `infra/try-compose.sh` says where each comes from.
const CONTAINERS: [&str; 6] = ["dockerd", "docker", "docker-compose", "debootstrap", "iptables", "node"];
/// The programs in an image.
const PROGRAMS: [&str; 4] = ["gateway", "stt-worker", "translation-worker", "subtide"];
/// The speech that is streamed through them.
const SPEECH: &str = "models/demo-speech/demo.wav";
/// Ends of names of what must not be, beside utterances that are lost.
const WRONG: [&str; 8] = [
    "_gaps",
    "_finals_doubled",
    "_sessions_broken",
    "_captions_unlike",
    "_dead_letters",
    "_refusals",
    "_targets_down",
    "_not_evaluated",
];

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "compose", goal: goal::COMPOSE, measure: compose },
        Check { name: "what is seen", goal: goal::SEEN, measure: seen },
        Check { name: "what seeing costs", goal: goal::COST, measure: cost },
        Check { name: "infra lint", goal: goal::LINT, measure: lint },
        Check { name: "what is kept", goal: goal::KEPT, measure: kept },
    ]
}

fn compose(context: &Context) -> anyhow::Result<Vec<Figure>> {
    const WHAT: &str = "infra/try-compose.sh";
    if context.arguments.skip_compose {
        return Ok(vec![Figure::not_proven(WHAT, "left out by --skip-compose")]);
    }
    let missing: Vec<_> = CONTAINERS.into_iter().filter(|program| !on_path(program)).collect();
    if !missing.is_empty() {
        return Ok(vec![Figure::not_proven(WHAT, format!("not here: {}", missing.join(", ")))]);
    }
    if !is_root() {
        return Ok(vec![Figure::not_proven(WHAT, "wants root, for debootstrap and dockerd")]);
    }
    let mut cargo = context.workspace.cargo(["build", "--release"]);
    run(cargo.args(PROGRAMS.map(|program| format!("--package={program}"))).stdout(std::io::stderr()))?;
    let mut command = context.workspace.command("infra/try-compose.sh");
    command.arg(SPEECH).env("BIN", context.workspace.target.join("release"));
    Ok(of_compose(&script(&mut command)?))
}

/// Each step as it was timed, and what must not be lost.
fn of_compose(found: &Found) -> Vec<Figure> {
    let mut figures = vec![found.ended("containers, from nothing to taken down again")];
    let steps = found.named(|name| name.ends_with("_seconds"));
    if steps.is_empty() {
        figures.push(Figure::failed("steps to the first caption", "none was timed"));
    }
    figures.extend(steps.iter().map(|(name, seconds)| Figure::met(said(name), format!("{seconds:.1} s"))));
    if !steps.iter().any(|(name, _)| name.contains("first_caption")) {
        figures.push(Figure::failed("`up` to the first caption", "never told"));
    }
    for (what, part) in [("scale 1 -> 3 -> 1", "scale"), ("kill stt-worker", "kill")] {
        let lost = found.named(|name| name.starts_with(part) && name.ends_with("_lost"));
        if lost.is_empty() {
            figures.push(Figure::failed(format!("{what}: utterances lost"), "never told"));
        }
        figures.extend(
            lost.iter().map(|(name, value)| Figure::at_most(format!("{what}: {}", said(name)), *value, 0.0, "")),
        );
        let sessions = found.named(|name| name.starts_with(part) && name.ends_with("_sessions"));
        if sessions.iter().all(|(_, value)| *value < goal::SESSIONS) {
            figures.push(Figure::failed(
                format!("{what}: live sessions"),
                format!("{sessions:?} (goal >= {})", goal::SESSIONS),
            ));
        }
    }
    let more = found.named(|name| WRONG.iter().any(|end| name.ends_with(end)));
    figures.extend(more.iter().map(|(name, value)| Figure::at_most(said(name), *value, 0.0, "")));
    figures
}

fn said(name: &str) -> String {
    name.replace('_', " ")
}

fn seen(context: &Context) -> anyhow::Result<Vec<Figure>> {
    host::ensure(&host::PYTHON)?;
    host::ensure(&[host::PROMTOOL])?;
    let told = tests(context, Tests::of("operators", "every_metric_that_is_watched"))?;
    let queues = tests(context, Tests::of("operators", "queues_are_as_deep"))?;
    let rules = tests(context, Tests::of("infra", "checkers"))?;
    let traces = tests(context, Tests::of("traces", ""))?;
    let view = tests(context, Tests::of("watch", ""))?;
    Ok(vec![
        told.at_least("metrics that are documented, or that rules and dashboards ask for", "metrics_watched", 1.0),
        told.at_most("of them in no live scrape", "metrics_not_told", 0.0, ""),
        rules.ran("promtool check and unit tests, dashboards and documents; bad examples"),
        traces.ran("the trace of one caption, from the client's frame to the wire"),
        queues.ran("queues under load and after kills"),
        queues.at_least("moments at which a role and XINFO were compared", "queue_moments_compared", goal::MOMENTS),
        queues.at_least("jobs in the deepest of these queues", "queue_deepest", 1.0),
        queues.at_most("differences from XINFO", "queue_differences", 0.0, ""),
        view.ran("`subtide top` and `subtide status` on a running stack"),
    ])
}

fn cost(context: &Context) -> anyhow::Result<Vec<Figure>> {
    build(context)?;
    let mut command = subtide(context);
    command.args(["bench", "observability"]);
    let found = script(&mut command)?;
    Ok(vec![
        found.ended("`subtide bench observability`"),
        found.at_most("throughput that observability takes", "observability_cost_percent", goal::COST_PERCENT, "%"),
        Figure::met(
            "with 95 % confidence no more than",
            format!("{:.2} %", found.value("observability_cost_percent_at_most")),
        ),
    ])
}

fn lint(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let infra = tests(context, Tests::of("infra", ""))?;
    let tunnel = tests(context, Tests::of("tunnel_lint", ""))?;
    let settings = tests(context, Tests::of("tidy", "settings"))?;
    Ok(vec![
        infra.ran("compose, images, units, manifests; and bad examples of each"),
        rendered(&infra),
        tunnel.ran("what a tunnel lets through; and bad examples"),
        settings.ran("every key: in the code, the example, compose and docs/CONFIG.md"),
    ])
}

/// Manifests as kubectl renders them, which the tests leave out where it is not.
fn rendered(infra: &Found) -> Figure {
    const WHAT: &str = "every rendering of the manifests; and bad examples";
    if infra.named(|name| name == "manifests_rendered").is_empty() {
        return Figure::not_proven(WHAT, "not here: kubectl 1.27 or newer");
    }
    infra.ran(WHAT)
}

fn kept(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let drill = tests(context, Tests::of("backup", ""))?;
    let packages = tests(context, Tests::of("packaging", ""))?;
    Ok(vec![
        drill.ran("backup while it runs, all lost, restored, all equal"),
        packages.ran("units, package and workflows"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::Verdict;

    #[test]
    fn manifests_that_nobody_rendered_are_not_proven() {
        let mut found = Found::default();
        found.read("test result: ok. 9 passed; 0 failed");
        assert_eq!(rendered(&found).verdict(), Verdict::NotProven);
        found.read("FIGURE manifests_rendered 1.000");
        assert_eq!(rendered(&found).verdict(), Verdict::Met);
    }

    #[test]
    fn what_compose_does_not_tell_is_not_met() {
        let lines = |text: &str| {
            let mut found = Found::default();
            text.lines().for_each(|line| found.read(line));
            Verdict::of(of_compose(&found).iter().map(Figure::verdict))
        };
        let all = "FIGURE compose_first_caption_seconds 12.5\nFIGURE scale_sessions 10\nFIGURE scale_utterances_lost 0\n\
                   FIGURE kill_sessions 10\nFIGURE kill_utterances_lost 0\n";
        assert_eq!(lines(all), Verdict::Met);
        for (from, to) in [
            ("scale_utterances_lost 0", "scale_utterances_lost 1"),
            ("FIGURE kill_utterances_lost 0", ""),
            ("FIGURE compose_first_caption_seconds 12.5", ""),
            ("kill_sessions 10", "kill_sessions 9"),
        ] {
            assert_eq!(lines(&all.replace(from, to)), Verdict::FallsShort, "{to}");
        }
    }
}
