//! An open device: the system's callback writes mono into a ring.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use cpal::{
    ErrorKind, FromSample, I24, SampleFormat, SizedSample, Stream, SupportedStreamConfig, U24,
    traits::{DeviceTrait as _, StreamTrait as _},
};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::{
    CaptureError, Kind,
    devices::{self, Handle, Seen},
    mix, resample,
};

/// Seconds that the ring holds. When it is full, sound is dropped; the pace finds out and says so.
const RING_SECONDS: u32 = 4;
/// For the system to open a device.
const OPENING: Duration = Duration::from_secs(3);

/// What the pump has of it. The device is closed when this is dropped.
pub(crate) struct Opened {
    pub(crate) seen: Seen,
    /// Samples per second in the ring.
    pub(crate) rate: u32,
    pub(crate) ring: Consumer<f32>,
    failed: Arc<AtomicBool>,
    stream: Open,
}

/// What keeps it open.
#[expect(dead_code, reason = "kept until it is dropped")]
enum Open {
    Plain(Stream),
    #[cfg(target_os = "linux")]
    Pulse(pulseaudio::RecordStream),
}

impl Opened {
    /// Whether the system said that nothing more will come.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether it is a server's, that says nothing when it goes.
    pub(crate) fn is_of_server(&self) -> bool {
        !matches!(self.stream, Open::Plain(_))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("seen", &self.seen).field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// Opens the device `id`; `pump` is woken when sound has come.
pub(crate) fn open(kind: Kind, id: &str, pump: Thread) -> Result<Opened, CaptureError> {
    let found = devices::find(kind, id)?;
    let name = || found.device.name.clone();
    let failed = Arc::new(AtomicBool::new(false));
    let (rate, ring, stream) = match &found.handle {
        Handle::Plain(device) => {
            let fault = |error: cpal::Error| match error.kind() {
                ErrorKind::PermissionDenied => CaptureError::Denied(name()),
                ErrorKind::DeviceNotAvailable => devices::missing(kind),
                _ => CaptureError::Open { device: name(), reason: error.to_string() },
            };
            // What an output plays comes in the format of the output.
            let native =
                if device.supports_input() { device.default_input_config() } else { device.default_output_config() };
            let native = native.map_err(fault)?;
            let (writer, ring) = ring(native.sample_rate(), native.channels().into(), pump.clone(), name)?;
            let stream = build(device, native, writer, stopper(Arc::clone(&failed), pump)).map_err(fault)?;
            stream.play().map_err(fault)?;
            (native.sample_rate(), ring, Open::Plain(stream))
        }
        #[cfg(target_os = "linux")]
        Handle::Pulse(source) => {
            let (rate, channels) = source.format();
            let (writer, ring) = ring(rate, channels, pump, name)?;
            let stream = source.open(writer);
            let stream = stream.map_err(|reason| CaptureError::Open { device: name(), reason })?;
            (rate, ring, Open::Pulse(stream))
        }
    };
    Ok(Opened { seen: found.seen(), rate, ring, failed, stream })
}

fn ring(
    rate: u32,
    channels: usize,
    pump: Thread,
    name: impl FnOnce() -> String,
) -> Result<(Writer, Consumer<f32>), CaptureError> {
    if !resample::RATES.contains(&rate) {
        let reason = format!("it runs at {rate} Hz, and 8000 to 192000 Hz can be converted");
        return Err(CaptureError::Open { device: name(), reason });
    }
    let (ring, consumer) = RingBuffer::new((rate * RING_SECONDS) as usize);
    Ok((Writer { ring, channels, pump }, consumer))
}

/// The callback's end of the ring.
pub(crate) struct Writer {
    ring: Producer<f32>,
    channels: usize,
    pump: Thread,
}

impl Writer {
    fn write<T: Copy>(&mut self, samples: &[T])
    where
        f32: FromSample<T>,
    {
        self.put(samples.len() / self.channels.max(1), mix::mono(samples, self.channels));
    }

    /// Called by the system, often on a thread with a deadline: no lock, no allocation.
    pub(crate) fn put(&mut self, samples: usize, sound: impl Iterator<Item = f32>) {
        if let Ok(chunk) = self.ring.write_chunk_uninit(samples.min(self.ring.slots())) {
            chunk.fill_from_iter(sound);
        }
        self.pump.unpark();
    }
}

fn stopper(failed: Arc<AtomicBool>, pump: Thread) -> impl FnMut(cpal::Error) + Send + 'static {
    move |error| match error.kind() {
        // Sound goes on after these.
        ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied | ErrorKind::Xrun => {
            tracing::debug!(%error, "from an open sound device");
        }
        _ => {
            tracing::info!(%error, "a sound device stopped");
            failed.store(true, Ordering::Relaxed);
            pump.unpark();
        }
    }
}

fn build(
    device: &cpal::Device,
    native: SupportedStreamConfig,
    writer: Writer,
    stopped: impl FnMut(cpal::Error) + Send + 'static,
) -> Result<Stream, cpal::Error> {
    match native.sample_format() {
        SampleFormat::F32 => of::<f32>(device, native, writer, stopped),
        SampleFormat::F64 => of::<f64>(device, native, writer, stopped),
        SampleFormat::I8 => of::<i8>(device, native, writer, stopped),
        SampleFormat::I16 => of::<i16>(device, native, writer, stopped),
        SampleFormat::I24 => of::<I24>(device, native, writer, stopped),
        SampleFormat::I32 => of::<i32>(device, native, writer, stopped),
        SampleFormat::U8 => of::<u8>(device, native, writer, stopped),
        SampleFormat::U16 => of::<u16>(device, native, writer, stopped),
        SampleFormat::U24 => of::<U24>(device, native, writer, stopped),
        SampleFormat::U32 => of::<u32>(device, native, writer, stopped),
        other => {
            let why = format!("its samples are of the unknown format {other}");
            Err(cpal::Error::with_message(ErrorKind::UnsupportedConfig, why))
        }
    }
}

fn of<T: SizedSample>(
    device: &cpal::Device,
    native: SupportedStreamConfig,
    mut writer: Writer,
    stopped: impl FnMut(cpal::Error) + Send + 'static,
) -> Result<Stream, cpal::Error>
where
    f32: FromSample<T>,
{
    let heard = move |samples: &[T], _: &cpal::InputCallbackInfo| writer.write(samples);
    device.build_input_stream(native.config(), heard, stopped, Some(OPENING))
}
