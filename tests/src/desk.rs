//! A desk to put a desktop client on: a screen without a monitor, with windows that may be transparent, a sound card that is
//! none, a keychain, and a hand that presses its buttons.
//!
//! - [`Desk`]: Xvfb, a window manager (openbox), a compositor (picom), a session bus; on X11
//! - [`sound`]: PulseAudio with sinks that lead nowhere but to their monitors
//! - [`driver`]: WebDriver (W3C) to the client's pages, through WebKit's own
//! - [`window`]: what the window manager knows of a window

pub mod driver;
pub mod sound;
pub mod window;

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Generous: each of the programs starts within a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What has to be on the `PATH`, and Debian's packages that bring it.
const PROGRAMS: [(&str, &str); 14] = [
    ("xdotool", "xdotool"),
    ("dbus-send", "dbus"),
    ("convert", "imagemagick"),
    ("Xvfb", "xvfb"),
    ("openbox", "openbox"),
    ("picom", "picom"),
    ("hsetroot", "hsetroot"),
    ("dbus-daemon", "dbus"),
    ("gnome-keyring-daemon", "gnome-keyring"),
    ("pulseaudio", "pulseaudio"),
    ("paplay", "pulseaudio-utils"),
    ("WebKitWebDriver", "webkit2gtk-driver"),
    ("import", "imagemagick"),
    ("xprop", "x11-utils"),
];

/// Everything a desktop client finds around it; ends when dropped.
#[derive(Debug)]
pub struct Desk {
    /// Home, configuration, run-time files: nothing of the tester's own.
    pub home: TempDir,
    display: String,
    bus: String,
    running: Vec<Child>,
}

