//! What the tests need of the machine: found, installed where that is allowed, or asked for.

use std::process::{Command, Stdio};

use anyhow::bail;

use crate::workspace::{is_root, on_path, run, say};

/// Something the tests start or build with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    /// Looked for on the `PATH`; a name that ends in `.pc` is a library that
    /// `pkg-config` knows, one that begins with `/` a file.
    program: &'static str,
    /// Debian's packages that bring it.
    packages: &'static [&'static str],
}

/// The compiler that some crates' C wants.
pub(crate) const COMPILER: [Tool; 3] = [
    Tool { program: "cc", packages: &["gcc", "libc6-dev"] },
    Tool { program: "c++", packages: &["g++"] },
    Tool { program: "pkg-config", packages: &["pkg-config"] },
];
/// Tests start one of their own, on a free port.
pub(crate) const REDIS: Tool = Tool { program: "redis-server", packages: &["redis-server"] };
/// Tests start one of their own, on a free port. Debian keeps its programs off the `PATH`.
pub(crate) const POSTGRES: Tool = Tool { program: "initdb", packages: &["postgresql"] };
/// Where Debian's packages put the programs of each version.
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";
/// Runs the tests of the page.
pub(crate) const NODE: Tool = Tool { program: "node", packages: &["nodejs"] };
/// Gets the packages of the provider that people sign in at in tests.
pub(crate) const NPM: Tool = Tool { program: "npm", packages: &["npm"] };
/// What the desktop client is built with: WebKitGTK and what Tauri draws, and ALSA.
pub(crate) const DESKTOP: [Tool; 5] = [
    Tool { program: "webkit2gtk-4.1.pc", packages: &["libwebkit2gtk-4.1-dev"] },
    Tool { program: "ayatana-appindicator3-0.1.pc", packages: &["libayatana-appindicator3-dev"] },
    Tool { program: "librsvg-2.0.pc", packages: &["librsvg2-dev"] },
    Tool { program: "/usr/include/xdo.h", packages: &["libxdo-dev"] },
    Tool { program: "alsa.pc", packages: &["libasound2-dev"] },
];
/// The desk its tests put it on.
pub(crate) const DESK: [Tool; 12] = [
    Tool { program: "Xvfb", packages: &["xvfb"] },
    Tool { program: "openbox", packages: &["openbox"] },
    Tool { program: "picom", packages: &["picom"] },
    Tool { program: "hsetroot", packages: &["hsetroot"] },
    Tool { program: "xdotool", packages: &["xdotool"] },
    Tool { program: "xprop", packages: &["x11-utils"] },
    Tool { program: "convert", packages: &["imagemagick"] },
    Tool { program: "dbus-daemon", packages: &["dbus"] },
    Tool { program: "gnome-keyring-daemon", packages: &["gnome-keyring"] },
    Tool { program: "pulseaudio", packages: &["pulseaudio"] },
    Tool { program: "paplay", packages: &["pulseaudio-utils"] },
    Tool {
        program: "WebKitWebDriver",
        packages: &["webkit2gtk-driver", "libegl1", "libgl1-mesa-dri", "fonts-noto-core", "fonts-noto-cjk"],
    },
];
/// The page's tests in a real browser.
pub(crate) const CHROMIUM: Tool =
    Tool { program: "chromium", packages: &["chromium", "fonts-noto-core", "fonts-noto-cjk"] };
/// Tries the rules on made-up figures. Debian has it in the package of the server, which nothing here starts.
pub(crate) const PROMTOOL: Tool = Tool { program: "promtool", packages: &["prometheus"] };
/// What the scripts of infra/backup start, beside Redis and PostgreSQL, and what knows units.
pub(crate) const BACKUP: [Tool; 4] = [
    Tool { program: "sqlite3", packages: &["sqlite3"] },
    Tool { program: "redis-check-aof", packages: &["redis-tools"] },
    Tool { program: "pg_dump", packages: &["postgresql-client"] },
    Tool { program: "systemd-analyze", packages: &["systemd"] },
];
/// Sets the clock of one process; cuts networks of their own.
pub(crate) const CHAOS: [Tool; 2] =
    [Tool { program: "faketime", packages: &["faketime"] }, Tool { program: "ip", packages: &["iproute2"] }];
