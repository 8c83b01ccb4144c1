//! Documents against the code: what they name is there, and what is there they name.

use std::collections::BTreeSet;

use super::{
    checkout::{read, texts, visible},
    none,
    settings::{ENV_EXAMPLE, is_key, keys_in_code, keys_in_compose, keys_in_example},
};

/// Read by other programs than ours, or only by xtask and the tests; and what stands for any name.
const FOREIGN: [&str; 10] = [
    "CI",
    "COMPOSE_FILE",
    "COMPOSE_PROFILES",
    "GOMP_SPINCOUNT",
    "NAME",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "RUSTFLAGS",
    "RUST_BACKTRACE",
    "RUST_LOG",
];

#[test]
fn every_setting_of_the_code_is_in_the_example_and_the_other_way_round() {
    let (code, example, compose) = (keys_in_code(), keys_in_example(), keys_in_compose());
    let example: BTreeSet<_> = example.into_keys().collect();
    assert!(code.len() > 15, "only {code:?} found: has the way in which settings are read changed?");
    let missing = code.difference(&example).map(|key| format!("{ENV_EXAMPLE} does not have {key}"));
    let unread = example.iter().filter(|key| !code.contains(*key) && !compose.contains(*key));
    none(missing.chain(unread.map(|key| format!("{ENV_EXAMPLE} has {key}, which nothing reads"))));
}

#[test]
fn a_setting_that_a_document_names_exists() {
    let mut known = keys_in_code();
    known.extend(keys_in_compose());
    known.extend(FOREIGN.map(str::to_owned));
    let is_known =
        |key: &str| known.contains(key) || known.contains(key.trim_end_matches("_FILE")) || key.starts_with("SUBTIDE_");
    let mut faults = Vec::new();
    for (path, text) in texts().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        for (n, line) in text.lines().enumerate() {
            // Between backticks: `KEY=value`, `KEY=value program`.
            let code = line.split('`').skip(1).step_by(2);
            let settings = code.flat_map(str::split_whitespace).filter_map(|word| word.split_once('='));
            let unknown = settings.map(|(key, _)| key).filter(|key| is_key(key) && key.len() > 1 && !is_known(key));
            faults.extend(unknown.map(|key| format!("{path}:{}: nothing reads {key}", n + 1)));
        }
    }
    none(faults);
}

#[test]
fn every_room_tells_what_is_in_it() {
    let files = visible();
    let rooms: BTreeSet<_> = files.iter().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    let told = |room: &str| {
        let (readme, lib) = (format!("{room}/README.md"), format!("{room}/src/lib.rs"));
        files.contains(&readme)
            || (files.contains(&lib) && read(&lib).starts_with("//! ") && read(&lib).contains("\n//! - [`"))
    };
    let silent = rooms.into_iter().filter(|room| !room.starts_with('.') && *room != "docs" && !told(room));
    none(silent.map(|room| format!("{room}/ has neither a README.md nor a lib.rs that opens with a map")));
}

#[test]
fn a_link_in_a_document_leads_to_a_file() {
    let files = visible();
    let mut faults = Vec::new();
    for (path, text) in texts().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:")) {
            let target = normal(folder, link);
            let there = files.contains(&target) || files.iter().any(|file| file.starts_with(&format!("{target}/")));
            if !there {
                faults.push(format!("{path}: {link} leads nowhere"));
            }
        }
    }
    none(faults);
}

/// `link` as seen from `folder`, as a path from the root.
fn normal(folder: &str, link: &str) -> String {
    let mut parts = Vec::new();
    for part in folder.split('/').chain(link.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn links_are_followed_from_where_they_stand() {
    assert_eq!(normal("infra/a", "../b.md"), "infra/b.md");
    assert_eq!(normal("", "docs/x.md"), "docs/x.md");
}
