//! Listens to this machine: `cargo run -p capture --example listen -- system 10 heard.wav [ID]` writes 10 s of what it plays
//! (or of a `microphone`) as WAV, and what happens as lines of JSON. With 0 for 10 it listens until the standard input ends.
//! `listen list` prints the devices.

use std::{
    error::Error,
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use capture::{Capture, Device, Heard, Kind, SAMPLE_RATE};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Does what the arguments say. The tests run it as well, in a child process with a sound server of its own.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    match *arguments {
        ["list"] => {
            for device in capture::devices()? {
                say(&format!(r#"{{"device":{}}}"#, json(&device)))?;
            }
            Ok(())
        }
        [kind, seconds, wav, ref id @ ..] => {
            let kind = match kind {
                "system" => Kind::System,
                "microphone" => Kind::Microphone,
                _ => return Err("the first argument is `system` or `microphone`".into()),
            };
            listen(kind, seconds.parse()?, wav, id.first().copied())
        }
        _ => Err("usage: listen list | listen system|microphone SECONDS FILE.wav [ID]".into()),
    }
}

fn listen(kind: Kind, seconds: u32, wav: &str, id: Option<&str>) -> Result<(), Box<dyn Error>> {
    let (capture, mut heard) = Capture::open(kind, id)?;
    let start = Instant::now();
    let at = || start.elapsed().as_millis();
    let mut file = io::BufWriter::new(File::create(wav)?);
    header(&mut file, 0)?;
    let (mut samples, mut peak) = (0_u32, 0.0_f32);
    say(&format!(r#"{{"at_ms":{},"opened":true}}"#, at()))?;
    let is_over = input_ends();
    while if seconds > 0 { samples < seconds * SAMPLE_RATE } else { !is_over.load(Ordering::Relaxed) } {
        let Some(heard) = heard.blocking_recv() else { return Err("the capture ended by itself".into()) };
        match heard {
            Heard::Frame(frame) => {
                frame.pcm.iter().try_for_each(|sample| file.write_all(&sample.to_le_bytes()))?;
                samples += u32::try_from(frame.pcm.len())?;
                peak = peak.max(frame.peak);
                if samples % SAMPLE_RATE == 0 {
                    say(&format!(r#"{{"at_ms":{},"samples":{samples},"peak":{peak:.4}}}"#, at()))?;
                    peak = 0.0;
                }
            }
            Heard::Moved(device) => say(&format!(r#"{{"at_ms":{},"moved":{}}}"#, at(), json(&device)))?,
            Heard::Lost(time) => say(&format!(r#"{{"at_ms":{},"lost_ms":{}}}"#, at(), time.as_millis()))?,
            Heard::Waiting => say(&format!(r#"{{"at_ms":{},"waiting":true}}"#, at()))?,
        }
    }
    drop(capture);
    file.seek(SeekFrom::Start(0))?;
    header(&mut file, samples)?;
    Ok(file.flush()?)
}

/// Becomes true when the standard input has ended.
fn input_ends() -> Arc<AtomicBool> {
    let has_ended = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&has_ended);
    thread::spawn(move || {
        // An input that cannot be read has ended as well.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        tell.store(true, Ordering::Relaxed);
    });
    has_ended
}

/// Of a WAV file, mono s16.
fn header(file: &mut impl io::Write, samples: u32) -> io::Result<()> {
    let (bytes, rate) = (samples * 2, SAMPLE_RATE.to_le_bytes());
    let parts: [&[u8]; 13] = [
        b"RIFF",
        &(36 + bytes).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &rate,
        &(SAMPLE_RATE * 2).to_le_bytes(),
        &2_u16.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &bytes.to_le_bytes(),
    ];
    parts.iter().try_for_each(|part| file.write_all(part))
}

fn json(device: &Device) -> String {
    let kind = if device.kind == Kind::System { "system" } else { "microphone" };
    let Device { id, name, is_default, .. } = device;
    format!(r#"{{"id":{},"name":{},"kind":"{kind}","is_default":{is_default}}}"#, quoted(id), quoted(name))
}

fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
