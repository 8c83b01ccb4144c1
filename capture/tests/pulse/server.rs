//! A sound server of a test's own, and a child process that listens to it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Generous: everything here takes a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    /// Before the home: its process ends before its folder goes.
    process: Process,
    home: TempDir,
}

/// Ends with what holds it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A recording that is being played.
pub(crate) struct Playing(Process);

impl Playing {
    pub(crate) fn ends(mut self) {
        assert!(self.0.0.wait().unwrap().success(), "paplay");
    }
}

impl Server {
    /// With these null sinks. None when PulseAudio is not installed, which is said aloud, or a fault where CI is true.
    pub(crate) fn start(sinks: &[&str]) -> Option<Self> {
        let missing = ["pulseaudio", "paplay", "pactl"].into_iter().find(|tool| {
            let asked = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            !asked.is_ok_and(|status| status.success())
        });
        if let Some(tool) = missing {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{tool} is not installed");
            eprintln!("SKIPPED: this test wants {tool} (packages pulseaudio and pulseaudio-utils)");
            return None;
        }
        let home = TempDir::new().unwrap();
        let server = Self { process: spawn(&home), home };
        server.is_up(sinks);
        Some(server)
    }

    /// Ends, as one that crashed does.
    pub(crate) fn stop(&mut self) {
        drop(self.process.0.kill());
        drop(self.process.0.wait());
        drop(fs::remove_file(socket(&self.home)));
    }

    /// Is there again.
    pub(crate) fn again(&mut self, sinks: &[&str]) {
        self.process = spawn(&self.home);
        self.is_up(sinks);
    }

