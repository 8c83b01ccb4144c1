//! `infra/systemd/`: understood by systemd itself, and as tight as its README says.

use std::process::Output;

use super::{Command, Path, fs, names_in, none, read, repository};

const FOLDER: &str = "infra/systemd";
/// What systemd may count for the loosest of them, in tenths of its ten: the backup runs as root (2.5 in systemd 252).
const EXPOSURE: &str = "30";
/// Each role in a unit of its own, the backup's service and its timer.
const UNITS: usize = 6;

fn units() -> Vec<String> {
    let unit = |name: &String| {
        [".service", ".timer"].iter().any(|end| Path::new(name).extension().is_some_and(|found| &end[1..] == found))
    };
    names_in(FOLDER).into_iter().filter(unit).collect()
}

/// What `analyze` came to; `None`, said aloud, where there is no systemd-analyze. With `CI=true` that is a fault.
fn run(analyze: &mut Command) -> Option<Output> {
    match analyze.output() {
        Ok(output) => Some(output),
        Err(error) => {
            let why = format!("systemd-analyze does not start ({error}; Debian: apt-get install systemd)");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

/// What `systemd-analyze` says of these units, whose programs are replaced by one that is there; `None` where it is not.
fn verify(units: &[(String, String)]) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = units.iter().map(|(name, text)| (folder.path().join(name), text)).collect();
    for (file, text) in &files {
        fs::write(file, text).unwrap();
    }
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["verify", "--man=no", "--generators=no"]).args(files.iter().map(|(file, _)| file));
    let said = String::from_utf8(run(&mut analyze)?.stderr).unwrap();
    Some(said.lines().map(str::to_owned).collect())
}

/// A unit as it is, but for its program, which this machine need not have.
fn with_a_program(name: &str) -> (String, String) {
    let text = read(&format!("{FOLDER}/{name}"));
    let lines = text.lines().map(|line| match line.strip_prefix("ExecStart=") {
        Some(_) => "ExecStart=/bin/true\n".to_owned(),
        None => format!("{line}\n"),
    });
    (name.to_owned(), lines.collect())
}

#[test]
fn systemd_understands_the_units() {
    let units: Vec<_> = units().iter().map(|name| with_a_program(name)).collect();
    assert_eq!(units.len(), UNITS, "{units:#?}");
    none(&verify(&units).unwrap_or_default());
}

#[test]
fn what_systemd_does_not_understand_is_found() {
    let (name, text) = with_a_program("subtide-gateway.service");
    for (from, to) in [
        ("ProtectSystem=strict", "ProtectSystems=strict"),
        ("ExecStart=/bin/true", "ExecStart=/usr/bin/no-such-program"),
        ("Type=exec", "Type=simply"),
    ] {
        let broken = super::with(&text, from, to);
        let Some(said) = verify(&[(name.clone(), broken)]) else { return };
        assert!(!said.is_empty(), "{to} is not found");
    }
}

#[test]
fn the_units_give_little_away() {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE]);
    analyze
        .args(units().iter().filter(|name| !name.ends_with(".timer")).map(|name| repository().join(FOLDER).join(name)));
    if let Some(output) = run(&mut analyze) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_units_keep_to_what_the_readme_says() {
    let (readme, users) = (read("infra/systemd/README.md"), read("infra/systemd/sysusers.conf"));
    let mut faults = Vec::new();
    for name in units() {
        let text = read(&format!("{FOLDER}/{name}"));
        // `subtide-stt-worker@.service` is `subtide-stt-worker@N.service` there.
        if !readme.contains(&name.replace("@.", "@N.")) {
            faults.push(format!("README.md does not name {name}"));
        }
        for line in text.lines() {
            if let Some(user) = line.strip_prefix("User=")
                && !users.contains(&format!("u {user} "))
            {
                faults.push(format!("{name}: nobody makes the user {user}"));
            }
            if let Some(file) = line.strip_prefix("EnvironmentFile=-/etc/subtide/")
                && !readme.contains(&format!("{file}`"))
            {
                faults.push(format!("{name}: README.md does not name {file}"));
            }
            let secret =
                ["_SECRET=", "_KEY=", "PASSWORD=", "TOKEN=", "DSN=", "URL="].iter().any(|end| line.contains(end));
            if line.starts_with("Environment=") && secret {
                faults.push(format!("{name}: `{line}` shows a secret to everybody"));
            }
        }
    }
    none(&faults);
}
