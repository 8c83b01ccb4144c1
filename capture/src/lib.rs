//! Sound of this machine, as what a session sends: 16 kHz mono s16, at the pace of the clock on the wall.
//!
//! What each system needs:
//!
//! | system | microphone | what the machine plays |
//! | --- | --- | --- |
//! | Linux | PulseAudio, or PipeWire with its Pulse server; without either, ALSA | the monitor of a sink, of the same servers; nothing with ALSA alone |
//! | Windows | nothing; the privacy settings may forbid microphones to desktop programs | nothing: WASAPI loopback, which gives no sound at all while nothing plays |
//! | macOS 14.6 or newer | the permission "Microphone" (`NSMicrophoneUsageDescription`) | the permission "System Audio Recording" (`NSAudioCaptureUsageDescription`), for a Core Audio tap |
//!
//! Windows, macOS and ALSA are reached through cpal; a Pulse server is spoken to directly (see `pulse`). An output of macOS
//! that has a microphone of its own, as a headset may, cannot be tapped through cpal and is not offered. To build it, Linux
//! needs the headers of ALSA (`libasound2-dev`) and `pkg-config`; others need nothing.
//!
//! How sound flows: the system's callback mixes to mono and writes into a ring, without lock or allocation; a thread of
//! ours reads the ring, keeps the pace (`pace`), converts (`resample`) and hands out frames of 50 ms (`outlet`). A second
//! thread looks at the devices again and again, and the first one follows what it sees (`pump`).
//!
//! The pace: devices run up to some hundred millionths fast or slow, and more where they are made of software. The rate
//! of each is measured against [`std::time::Instant`] and taken out by the resampler, so that sample `n` was heard
//! `n / 16000` s after the first, give or take 20 ms, for hours. What a device does not deliver is silence in its place; but
//! where more than 5 s are missing at once, because the machine slept or this program was stopped, they are told and left
//! out, and time goes on from there.

mod devices;
mod flow;
mod mix;
mod outlet;
mod pace;
#[cfg(target_os = "linux")]
mod pulse;
mod pump;
mod resample;
mod stream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use tokio::sync::mpsc;

pub use devices::devices;

/// Samples per second of every [`Frame`].
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples of a [`Frame`]: 50 ms.
pub const FRAME_SAMPLES: usize = SAMPLE_RATE as usize / 20;
/// Frames and news the listener has not taken yet: 3 s. While it is full, sound is dropped; the listener is told how much,
/// and given silence in its place, once there is room.
pub const HEARD: usize = 64;

/// What gives the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Somebody at this machine.
    Microphone,
    /// What this machine plays.
    System,
}

/// Something that gives sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Names it among those of its kind for as long as it is plugged in, also after a restart of the program.
    pub id: String,
    /// As the system calls it.
    pub name: String,
    /// What it gives.
    pub kind: Kind,
    /// Whether the system would choose it.
    pub is_default: bool,
}

/// A piece of sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// 16 kHz mono, [`FRAME_SAMPLES`] long.
    pub pcm: Vec<i16>,
    /// Loudest sample, 0 to 1.
    pub peak: f32,
}

/// What comes of a capture.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Sound.
    Frame(Frame),
    /// The device went away, or another became the default, and this one gives the sound now.
    Moved(Device),
    /// Sound that the machine could not deliver. As much silence was put in its place, but for a piece of more than 5 s at
    /// once, for which nothing stands: the machine slept, or this program was stopped. That nothing plays is no loss.
    Lost(Duration),
    /// No device is left; silence goes on, and sound when one comes.
    Waiting,
}

/// An open device; closed when dropped, or when nobody listens any more.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

/// What can go wrong with sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Nothing to listen to.
    #[error("no device for this: {0}")]
    Missing(String),
    /// The system does not say what there is.
    #[error("the system does not tell its sound devices ({0}); see that its sound works, then try again")]
    List(String),
    /// The device is there, but gives nothing.
    #[error("{device} could not be opened ({reason}); see that no other program holds it, or choose another")]
    Open {
        /// As the system calls it.
        device: String,
        /// What the system says.
        reason: String,
    },
    /// The system's settings forbid it.
    #[error("this program may not listen to {0}; allow it in the system's privacy settings, then try again")]
    Denied(String),
    /// The machine gives no more threads.
    #[error("no thread for the sound could be started: {0}")]
    Thread(#[source] std::io::Error),
}

impl Capture {
    /// Opens the device `id`, or the default of its kind, which is then followed when another becomes it. A fault at the
    /// start is an error; later ones are mended, and told. While a device chosen by `id` is away, the default is its stand-in.
    ///
    /// Blocks until the device is open: some 10 ms, and 5 s at worst.
    ///
    /// # Errors
    /// When there is no such device, or it cannot be opened.
    pub fn open(kind: Kind, id: Option<&str>) -> Result<(Self, mpsc::Receiver<Heard>), CaptureError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (thread, heard) = pump::start(pump::Wish { kind, id: id.map(str::to_owned) }, Arc::clone(&stop))?;
        Ok((Self { stop, thread }, heard))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}