impl Desk {
    /// Sets one up. `None`, said aloud, where a program is missing; with `CI=true` none may be.
    ///
    /// # Panics
    /// When something does not start, or may not be skipped.
    pub async fn spawn() -> Option<Self> {
        let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !on_path(program)).collect();
        if !missing.is_empty() {
            let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
            let how = format!("apt-get install {}", packages.join(" "));
            assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "the desktop client's tests: {how}");
            eprintln!("SKIPPED: this test wants a screen of its own: {how}");
            return None;
        }
        let home = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        for directory in ["run", "config", "data", "cache", "bin"] {
            std::fs::create_dir(home.path().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
        }
        private(&home.path().join("run"));
        let mut desk = Self { home, display: String::new(), bus: String::new(), running: Vec::new() };
        desk.display = desk.screen().await;
        desk.bus = desk.session_bus().await;
        desk.start("openbox", &[]);
        // Shadows and fading would be in the pictures.
        desk.start("picom", &["--backend", "xrender", "--config", "/dev/null"]);
        Some(desk)
    }

    /// A program with this desk around it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = env::var("PATH").unwrap_or_default();
        command.env_clear().kill_on_drop(true).stdin(Stdio::null()).envs(self.environment());
        command.env("PATH", format!("{}:{path}", self.home.path().join("bin").display()));
        command
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let at = |directory: &str| self.home.path().join(directory).display().to_string();
        vec![
            ("HOME", self.home.path().display().to_string()),
            ("XDG_RUNTIME_DIR", at("run")),
            ("XDG_CONFIG_HOME", at("config")),
            ("XDG_DATA_HOME", at("data")),
            ("XDG_CACHE_HOME", at("cache")),
            ("DISPLAY", self.display.clone()),
            ("DBUS_SESSION_BUS_ADDRESS", self.bus.clone()),
            ("PULSE_SERVER", format!("unix:{}", self.home.path().join("run/sound").display())),
            ("GDK_BACKEND", "x11".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            // No portal, no accessibility bus: neither is there to answer.
            ("NO_AT_BRIDGE", "1".to_owned()),
            ("GTK_USE_PORTAL", "0".to_owned()),
        ]
    }

    /// Starts a program that lasts as long as the desk.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        self.running.push(child);
    }

    /// A program that takes the place of the system's, such as the browser that `xdg-open` opens.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn stand_in(&self, program: &str, script: &str) {
        let file = self.home.path().join("bin").join(program);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap_or_else(|error| panic!("{program}: {error}"));
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap_or_else(|error| panic!("{program}: {error}"));
    }

    /// A keychain that is unlocked, as after somebody logged in.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn keychain(&mut self) {
        let mut command = self.command("gnome-keyring-daemon");
        command.args(["--foreground", "--unlock", "--components=secrets"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("gnome-keyring-daemon: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"a password of a test").await.unwrap_or_else(|error| panic!("the keychain: {error}"));
        }
        self.running.push(child);
        let list = ["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.ListNames"];
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.run("dbus-send", &list).await.contains("org.freedesktop.secrets") {
            assert!(Instant::now() < deadline, "the keychain is not there");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stripes behind all windows, so that what is transparent can be seen to be.
    ///
    /// # Panics
    /// When they cannot be drawn.
    pub async fn stripes(&self) {
        let picture = self.home.path().join("stripes.png");
        let (picture, size) = (picture.display().to_string(), format!("{}x{}", SCREEN.0, SCREEN.1));
        self.run("convert", &["-size", &size, "pattern:checkerboard", "-scale", "400%", "-crop", &size, &picture])
            .await;
        let first = self.home.path().join("stripes-0.png");
        let made = if first.is_file() { first.display().to_string() } else { picture };
        self.run("hsetroot", &["-fill", &made]).await;
    }

    /// All of the screen as a PNG.
    ///
    /// # Panics
    /// When it cannot be taken.
    pub async fn picture(&self, file: &Path) {
        self.run("import", &["-window", "root", &file.display().to_string()]).await;
    }

    /// Runs a program to its end, and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = timeout(START_TIMEOUT, self.command(program).args(arguments).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{program} {arguments:?} does not end"));
        let output = output.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {} {said}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn screen(&mut self) -> String {
        let mut command = self.command("Xvfb");
        let size = format!("{}x{}x24", SCREEN.0, SCREEN.1);
        command.args(["-displayfd", "1", "-screen", "0", &size, "-nolisten", "tcp", "+extension", "Composite"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("Xvfb: {error}"));
        let stdout = child.stdout.take();
        let number = first_line(stdout, "Xvfb").await;
        self.running.push(child);
        format!(":{number}")
    }

    async fn session_bus(&mut self) -> String {
        let mut command = self.command("dbus-daemon");
        command.args(["--session", "--nofork", "--print-address=1"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("dbus-daemon: {error}"));
        let stdout = child.stdout.take();
        let address = first_line(stdout, "dbus-daemon").await;
        self.running.push(child);
        address
    }
}

/// Width and height of the screen, in pixels.
pub const SCREEN: (u32, u32) = (1600, 1000);

async fn first_line(output: Option<impl AsyncRead + Unpin>, program: &str) -> String {
    let Some(output) = output else { panic!("{program} has no output") };
    let mut lines = BufReader::new(output).lines();
    let line = timeout(START_TIMEOUT, lines.next_line()).await.unwrap_or_else(|_| panic!("{program} does not start"));
    line.ok().flatten().unwrap_or_else(|| panic!("{program} ended at once"))
}

/// Processes of the desktop client whose home is `home`: its own and those of its pages, as directories of `/proc`.
#[must_use]
pub fn processes(home: &Path) -> Vec<PathBuf> {
    let home = home.display().to_string();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|process| process.path());
    all.filter(|process| {
        let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        let ours = name.starts_with("subtide-desktop") || (name.starts_with("WebKit") && !name.contains("Driver"));
        ours && std::fs::read(process.join("environ")).is_ok_and(|all| String::from_utf8_lossy(&all).contains(&home))
    })
    .collect()
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(program)).any(|file: PathBuf| file.is_file())
}

fn private(directory: &Path) {
    std::fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}
