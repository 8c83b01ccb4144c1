//! What is linked in: licences, sources and banned crates of `deny.toml`, held without a network and without cargo-deny, which the
//! workflow CI runs as well for what is known to be wrong with a crate.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Command, none, read, repository};

/// The strings of a list in deny.toml.
fn list(name: &str) -> BTreeSet<String> {
    let text = read("deny.toml");
    let (_, rest) = text.split_once(&format!("\n{name} = [\n")).unwrap_or_else(|| panic!("deny.toml has no {name}"));
    let lines = rest.split("\n]").next().unwrap().lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect()
}

/// Whether an expression of licences (SPDX: `MIT OR (Apache-2.0 AND ISC)`) can be met with those allowed. AND binds tighter.
fn met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    any(&mut words.as_slice(), allowed)
}

fn any(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut found = all(words, allowed);
    while take(words, "OR") {
        found |= all(words, allowed);
    }
    found
}

fn all(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut good = one(words, allowed);
    while take(words, "AND") {
        good &= one(words, allowed);
    }
    good
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    if take(words, "(") {
        let good = any(words, allowed);
        return take(words, ")") && good;
    }
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    let mut name = (*first).to_owned();
    if take(words, "WITH")
        && let Some((exception, rest)) = words.split_first()
    {
        *words = rest;
        name = format!("{name} WITH {exception}");
    }
    allowed.contains(&name)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let there = words.first() == Some(&word);
    if there {
        *words = &words[1..];
    }
    there
}

/// Every crate from outside that is built for a server or for the desktop client on Linux.
fn crates() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--locked", "--format-version", "1"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(repository());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let used: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let outside =
        packages.filter(|package| package["source"].is_string() && used.contains(package["id"].as_str().unwrap()));
    outside.cloned().collect()
}

#[test]
fn what_is_linked_in_may_be() {
    let (allowed, crates) = (list("allow"), crates());
    let banned = read("deny.toml");
    assert!(crates.len() > 300 && allowed.len() > 5, "{} crates, {allowed:?}", crates.len());
    let mut faults = Vec::new();
    for found in &crates {
        let [name, licence, source] = ["name", "license", "source"].map(|key| found[key].as_str().unwrap_or_default());
        if !met(licence, &allowed) {
            faults.push(format!("{name}: `{licence}` is not among the licences of deny.toml"));
        }
        if !source.starts_with("registry+") {
            faults.push(format!("{name} comes from {source}"));
        }
        if banned.contains(&format!("{{ crate = \"{name}\" }}")) {
            faults.push(format!("{name} is banned; deny.toml says why"));
        }
    }
    none(&faults);
}

#[test]
fn licences_are_read_as_they_are_written() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for (expression, good) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/GPL-3.0", true),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("(GPL-3.0 OR MIT) AND OpenSSL", false),
        ("MIT AND (GPL-3.0 OR ISC)", true),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
        ("", false),
    ] {
        assert_eq!(met(expression, &allowed), good, "{expression}");
    }
}
