//! What there is to listen to, as each system tells it.

use std::sync::{Arc, Mutex, PoisonError};

use cpal::{
    Host,
    traits::{DeviceTrait as _, HostTrait as _},
};

use crate::{CaptureError, Device, Kind};

/// Ending of the name of the source that gives what a sink plays, in PulseAudio and in PipeWire's stand-in for it.
const MONITOR: &str = ".monitor";

/// The Pulse server, once it was reached. One for the whole program: cpal's client keeps its connection and its thread until
/// the server goes, so one for each look would be as many connections as looks, of the 64 that a server gives.
static SERVER: Mutex<Server> = Mutex::new(Server { host: None, seen: false });

struct Server {
    host: Option<Arc<Host>>,
    /// Whether there ever was one. Then ALSA is no way around it: what ALSA holds, a server that comes back cannot have.
    seen: bool,
}

/// A device, and the system's handle on it.
pub(crate) struct Found {
    pub(crate) device: Device,
    pub(crate) handle: cpal::Device,
    /// Whether it is a Pulse server's, which converts formats and is told how long its blocks may be.
    pub(crate) is_pulse: bool,
}

/// What there is to listen to, the default of each kind first.
///
/// # Errors
/// When the system does not tell.
pub fn devices() -> Result<Vec<Device>, CaptureError> {
    Ok(found()?.into_iter().map(|found| found.device).collect())
}

/// The device `id` of this kind.
pub(crate) fn find(kind: Kind, id: &str) -> Result<Found, CaptureError> {
    let mut all = found()?;
    let at = all.iter().position(|found| found.device.kind == kind && found.device.id == id);
    at.map(|at| all.swap_remove(at)).ok_or_else(|| missing(kind))
}

/// Of `devices`, the one to listen to when `id` is wished for: that one, or the default as long as it is away.
pub(crate) fn choose<'a>(devices: &'a [Device], kind: Kind, id: Option<&str>) -> Option<&'a Device> {
    let of_kind = || devices.iter().filter(move |device| device.kind == kind);
    let wished = id.and_then(|id| of_kind().find(|device| device.id == id));
    wished.or_else(|| of_kind().find(|device| device.is_default)).or_else(|| of_kind().next())
}

/// Says what is missing, and what to do about it.
pub(crate) fn missing(kind: Kind) -> CaptureError {
    let why = match kind {
        Kind::Microphone => "no microphone is plugged in or switched on; connect one, then try again",
        Kind::System if !cfg!(target_os = "linux") => "no speaker or headphone is there; connect one, then try again",
        Kind::System if SERVER.lock().unwrap_or_else(PoisonError::into_inner).seen => {
            "the sound server plays to no device; connect a speaker or headphone, then try again"
        }
        Kind::System => {
            "what the machine plays can be heard only through PulseAudio or PipeWire (pipewire-pulse), and neither answers; \
             start one, then try again"
        }
    };
    CaptureError::Missing(why.to_owned())
}

fn found() -> Result<Vec<Found>, CaptureError> {
    let (host, is_pulse) = host()?;
    let listed = if is_pulse { of_pulse(&host) } else { of_system(&host) };
    let mut found = listed.map_err(|error| {
        // The server went; the next look reaches out to it anew.
        SERVER.lock().unwrap_or_else(PoisonError::into_inner).host = None;
        CaptureError::List(error.to_string())
    })?;
    found.sort_by_key(|found| (found.device.kind == Kind::System, !found.device.is_default, found.device.name.clone()));
    Ok(found)
}