/// Runs what checks infra/: metrics against the code, and the manifests.
pub(crate) const PYTHON: [Tool; 2] = [
    Tool { program: "python3", packages: &["python3"] },
    Tool { program: "/usr/lib/python3/dist-packages/yaml/__init__.py", packages: &["python3-yaml"] },
];
/// Speak for the training smoke test; voices also need their data and the library.
pub(crate) const VOICES: [Tool; 2] =
    [Tool { program: "espeak-ng", packages: &["espeak-ng"] }, Tool { program: "flite", packages: &["flite"] }];

impl Tool {
    pub(crate) fn is_here(self) -> bool {
        if self.program.starts_with('/') {
            return std::path::Path::new(self.program).exists();
        }
        if let Some(library) = self.program.strip_suffix(".pc") {
            return Command::new("pkg-config")
                .args(["--exists", library])
                .status()
                .is_ok_and(|status| status.success());
        }
        on_path(self.program) || (self == POSTGRES && debian_has(self.program))
    }
}

/// Makes sure that all of `tools` are there.
///
/// # Errors
/// When one is missing and cannot be installed; the message is the line to type.
pub(crate) fn ensure(tools: &[Tool]) -> anyhow::Result<()> {
    let missing: Vec<_> = tools.iter().filter(|tool| !tool.is_here()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|tool| tool.program).collect();
    let packages: Vec<_> = missing.iter().flat_map(|tool| tool.packages).copied().collect();
    install(&packages).map_err(|error| error.context(format!("the tests need {}", programs.join(", "))))?;
    for service in SERVICES.into_iter().filter(|service| packages.contains(service)) {
        stop_service(service);
    }
    match tools.iter().find(|tool| !tool.is_here()) {
        Some(tool) => bail!("{} is still not on the PATH after its package was installed", tool.program),
        None => Ok(()),
    }
}

fn debian_has(program: &str) -> bool {
    let versions = std::fs::read_dir(DEBIAN_POSTGRES).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin").join(program)).any(|path| path.is_file())
}

/// Installs Debian packages.
///
/// # Errors
/// When this is no Debian, may not be changed by us, or the packages cannot be had.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !on_path("apt-get") {
        bail!("install by hand what these Debian packages hold: {}", packages.join(" "));
    }
    let Some(root) = root_prefix() else { bail!("as root, run: {by_hand}") };
    say(&format!("installing {}", packages.join(" ")));
    let apt = |arguments: &[&str]| {
        let mut command = as_root(root, "env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments);
        // A line of cargo's own tests must be the first thing on stdout.
        command.stdout(std::io::stderr()).stdin(Stdio::null());
        run(&mut command)
    };
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    // The lists may be absent or stale; when nothing changed, updating them is time lost.
    if apt(&arguments).is_err() {
        apt(&["update"])?;
        apt(&arguments)?;
    }
    Ok(())
}

/// Debian starts a server with these packages, and calls its service as the package. The tests want none on a fixed port,
/// and nobody asked for it.
const SERVICES: [&str; 3] = ["redis-server", "postgresql", "prometheus"];

fn stop_service(service: &str) {
    let Some(root) = root_prefix() else { return };
    if std::path::Path::new("/run/systemd/system").exists() {
        run(as_root(root, "systemctl").args(["disable", "--now", service])).ok();
    } else if on_path("service") {
        // Fails where the package did not start it.
        run(as_root(root, "service").args([service, "stop"]).stdout(Stdio::null()).stderr(Stdio::null())).ok();
    }
}

/// What makes a command run as root: nothing for root, else sudo when it asks for no password.
fn root_prefix() -> Option<&'static [&'static str]> {
    let sudo = || Command::new("sudo").args(["-n", "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if is_root() {
        Some(&[])
    } else if sudo() {
        Some(&["sudo", "-n"])
    } else {
        None
    }
}

fn as_root(prefix: &[&str], program: &str) -> Command {
    match prefix {
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
        [] => Command::new(program),
    }
}
