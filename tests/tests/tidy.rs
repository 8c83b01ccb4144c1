//! The fences of ARCHITECTURE.md, held by a machine: who may depend on whom, what is only in one place, what is nowhere.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "tidy/checkout.rs"]
mod checkout;
#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/settings.rs"]
mod settings;

use checkout::{Source, is_word_in, sources, tracked, visible};

/// Lines of a source file without its tests. Most have half as many; a file near it wants to be two.
const MAX_LINES: usize = 400;
/// Both demo models together, in bytes: they are in the repository, and every clone downloads them.
const MAX_MODEL_BYTES: u64 = 40_000_000;
const DEMO_MODELS: [&str; 2] = ["models/demo-stt-en", "models/demo-mt-en-es"];

/// Something that may stand only in some files.
struct Fence {
    /// Looked for in code, not in comments or tests.
    text: &'static str,
    /// Rooms or files where it may stand.
    only_in: &'static [&'static str],
    reason: &'static str,
}

const FENCES: [Fence; 8] = [
    Fence {
        text: concat!("uns", "afe "),
        only_in: &["kernels/", "gateway/src/segment/webrtc.rs"],
        reason: "vector instructions have a room of their own; nothing else is faster for it",
    },
    Fence {
        text: "redis::",
        only_in: &["shared/src/bus", "tests/src/sentinel.rs"],
        reason: "only the bus knows Redis",
    },
    Fence { text: "candle_", only_in: &["inference/"], reason: "only inference knows candle" },
    Fence {
        text: "env::var",
        only_in: &["shared/src/config.rs", "xtask/", "tests/"],
        reason: "the environment is read once, through shared::config::Env, so that all faults are told together",
    },
    Fence {
        text: "env::set_var",
        only_in: &[],
        reason: "a process that changes its environment changes it under its own threads",
    },
    Fence {
        text: "process::exit",
        only_in: &["main.rs", "shared/src/shutdown.rs"],
        reason: "nothing is cleaned up behind it; return from main instead",
    },
    Fence {
        text: concat!("unbounded", "_channel"),
        only_in: &[],
        reason: "every queue is bounded and says what happens when it is full",
    },
    Fence { text: concat!("dbg", "!("), only_in: &[], reason: "it was for the debugging of one afternoon" },
];

#[track_caller]
fn none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n  {}", faults.join("\n  "));
}

fn may_stand(fence: &Fence, path: &str) -> bool {
    fence.only_in.iter().any(|place| path.starts_with(place) || path.rsplit('/').next() == Some(*place))
}

#[test]
fn what_belongs_to_one_place_is_nowhere_else() {
    let breaches = |source: &Source| -> Vec<String> {
        let fences = FENCES.iter().filter(|fence| !may_stand(fence, &source.path));
        let lines = |fence: &Fence| {
            let (path, text, reason) = (&source.path, fence.text, fence.reason);
            let code = source.code().filter(|(_, line)| line.contains(text));
            code.map(|(n, _)| format!("{path}:{n}: `{text}`: {reason}")).collect::<Vec<_>>()
        };
        fences.flat_map(lines).collect()
    };
    none(sources().iter().flat_map(breaches));
}

#[test]
fn a_source_file_is_short_enough_to_be_read_at_once() {
    let lines = |source: &Source| (source.path.clone(), source.production().lines().count());
    let long = sources().iter().map(lines).filter(|(_, lines)| *lines > MAX_LINES).collect::<Vec<_>>();
    none(long.into_iter().map(|(path, lines)| format!("{path} has {lines} lines without its tests, of {MAX_LINES}")));
}

#[test]
fn a_module_is_named_after_what_it_holds() {
    let empty_names = ["utils", "util", "common", "helpers", "helper", "misc"];
    let empty = |path: &str| path.split(['/', '.']).any(|part| empty_names.contains(&part));
    let found = visible().into_iter().filter(|path| path.ends_with(".rs") && empty(path));
    none(found.map(|path| format!("{path}: such a name says nothing")));
}

#[test]
fn nothing_is_left_to_be_done_in_a_comment() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let faults = |(path, text): (String, String)| -> Vec<String> {
        let lines = text.lines().enumerate();
        let marked = lines.filter(|(_, line)| marks.iter().any(|mark| is_word_in(line, mark)));
        marked.map(|(n, _)| format!("{path}:{}: do it, or open an issue", n + 1)).collect()
    };
    none(checkout::texts().into_iter().flat_map(faults));
}

#[test]
fn nothing_names_one_machine_or_one_registry() {
    let hosts = [["crates", "io"], ["pypi", "org"], ["pythonhosted", "org"], ["npmjs", "org"], ["npmjs", "com"]];
    let more = [["debian", "org"], ["ubuntu", "com"], ["ghcr", "io"], ["quay", "io"]];
    let hosts: Vec<_> = hosts.iter().chain(&more).map(|parts| parts.join(".")).collect();
    let machine = ["/wo", "rk/"].concat();
    let faults = |(path, text): (String, String)| -> Vec<String> {
        let fault = |line: &str| {
            let host = hosts.iter().find(|host| line.contains(host.as_str()));
            host.cloned().or_else(|| checkout::is_path_in(line, &machine).then(|| machine.clone()))
        };
        let lines = text.lines().enumerate();
        lines.filter_map(|(n, line)| Some(format!("{path}:{}: names {}", n + 1, fault(line)?))).collect()
    };
    // Cargo writes the files that must name where crates come from.
    none(checkout::texts().into_iter().filter(|(path, _)| !path.ends_with("Cargo.lock")).flat_map(faults));
}

#[test]
fn the_demo_models_ship_are_described_and_small() {
    let files = visible();
    let faults = DEMO_MODELS.iter().flat_map(|model| {
        let needed = ["README.md", "config.json", "model.safetensors"];
        needed.map(|file| format!("{model}/{file}")).into_iter().filter(|path| !files.contains(path))
    });
    none(faults.map(|path| format!("{path} is not in the repository")));
    let of_models = files.iter().filter(|path| DEMO_MODELS.iter().any(|model| path.starts_with(model)));
    let bytes: u64 = of_models.map(|path| checkout::size(path)).sum();
    assert!(bytes <= MAX_MODEL_BYTES, "the demo models have {bytes} bytes, of {MAX_MODEL_BYTES}");
}

#[test]
fn what_a_clone_must_hold_is_committed() {
    let tracked = tracked();
    let needed = ["Cargo.lock", "LICENSE-MIT", "LICENSE-APACHE", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
    none(
        needed
            .into_iter()
            .filter(|file| !tracked.iter().any(|path| path == file))
            .map(|file| format!("{file} is not committed")),
    );
}
