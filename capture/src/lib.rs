//! Sound of this machine, as what a session sends: 16 kHz mono s16, at the pace of the clock on the wall.

use std::time::Duration;

use tokio::sync::mpsc;

/// Frames and news the listener has not taken yet; older audio is dropped, and told, when it is full.
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
    /// Names it for as long as it is plugged in, also after a restart of the program.
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
    /// 16 kHz mono, about 50 ms.
    pub pcm: Vec<i16>,
    /// Loudest sample, 0 to 1.
    pub peak: f32,
}

/// What comes of a capture.
#[derive(Debug)]
pub enum Heard {
    /// Sound.
    Frame(Frame),
    /// The device went away, or another became the default, and this one gives the sound now.
    Moved(Device),
    /// Sound that the machine could not deliver; as much silence was put in its place.
    Lost(Duration),
    /// No device is left; the capture goes on by itself when one comes.
    Waiting,
}

/// An open device; closed when dropped.
#[derive(Debug)]
pub struct Capture {}

/// What can go wrong with sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Nothing to listen to.
    #[error("no device for this: {0}")]
    Missing(String),
}

/// What there is to listen to, the default of each kind first.
///
/// # Errors
/// When the system does not tell.
pub fn devices() -> Result<Vec<Device>, CaptureError> {
    Ok(Vec::new())
}

impl Capture {
    /// Opens the device `id`, or the default of its kind. A fault at the start is an error; later ones are mended, and told.
    ///
    /// # Errors
    /// When there is no such device, or it cannot be opened.
    pub fn open(kind: Kind, id: Option<&str>) -> Result<(Self, mpsc::Receiver<Heard>), CaptureError> {
        let _ = (kind, id);
        Err(CaptureError::Missing("not yet".to_owned()))
    }
}
