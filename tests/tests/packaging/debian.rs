//! The Debian package, as `subtide/Cargo.toml` describes it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Command, fs, names_in, none, read, repository};

fn description() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(repository());
    let metadata: Value = serde_json::from_slice(&cargo.output().unwrap().stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().find(|package| package["name"] == "subtide").unwrap()["metadata"]["deb"].clone()
}

/// Source, folder or file it becomes, mode.
fn assets() -> Vec<(String, String, String)> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = description()["assets"].as_array().unwrap().clone();
    rows.iter().map(|row| (word(&row[0]), word(&row[1]), word(&row[2]))).collect()
}

#[test]
fn every_file_of_the_package_is_there_and_has_its_mode() {
    let mut faults = Vec::new();
    for (source, target, mode) in assets() {
        let is_program = target.starts_with("usr/bin/") || target.starts_with("usr/lib/subtide/");
        if mode != if is_program { "755" } else { "644" } {
            faults.push(format!("{target}: mode {mode}"));
        }
        if source.starts_with("target/release/") {
            continue;
        }
        let path = repository().join("subtide").join(source.split('*').next().unwrap());
        let found = if source.contains('*') { path.is_dir() } else { path.is_file() };
        if !found {
            faults.push(format!("{source} is not there"));
        }
    }
    none(&faults);
}

#[test]
fn what_the_units_start_and_show_is_in_the_package() {
    let assets = assets();
    let files: BTreeSet<String> = assets
        .iter()
        .flat_map(|(source, target, _)| {
            let folder = source.strip_suffix("/*.sh").map(|folder| format!("subtide/{folder}"));
            let names =
                folder.map_or_else(|| vec![source.rsplit('/').next().unwrap().to_owned()], |folder| names_in(&folder));
            names
                .into_iter()
                .map(move |name| if target.ends_with('/') { format!("/{target}{name}") } else { format!("/{target}") })
        })
        .collect();
    let mut faults = Vec::new();
    for name in names_in("infra/systemd").iter().filter(|name| name.ends_with(".service") || name.ends_with(".timer")) {
        if !files.contains(&format!("/usr/lib/systemd/system/{name}")) {
            faults.push(format!("{name} is not in the package"));
        }
        for line in read(&format!("infra/systemd/{name}")).lines() {
            let named = line.strip_prefix("ExecStart=").or_else(|| line.strip_prefix("Documentation=file://"));
            let Some(path) = named.and_then(|rest| rest.split(' ').next()) else { continue };
            if !files.contains(path) {
                faults.push(format!("{name}: {path} is not in the package"));
            }
        }
    }
    none(&faults);
}

#[test]
fn the_scripts_of_the_package_are_programs_that_stop_at_a_fault() {
    for name in ["postinst", "prerm", "postrm"] {
        let path = format!("infra/debian/{name}");
        let text = read(&path);
        assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{path}");
        let checked = Command::new("sh").arg("-n").arg(repository().join(&path)).status().unwrap();
        assert!(checked.success(), "{path}");
    }
    assert_eq!(description()["maintainer-scripts"], "../infra/debian/");
    assert!(
        fs::read_dir(repository().join("infra/debian")).unwrap().count() == 3,
        "cargo-deb takes what is there by name"
    );
}
