//! PulseAudio of a desk's own: sinks that are heard through their monitors alone.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use super::Desk;

/// Generous: it starts within a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Desk {
    /// Starts the sound server, with a sink called `speakers`, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn sound(&mut self) {
        let socket = self.home.path().join("run/sound").display().to_string();
        let native = format!("module-native-protocol-unix auth-anonymous=1 socket={socket}");
        // Without `norewinds` a monitor gives its sound in lumps of two seconds.
        let sink = "module-null-sink sink_name=speakers rate=48000 channels=2 norewinds=1";
        self.start("pulseaudio", &["-n", "--daemonize=no", "--exit-idle-time=-1", "-L", &native, "-L", sink]);
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.command("pactl").arg("info").output().await.is_ok_and(|output| output.status.success()) {
            assert!(Instant::now() < deadline, "PulseAudio does not answer");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Plays a recording, as a call in another program would; ends when it is over.
    ///
    /// # Panics
    /// When it cannot be played.
    #[must_use]
    pub fn play(&self, recording: &Path) -> Child {
        let mut command = self.command("paplay");
        command.args(["-d", "speakers"]).arg(recording).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap_or_else(|error| panic!("paplay: {error}"))
    }
}
