//! What there is to listen to, as each system tells it.

use cpal::{
    Host,
    traits::{DeviceTrait as _, HostTrait as _},
};

#[cfg(target_os = "linux")]
use crate::pulse;
use crate::{CaptureError, Device, Kind};

/// The system's handle on a device.
pub(crate) enum Handle {
    /// ALSA, WASAPI or Core Audio.
    Plain(cpal::Device),
    #[cfg(target_os = "linux")]
    Pulse(Box<pulse::Source>),
}

/// A device, and how to open it.
pub(crate) struct Found {
    pub(crate) device: Device,
    pub(crate) handle: Handle,
}

/// A device that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) device: Device,
    /// Another device of the same id has another, where the system tells.
    pub(crate) serial: u32,
}

impl Found {
    pub(crate) fn seen(&self) -> Seen {
        let serial = match &self.handle {
            Handle::Plain(_) => 0,
            #[cfg(target_os = "linux")]
            Handle::Pulse(source) => source.serial(),
        };
        Seen { device: self.device.clone(), serial }
    }
}

/// What there is to listen to, the default of each kind first.
///
/// # Errors
/// When the system does not tell.
pub fn devices() -> Result<Vec<Device>, CaptureError> {
    Ok(found()?.into_iter().map(|found| found.device).collect())
}

/// The same, for who follows them.
pub(crate) fn look() -> Result<Vec<Seen>, CaptureError> {
    Ok(found()?.iter().map(Found::seen).collect())
}

/// The device `id` of this kind.
pub(crate) fn find(kind: Kind, id: &str) -> Result<Found, CaptureError> {
    let mut all = found()?;
    let at = all.iter().position(|found| found.device.kind == kind && found.device.id == id);
    at.map(|at| all.swap_remove(at)).ok_or_else(|| missing(kind))
}

/// Of what was seen, the one to listen to when `id` is wished for: that one, or the default as long as it is away.
pub(crate) fn choose<'a>(seen: &'a [Seen], kind: Kind, id: Option<&str>) -> Option<&'a Seen> {
    let of_kind = || seen.iter().filter(move |seen| seen.device.kind == kind);
    let wished = id.and_then(|id| of_kind().find(|seen| seen.device.id == id));
    wished.or_else(|| of_kind().find(|seen| seen.device.is_default)).or_else(|| of_kind().next())
}

/// Says what is missing, and what to do about it.
pub(crate) fn missing(kind: Kind) -> CaptureError {
    let why = match kind {
        Kind::Microphone => "no microphone is plugged in or switched on; connect one, then try again",
        Kind::System if !cfg!(target_os = "linux") => "no speaker or headphone is there; connect one, then try again",
        #[cfg(target_os = "linux")]
        Kind::System if pulse::was_seen() => {
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
    let mut found = everything()?;
    found.sort_by_key(|found| (found.device.kind == Kind::System, !found.device.is_default, found.device.name.clone()));
    Ok(found)
}

#[cfg(target_os = "linux")]
fn everything() -> Result<Vec<Found>, CaptureError> {
    if let Some(sources) = pulse::sources().map_err(CaptureError::List)? {
        let of = |(device, source)| Found { device, handle: Handle::Pulse(Box::new(source)) };
        return Ok(sources.into_iter().map(of).collect());
    }
    of_system(&cpal::default_host()).map_err(|error| CaptureError::List(error.to_string()))
}

#[cfg(not(target_os = "linux"))]
fn everything() -> Result<Vec<Found>, CaptureError> {
    of_system(&cpal::default_host()).map_err(|error| CaptureError::List(error.to_string()))
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
            found.push(Found { device, handle: Handle::Plain(handle.clone()) });
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

    fn device(kind: Kind, id: &str, is_default: bool) -> Seen {
        Seen { device: Device { id: id.to_owned(), name: id.to_uppercase(), kind, is_default }, serial: 0 }
    }

    #[test]
    fn the_wished_one_is_chosen_while_it_is_there_and_the_default_of_its_kind_otherwise() {
        let all = [
            device(Kind::Microphone, "a", false),
            device(Kind::Microphone, "b", true),
            device(Kind::System, "a", false),
            device(Kind::System, "s", true),
        ];
        let chosen = |kind, id| choose(&all, kind, id).map(|seen| (seen.device.kind, seen.device.id.as_str()));
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
