//! An open device: the system's callback writes mono into a ring.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use cpal::{
    BufferSize, ErrorKind, FromSample, I24, SampleFormat, SizedSample, Stream, StreamConfig, U24,
    traits::{DeviceTrait as _, StreamTrait as _},
};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::{
    CaptureError, Device, Kind,
    devices::{self, Found},
    mix, resample,
};

/// Seconds that the ring holds. When it is full, sound is dropped; the pace finds out and says so.
const RING_SECONDS: u32 = 4;
/// Block that a Pulse server is asked for. It spends half of it in the device and half in its queue for us, so sound comes
/// every 60 ms. Unasked it collects 2 s (`DEFAULT_FRAGSIZE_MSEC` of PulseAudio's protocol-native.c).
const PULSE_BLOCK: Duration = Duration::from_millis(120);
/// For the system to open a device.
const OPENING: Duration = Duration::from_secs(3);

/// What the pump has of it. The device is closed when this is dropped.
pub(crate) struct Opened {
    pub(crate) device: Device,
    /// Samples per second in the ring.
    pub(crate) rate: u32,
    pub(crate) ring: Consumer<f32>,
    failed: Arc<AtomicBool>,
    _stream: Arc<Stream>,
}

impl Opened {
    /// Whether the system said that nothing more will come.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("device", &self.device).field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// Opens the device `id`; `pump` is woken when sound has come.
pub(crate) fn open(kind: Kind, id: &str, pump: Thread) -> Result<Opened, CaptureError> {
    let found = devices::find(kind, id)?;
    let fault = |error: cpal::Error| match error.kind() {
        ErrorKind::PermissionDenied => CaptureError::Denied(found.device.name.clone()),
        ErrorKind::DeviceNotAvailable => devices::missing(kind),
        _ => CaptureError::Open { device: found.device.name.clone(), reason: error.to_string() },
    };
    let (config, format) = config(&found).map_err(fault)?;
    if !resample::RATES.contains(&config.sample_rate) {
        let reason = format!("it runs at {} Hz, and 8000 to 192000 Hz can be converted", config.sample_rate);
        return Err(CaptureError::Open { device: found.device.name, reason });
    }
    let rate = config.sample_rate;
    let (writer, ring) = RingBuffer::new((rate * RING_SECONDS) as usize);
    let failed = Arc::new(AtomicBool::new(false));
    let writer = Writer { ring: writer, channels: config.channels.into(), pump: pump.clone() };
    let stopped = stopper(Arc::clone(&failed), pump.clone());
    let stream = Arc::new(build(&found, config, format, writer, stopped).map_err(fault)?);
    play(&stream, Arc::clone(&failed), pump).map_err(CaptureError::Thread)?;
    Ok(Opened { device: found.device, rate, ring, failed, _stream: stream })
}

/// As the device is, but with as few conversions and as short blocks as a Pulse server may be asked for.
fn config(found: &Found) -> Result<(StreamConfig, SampleFormat), cpal::Error> {
    let handle = &found.handle;
    // What an output plays comes in the format of the output.
    let native = if handle.supports_input() { handle.default_input_config() } else { handle.default_output_config() }?;
    let mut config = native.config();
    if !found.is_pulse {
        return Ok((config, native.sample_format()));
    }
    let block = u128::from(config.sample_rate) * PULSE_BLOCK.as_millis() / 1000;
    config.buffer_size = BufferSize::Fixed(u32::try_from(block).unwrap_or(u32::MAX).max(1));
    Ok((config, SampleFormat::F32))
}

/// The callback's end of the ring.
struct Writer {
    ring: Producer<f32>,
    channels: usize,
    pump: Thread,
}

impl Writer {
    /// Called by the system, often on a thread with a deadline: no lock, no allocation.
    fn write<T: Copy>(&mut self, samples: &[T])
    where
        f32: FromSample<T>,
    {
        let room = (samples.len() / self.channels.max(1)).min(self.ring.slots());
        if let Ok(chunk) = self.ring.write_chunk_uninit(room) {
            chunk.fill_from_iter(mix::mono(samples, self.channels));
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
    found: &Found,
    config: StreamConfig,
    format: SampleFormat,
    writer: Writer,
    stopped: impl FnMut(cpal::Error) + Send + 'static,
) -> Result<Stream, cpal::Error> {
    match format {
        SampleFormat::F32 => of::<f32>(found, config, writer, stopped),
        SampleFormat::F64 => of::<f64>(found, config, writer, stopped),
        SampleFormat::I8 => of::<i8>(found, config, writer, stopped),
        SampleFormat::I16 => of::<i16>(found, config, writer, stopped),
        SampleFormat::I24 => of::<I24>(found, config, writer, stopped),
        SampleFormat::I32 => of::<i32>(found, config, writer, stopped),
        SampleFormat::U8 => of::<u8>(found, config, writer, stopped),
        SampleFormat::U16 => of::<u16>(found, config, writer, stopped),
        SampleFormat::U24 => of::<U24>(found, config, writer, stopped),
        SampleFormat::U32 => of::<u32>(found, config, writer, stopped),
        other => {
            let why = format!("its samples are of the unknown format {other}");
            Err(cpal::Error::with_message(ErrorKind::UnsupportedConfig, why))
        }
    }
}

fn of<T: SizedSample>(
    found: &Found,
    config: StreamConfig,
    mut writer: Writer,
    stopped: impl FnMut(cpal::Error) + Send + 'static,
) -> Result<Stream, cpal::Error>
where
    f32: FromSample<T>,
{
    let heard = move |samples: &[T], _: &cpal::InputCallbackInfo| writer.write(samples);
    found.handle.build_input_stream(config, heard, stopped, Some(OPENING))
}

/// Starts the stream on a thread of its own: with a Pulse server, cpal waits there for the first sound, which a suspended
/// device may never give.
fn play(stream: &Arc<Stream>, failed: Arc<AtomicBool>, pump: Thread) -> std::io::Result<()> {
    let stream = Arc::clone(stream);
    let start = move || {
        if let Err(error) = stream.play() {
            stopper(failed, pump)(error);
        }
    };
    thread::Builder::new().name("sound-start".to_owned()).spawn(start).map(drop)
}
