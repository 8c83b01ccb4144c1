//! PulseAudio, and PipeWire in its place, spoken to without cpal between: a stream has to be bound to its source, or the
//! server moves it to another one without a word - what listened to a speaker that is unplugged would hear the microphone -
//! and has to have a queue longer than one block, or sound is lost whenever the server is held up.

use std::{
    fs,
    os::unix::net::UnixStream,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, mpsc::sync_channel},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use pulseaudio::{
    Client, ClientError, RecordStream,
    protocol::{Prop, Props, RecordStreamParams, SampleFormat, SampleSpec, SourceInfo, stream},
};

use crate::{Device, Kind, mix, stream::Writer};

/// Name that the system's mixer shows.
const NAME: &std::ffi::CStr = c"Subtide";
/// Block that is asked for. The server spends half of it in the device and half in its queue for us, so sound comes every
/// 60 ms. Unasked it collects 2 s (`DEFAULT_FRAGSIZE_MSEC` of PulseAudio's protocol-native.c).
const BLOCK_MS: u32 = 120;
/// `NATIVE_COOKIE_LENGTH` of PulseAudio's pulsecore/native-common.h.
const COOKIE_BYTES: usize = 256;
/// For a server to be reached, and for it to answer.
const REACHING: Duration = Duration::from_secs(2);
const ANSWERING: Duration = Duration::from_secs(5);

/// The server, once it was reached. One client for the whole program: it keeps its connection and its thread until the server
/// goes, so one for each look would be as many connections as looks, of the 64 that a server gives.
static SERVER: Mutex<Server> = Mutex::new(Server { client: None, seen: false });

struct Server {
    client: Option<Client>,
    seen: bool,
}

/// Whether there ever was a server. Then ALSA is no way around it: what ALSA holds, a server that comes back cannot have.
pub(crate) fn was_seen() -> bool {
    SERVER.lock().unwrap_or_else(PoisonError::into_inner).seen
}

/// A source of the server's.
pub(crate) struct Source {
    client: Client,
    info: SourceInfo,
}

impl Source {
    /// Of this one; another of the same name has another.
    pub(crate) fn serial(&self) -> u32 {
        self.info.index
    }

    /// Samples per second, and channels.
    pub(crate) fn format(&self) -> (u32, usize) {
        (self.info.sample_spec.sample_rate, self.info.channel_map.num_channels().into())
    }

    /// Starts to listen, until what is returned is dropped.
    pub(crate) fn open(&self, mut writer: Writer) -> Result<RecordStream, String> {
        let (rate, channels) = self.format();
        let spec = SampleSpec {
            format: SampleFormat::Float32Le,
            channels: self.info.channel_map.num_channels(),
            sample_rate: rate,
        };
        let frame = u32::try_from(channels * size_of::<f32>()).unwrap_or(u32::MAX);
        let fragment_size = (rate * BLOCK_MS / 1000).saturating_mul(frame);
        let mut props = Props::new();
        props.set(Prop::MediaName, NAME);
        let params = RecordStreamParams {
            sample_spec: spec,
            channel_map: self.info.channel_map,
            source_index: Some(self.info.index),
            buffer_attr: stream::BufferAttr { fragment_size, ..Default::default() },
            flags: stream::StreamFlags {
                no_move: true,
                adjust_latency: true,
                // A sink that nothing plays to may sleep, though it is listened to.
                no_inhibit_auto_suspend: self.info.monitor_of_sink_index.is_some(),
                ..Default::default()
            },
            props,
            ..Default::default()
        };
        let heard = move |bytes: &[u8]| writer.put(bytes.len() / frame as usize, mix::mono_of_bytes(bytes, channels));
        wait(self.client.create_record_stream(params, heard))
    }
}

/// What the server has to listen to; none when there is no server.
pub(crate) fn sources() -> Result<Option<Vec<(Device, Source)>>, String> {
    let client = match client() {
        Ok(client) => client,
        Err(error) if was_seen() => return Err(error),
        Err(_) => return Ok(None),
    };
    let listed = wait(client.server_info()).and_then(|server| Ok((server, wait(client.list_sources())?)));
    let (server, sources) = listed.inspect_err(|_| {
        // The next look reaches out to it anew.
        SERVER.lock().unwrap_or_else(PoisonError::into_inner).client = None;
    })?;
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let of = |info: SourceInfo| {
        let is_monitor = info.monitor_of_sink_index.is_some();
        let is_default = match is_monitor {
            true => info.monitor_of_sink_name.is_some() && info.monitor_of_sink_name == server.default_sink_name,
            false => server.default_source_name.as_ref() == Some(&info.name),
        };
        let device = Device {
            id: format!("pulseaudio:{}", text(&info.name)),
            name: text(info.description.as_ref().unwrap_or(&info.name)),
            kind: if is_monitor { Kind::System } else { Kind::Microphone },
            is_default,
        };
        (device, Source { client: client.clone(), info })
    };
    Ok(Some(sources.into_iter().map(of).collect()))
}

fn client() -> Result<Client, String> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = &server.client {
        return Ok(client.clone());
    }
    // The client has no deadline for the greetings of its own.
    let (done, reached) = sync_channel(1);
    let reach = move || drop(done.send(greet()));
    thread::Builder::new().name("sound-reach".to_owned()).spawn(reach).map_err(|error| error.to_string())?;
    let client = reached.recv_timeout(REACHING).map_err(|_| "the sound server does not answer".to_owned())?;
    let client = client.map_err(said)?;
    *server = Server { client: Some(client.clone()), seen: true };
    Ok(client)
}

/// As `Client::from_env`, but never with an empty cookie: a server that lets this user in without one still drops who sends
/// fewer bytes than one has, and the client would wait for its answer for ever.
fn greet() -> Result<Client, ClientError> {
    let path = pulseaudio::socket_path_from_env().ok_or(ClientError::ServerUnavailable)?;
    let cookie = pulseaudio::cookie_path_from_env().and_then(|path| fs::read(path).ok());
    let cookie = cookie.unwrap_or_else(|| vec![0; COOKIE_BYTES]);
    Client::new_unix(NAME, UnixStream::connect(path)?, Some(cookie))
}

struct Waiting(Thread);

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer of the server's, but not for ever.
fn wait<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, String> {
    let waker = Waker::from(Arc::new(Waiting(thread::current())));
    let mut answer = pin!(answer);
    let deadline = Instant::now() + ANSWERING;
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer.map_err(said);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("the sound server does not answer".to_owned());
        }
        thread::park_timeout(left);
    }
}

fn said(error: ClientError) -> String {
    match error {
        ClientError::Io(error) => error.to_string(),
        ClientError::Protocol(error) => error.to_string(),
        other => other.to_string(),
    }
}
