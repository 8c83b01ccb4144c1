//! The gateway's WebSocket stack before the Autobahn test suite.
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tests::{autobahn::Autobahn, figure::figure};

/// The echo server; it ends with this.
struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
#[ignore = "takes 2 minutes and Python 2.7; cargo xtask prove faults runs it"]
fn autobahn_finds_nothing_wrong() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("autobahn");
    let suite = Autobahn::find(&directory).unwrap_or_else(|missing| panic!("{missing}"));
    let child = Command::new(env!("CARGO_BIN_EXE_echo")).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut echo = Echo(child);
    let mut address = String::new();
    BufReader::new(echo.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let verdicts = suite.run(&format!("ws://{}", address.trim()), &directory).unwrap_or_else(|fault| panic!("{fault}"));

    figure("autobahn_cases", verdicts.cases as f64);
    figure("autobahn_failed", verdicts.failed.len() as f64);
    figure("autobahn_non_strict", verdicts.non_strict.len() as f64);
    figure("autobahn_not_offered", verdicts.not_offered as f64);
    // Sections 1 to 7, 9 and 10; compression (12 and 13) is not offered: captions are small, and audio does not get smaller.
    assert!(verdicts.cases >= 290, "only {} cases were run", verdicts.cases);
    assert!(verdicts.failed.is_empty(), "failed: {:#?}", verdicts.failed);
    assert!(verdicts.non_strict.len() <= 2, "right, but late: {:?}", verdicts.non_strict);
}