    fn is_up(&self, sinks: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while !self.command("pactl").arg("info").stderr(Stdio::null()).output().unwrap().status.success() {
            assert!(Instant::now() < deadline, "PulseAudio: {:?}", fs::read_to_string(self.path("log")));
            thread::park_timeout(Duration::from_millis(50));
        }
        for sink in sinks {
            // Without `norewinds` a monitor gives its sound in lumps of two seconds.
            let name = format!("sink_name={sink}");
            self.load("module-null-sink", &[&name, "rate=48000", "channels=2", "norewinds=1"]);
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let home = self.home.path();
        command.envs([("HOME", home), ("XDG_RUNTIME_DIR", home)]);
        command.env("PULSE_SERVER", format!("unix:{}", socket(&self.home).display()));
        command
    }

    pub(crate) fn pactl(&self, arguments: &[&str]) -> String {
        let output = self.command("pactl").args(arguments).output().unwrap();
        assert!(output.status.success(), "pactl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Loads a module; its number.
    pub(crate) fn load(&self, module: &str, arguments: &[&str]) -> String {
        self.pactl(&[&["load-module", module], arguments].concat())
    }

    pub(crate) fn unload_sink(&self, sink: &str) {
        let modules = self.pactl(&["list", "short", "modules"]);
        let of_sink = format!("sink_name={sink} ");
        let line = modules.lines().find(|line| format!("{line} ").contains(&of_sink)).unwrap();
        self.pactl(&["unload-module", line.split('\t').next().unwrap()]);
    }

    pub(crate) fn play(&self, sink: &str, file: &str) -> Playing {
        let mut command = self.command("paplay");
        Playing(Process(command.args(["--latency-msec=1000", "-d", sink]).arg(self.path(file)).spawn().unwrap()))
    }

    pub(crate) fn devices(&self) -> Vec<String> {
        Ear::new(self.child("list")).finish()
    }

    /// Listens, into `heard.wav`, until it is told to finish.
    pub(crate) fn listen(&self, kind: &str, id: Option<&str>) -> Ear {
        self.listen_as("heard.wav", kind, id)
    }

    pub(crate) fn listen_as(&self, file: &str, kind: &str, id: Option<&str>) -> Ear {
        let told = format!("{kind} 0 {} {}", self.path(file).display(), id.unwrap_or_default());
        let mut ear = Ear::new(self.child(told.trim()));
        ear.until(r#""opened":true"#);
        ear
    }

    /// What the child says when it cannot do as it is told.
    pub(crate) fn refused(&self, kind: &str, id: Option<&str>) -> String {
        let told = format!("{kind} 1 {} {}", self.path("never.wav").display(), id.unwrap_or_default());
        let output = self.child(told.trim()).stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    fn child(&self, told: &str) -> Command {
        let mut command = self.command(&std::env::current_exe().unwrap().display().to_string());
        command.args(["child", "--exact", "--ignored", "--nocapture"]).env(super::TOLD, told);
        command
    }
}

fn spawn(home: &TempDir) -> Process {
    let native = format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket(home).display());
    let mut command = Command::new("pulseaudio");
    command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--log-target=stderr", "-L", &native]);
    let at_home = [("HOME", home.path()), ("XDG_RUNTIME_DIR", home.path()), ("PULSE_RUNTIME_PATH", home.path())];
    command.envs(at_home).stdout(Stdio::null()).stderr(fs::File::create(home.path().join("log")).unwrap());
    Process(command.spawn().unwrap())
}

fn socket(home: &TempDir) -> PathBuf {
    home.path().join("pulse.socket")
}

/// A child that listens, and what it has said.
pub(crate) struct Ear {
    process: Process,
    said: Receiver<String>,
    lines: Vec<String>,
}

impl Ear {
    fn new(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        // More lines than any test waits for.
        let (say, said) = sync_channel(1000);
        thread::spawn(move || {
            // Between the lines of the child, its test harness has a word of its own.
            let lines = out.lines().map_while(Result::ok);
            lines.filter_map(|line| Some(line[line.find('{')?..].to_owned())).try_for_each(|line| say.send(line))
        });
        Self { process: Process(child), said, lines: Vec::new() }
    }

    /// Waits until it says a line with `text` in it.
    pub(crate) fn until(&mut self, text: &str) {
        self.until_it(|line| line.contains(text), text);
    }

    /// Waits until it has heard so many more seconds from now on; a begun one counts.
    pub(crate) fn seconds(&mut self, more: usize) {
        self.lines.extend(self.said.try_iter());
        (0..more).for_each(|_| self.until(r#""samples":"#));
    }

    /// Waits until it hears something, from now on.
    pub(crate) fn until_loud(&mut self) {
        self.until_it(|line| peak(line).is_some_and(|peak| peak > 0.2), "something loud");
    }

    fn until_it(&mut self, is_it: impl Fn(&str) -> bool, what: &str) {
        loop {
            let line = self.said.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("waited for {what}, heard {:#?}", self.lines));
            self.lines.push(line);
            if self.lines.last().is_some_and(|line| is_it(line)) {
                return;
            }
        }
    }

    /// Stops it where it is, for as long.
    pub(crate) fn sleeps(&self, time: Duration) {
        self.signal("STOP");
        thread::park_timeout(time);
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Lets it end; all that it said.
    pub(crate) fn finish(mut self) -> Vec<String> {
        drop(self.process.0.stdin.take());
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            self.lines.push(line);
        }
        assert!(self.process.0.wait().unwrap().success(), "{:#?}", self.lines);
        self.lines
    }
}

/// The number `name` of a line of JSON.
pub(crate) fn number(line: &str, name: &str) -> Option<f64> {
    let after = line.split(&format!("\"{name}\":")).nth(1)?;
    after.split([',', '}']).next()?.parse().ok()
}

pub(crate) fn peak(line: &str) -> Option<f64> {
    number(line, "peak")
}

/// All the time there was a frame for every 50 ms. The limit is wide, for a line is written late on a busy machine.
#[track_caller]
pub(crate) fn assert_paced(lines: &[String]) {
    let paces = lines.iter().filter_map(|line| Some((number(line, "samples")? / 16.0, number(line, "at_ms")?)));
    for (sound, at) in paces {
        assert!((sound - at).abs() < 1_500.0, "{sound} ms of sound after {at} ms: {lines:#?}");
    }
}
