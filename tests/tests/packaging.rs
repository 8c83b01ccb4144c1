//! What is handed on: units, the Debian package, workflows, what is linked in, and who looks after it; held against the files that they
//! name, and the machine itself held by bad examples.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "packaging/debian.rs"]
mod debian;
#[path = "packaging/licences.rs"]
mod licences;
#[path = "packaging/units.rs"]
mod units;
#[path = "packaging/workflows.rs"]
mod workflows;

use std::{fs, path::Path, process::Command};

use tests::stack::repository;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n  {}", faults.join("\n  "));
}

/// That a fault says `word`.
#[track_caller]
fn faulty(faults: &[String], word: &str) {
    assert!(faults.iter().any(|fault| fault.contains(word)), "no fault says `{word}`: {faults:#?}");
}

/// `text` with `from` made `to`; `from` has to be there.
#[track_caller]
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not there any more");
    text.replacen(from, to, 1)
}

/// Names of the files in a folder of the repository.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(repository().join(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