/// The host to ask, and whether it is a Pulse server.
#[cfg(target_os = "linux")]
fn host() -> Result<(Arc<Host>, bool), CaptureError> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = &server.host {
        return Ok((Arc::clone(host), true));
    }
    match cpal::host_from_id(cpal::HostId::PulseAudio) {
        Ok(host) => {
            let host = Arc::new(host);
            *server = Server { host: Some(Arc::clone(&host)), seen: true };
            Ok((host, true))
        }
        Err(error) if server.seen => Err(CaptureError::List(error.to_string())),
        Err(_) => {
            let alsa = cpal::host_from_id(cpal::HostId::Alsa);
            Ok((Arc::new(alsa.map_err(|error| CaptureError::List(error.to_string()))?), false))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn host() -> Result<(Arc<Host>, bool), CaptureError> {
    Ok((Arc::new(cpal::default_host()), false))
}

fn of_pulse(host: &Host) -> Result<Vec<Found>, cpal::Error> {
    let id = |device: Option<cpal::Device>| device.and_then(|device| device.id().ok());
    let microphone = id(host.default_input_device()).map(|id| id.to_string());
    let monitor = id(host.default_output_device()).map(|id| format!("{id}{MONITOR}"));
    let mut found = Vec::new();
    for handle in host.devices()? {
        let (Ok(id), Ok(description)) = (handle.id(), handle.description()) else { continue };
        // Sinks themselves cannot be listened to.
        if !description.supports_input() {
            continue;
        }
        let id = id.to_string();
        let kind = if id.ends_with(MONITOR) { Kind::System } else { Kind::Microphone };
        let default = if kind == Kind::System { &monitor } else { &microphone };
        let is_default = default.as_ref() == Some(&id);
        let device = Device { id, name: description.name().to_owned(), kind, is_default };
        found.push(Found { device, handle, is_pulse: true });
    }
    Ok(found)
}

/// Inputs are microphones. An input stream on an output is what it plays, where the system can do that: on Windows and macOS.
fn of_system(host: &Host) -> Result<Vec<Found>, cpal::Error> {
    let id = |device: Option<cpal::Device>| device.and_then(|device| device.id().ok());
    let (input, output) = (id(host.default_input_device()), id(host.default_output_device()));
    let mut found = Vec::new();
    for handle in host.devices()? {
        let (Ok(id), Ok(description)) = (handle.id(), handle.description()) else { continue };
        if cfg!(target_os = "linux") && !is_plain_alsa(id.id()) {
            continue;
        }
        let mut add = |kind: Kind, is_default: bool| {
            let device = Device { id: id.to_string(), name: description.name().to_owned(), kind, is_default };
            found.push(Found { device, handle: handle.clone(), is_pulse: false });
        };
        let hears = handle.supports_input();
        if hears {
            add(Kind::Microphone, input.as_ref() == Some(&id));
        }
        // cpal taps a device of macOS only where it has no microphone of its own: otherwise it would open that.
        let is_tapped = cfg!(windows) || (cfg!(target_os = "macos") && !hears);
        if is_tapped && handle.supports_output() {
            add(Kind::System, output.as_ref() == Some(&id));
        }
    }
    Ok(found)
}

/// ALSA lists each device under a dozen names for a dozen ways to use it. These are the ones that convert formats.
fn is_plain_alsa(pcm: &str) -> bool {
    pcm == "default" || pcm.starts_with("sysdefault:") || pcm.starts_with("plughw:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: Kind, id: &str, is_default: bool) -> Device {
        Device { id: id.to_owned(), name: id.to_uppercase(), kind, is_default }
    }

    #[test]
    fn the_wished_one_is_chosen_while_it_is_there_and_the_default_of_its_kind_otherwise() {
        let all = [
            device(Kind::Microphone, "a", false),
            device(Kind::Microphone, "b", true),
            device(Kind::System, "a", false),
            device(Kind::System, "s", true),
        ];
        let chosen = |kind, id| choose(&all, kind, id).map(|device| (device.kind, device.id.as_str()));
        assert_eq!(chosen(Kind::Microphone, None), Some((Kind::Microphone, "b")));
        assert_eq!(chosen(Kind::Microphone, Some("a")), Some((Kind::Microphone, "a")));
        assert_eq!(chosen(Kind::System, Some("a")), Some((Kind::System, "a")), "an id counts within its kind");
        assert_eq!(chosen(Kind::System, Some("b")), Some((Kind::System, "s")));
        assert_eq!(choose(&all[..1], Kind::Microphone, None), Some(&all[0]), "any is better than none");
        assert_eq!(choose(&all[..2], Kind::System, None), None);
    }

    #[test]
    fn of_alsas_many_names_the_plain_ones_are_shown() {
        assert!(["default", "sysdefault:CARD=PCH", "plughw:CARD=0,DEV=0"].iter().all(|pcm| is_plain_alsa(pcm)));
        assert!(!["null", "hw:CARD=0,DEV=0", "surround51:CARD=PCH,DEV=0"].iter().any(|pcm| is_plain_alsa(pcm)));
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        for kind in [Kind::Microphone, Kind::System] {
            let said = missing(kind).to_string();
            assert!(said.starts_with("no device for this: ") && said.ends_with("then try again"), "{said}");
        }
    }
}
