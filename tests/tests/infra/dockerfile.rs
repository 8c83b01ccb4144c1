//! What images are made of: pinned bases, no secret in a layer, and nobody in them is root.

use std::collections::BTreeMap;

use regex::Regex;

use super::{compose::version_fault, secrets::is_secret};

/// Files that must not get into a layer, not even of a stage that is thrown away: its cache is kept.
const PRIVATE: [&str; 6] = [".env", "secrets", ".pem", "id_rsa", "auth-secret", "tunnel.json"];
/// What a build is not given, for `COPY . .` would take it along.
pub(super) const LEFT_OUT: [&str; 6] =
    [".git", "target", "infra/.env", "infra/secrets", "cloudflared/*.json", "cloudflared/*.pem"];

#[derive(Debug, Default)]
struct Stage {
    name: String,
    base: String,
    user: Option<String>,
}

pub(super) fn faults(text: &str) -> Vec<String> {
    let (mut faults, mut arguments, mut stages) = (Vec::new(), BTreeMap::new(), Vec::<Stage>::new());
    let mut used = Vec::new();
    for (instruction, rest) in instructions(text) {
        match instruction.as_str() {
            "FROM" => {
                let words: Vec<_> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
                let base = resolved(words.first().copied().unwrap_or_default(), &arguments);
                if stages.iter().any(|stage| stage.name == base) {
                    used.push(base.clone());
                } else if base != "scratch" {
                    faults.extend(version_fault(&base));
                }
                let name = words.get(2).map_or_else(|| stages.len().to_string(), |name| (*name).to_owned());
                stages.push(Stage { name, base, user: None });
            }
            "ARG" | "ENV" => settings(&instruction, &rest, &mut arguments, &mut faults),
            "USER" => {
                if let Some(stage) = stages.last_mut() {
                    stage.user = Some(rest.clone());
                }
            }
            "COPY" | "ADD" => {
                used.extend(
                    rest.split("--from=").skip(1).filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned),
                );
                copied(&instruction, &rest, &mut faults);
            }
            "RUN" => faults.extend(ran(&rest)),
            _ => {}
        }
    }
    for stage in stages.iter().filter(|stage| !used.contains(&stage.name)) {
        let user = user(stage, &stages).unwrap_or_default();
        if !user.split(':').next().is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id > 0)) {
            faults.push(format!("the stage {} ends as the user `{user}`, who is no number or root", stage.name));
        }
    }
    faults
}

/// Instructions with their arguments; lines that go on are joined, comments are left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let whole = lines.join("\n").replace("\\\n", " ");
    let split =
        |line: &str| line.trim().split_once(' ').map(|(word, rest)| (word.to_uppercase(), rest.trim().to_owned()));
    whole.lines().filter_map(split).collect()
}

fn resolved(base: &str, arguments: &BTreeMap<String, String>) -> String {
    let mut base = base.to_owned();
    for (name, value) in arguments {
        base = base.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
    }
    base
}

fn settings(instruction: &str, rest: &str, arguments: &mut BTreeMap<String, String>, faults: &mut Vec<String>) {
    for setting in rest.split_whitespace() {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        if is_secret(key) {
            faults.push(format!("{instruction} {key}: a secret that the image's history shows"));
        }
        if instruction == "ARG" {
            arguments.insert(key.to_owned(), value.to_owned());
        }
    }
}

fn copied(instruction: &str, rest: &str, faults: &mut Vec<String>) {
    let mut words: Vec<_> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    words.pop();
    for word in words {
        if instruction == "ADD" && word.contains("://") {
            faults.push(format!("ADD {word}: whatever is there that day"));
        }
        if PRIVATE.iter().any(|private| word.trim_end_matches('/').ends_with(private)) {
            faults.push(format!("{instruction} {word}: private, and in a layer"));
        }
    }
}

fn ran(line: &str) -> Option<String> {
    let pattern = |text: &str| Regex::new(text).unwrap_or_else(|error| panic!("{error}"));
    if pattern(r"(curl|wget)[^|&;]*\|\s*(ba)?sh").is_match(line) {
        return Some("RUN pipes what it downloads into a shell".to_owned());
    }
    let given = pattern(r"\b([A-Z][A-Z0-9_]*)=\S");
    let mut given = given.captures_iter(line).map(|found| found[1].to_owned());
    given.find(|key| is_secret(key)).map(|key| format!("RUN with {key}: the image's history shows it"))
}

/// Its own, or that of the stage it is built on.
fn user(stage: &Stage, stages: &[Stage]) -> Option<String> {
    let mut stage = stage;
    loop {
        if let Some(user) = &stage.user {
            return Some(user.clone());
        }
        stage = stages.iter().find(|other| other.name == stage.base)?;
    }
}

#[test]
fn stages_are_followed_to_their_users() {
    let built = "ARG BASE=debian:12\nFROM rust:1.95 AS build\nRUN make \\\n && true\nFROM ${BASE} AS cpu\nCOPY --from=build /a /b\n\
                 USER 65532:65532\nFROM cpu AS more\nCMD [\"x\"]\n";
    assert_eq!(faults(built), Vec::<String>::new());
    let root = built.replace("USER 65532:65532\n", "");
    assert!(faults(&root).iter().any(|fault| fault.contains("more")), "{:?}", faults(&root));
}
