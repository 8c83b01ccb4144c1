//! `subtide demo`: the speech that ships, played in real time through the whole pipeline, then the web page.

mod latency;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use client::{Receiver, Sender, transcript::Transcript};
use gateway::config::DEFAULT_BIND;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    config::Env,
    language::Language,
    models::models_dir,
    shutdown::{self, CancellationToken},
    telemetry::{self, LogConfig},
    wire::{ClientMessage, ServerMessage, Start},
};
use tokio::{
    net::TcpListener,
    time::{Instant, MissedTickBehavior, interval_at},
};

use self::latency::Latencies;
use crate::{
    output::print_line,
    recording::Recording,
    roles::{Roles, Settings},
    screen::Screen,
};

/// How much a microphone gathers before it is sent.
const FRAME: Duration = Duration::from_millis(50);
/// Silence sent after the recording, so that its last utterance ends as it would in a conversation.
const SILENCE_AFTER: Duration = Duration::from_millis(2000);
/// How often the status line moves when nothing else does.
const REDRAW: Duration = Duration::from_millis(250);

/// How to show the demo.
#[derive(Debug, Clone)]
pub struct Options {
    /// Languages to translate into.
    pub to: Vec<Language>,
    /// One event a line, with `at_ms`, milliseconds since the first sample.
    pub json: bool,
    /// Ends after the recording instead of serving on.
    pub once: bool,
}

/// What is translated into when nothing is said: the pair whose model ships.
#[must_use]
pub fn default_targets() -> Vec<Language> {
    "es".parse().into_iter().collect()
}

/// What `models/demo-speech/manifest.json` says.
#[derive(Debug, Clone, Deserialize)]
struct Manifest {
    file: String,
    utterances: Vec<Spoken>,
}

/// One utterance of the recording, as it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Spoken {
    text: String,
    spanish: String,
    start_ms: u64,
    end_ms: u64,
    #[serde(default)]
    voice: String,
}

/// Plays the demo, then serves until Ctrl-C.
///
/// # Errors
/// When a model, the recording or a port cannot be had.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut env = Env::process();
    let log = LogConfig::from_env(&mut env, "warn");
    let speech = models_dir(&env).join("demo-speech");
    let mut settings = Settings::from_env(&mut env);
    env.finish()?;
    telemetry::init(&log);
    settings.gateway.ask_nobody();
    settings.gateway.addr.set_ip(DEFAULT_BIND);
    settings.health = None;
    if options.once || TcpListener::bind(settings.gateway.addr).await.is_err() {
        settings.gateway.addr.set_port(0);
    }
    let stop = shutdown::on_signal()?;
    let begun = Instant::now();
    let (manifest, pcm) = load(&speech)?;
    let roles = Roles::start(settings).await?;
    if !options.json {
        let seconds = begun.elapsed().as_secs_f64();
        print_line(&format!(
            "Subtide: gateway, speech and translation models are up ({seconds:.1} s). This is a recording,"
        ))?;
        print_line("heard and translated as it is played; what is dim may still change.\n")?;
    }
    let url = roles.url();
    let shown = tokio::select! {
        shown = show(&url, &options, manifest, pcm) => shown,
        () = stop.cancelled() => Ok(()),
    };
    if shown.is_err() || options.once || stop.is_cancelled() {
        roles.stop().await?;
        return shown;
    }
    serve_on(roles, &options, stop).await
}

async fn serve_on(roles: Roles, options: &Options, stop: CancellationToken) -> anyhow::Result<()> {
    if !options.json {
        print_line(&format!(
            "\nNow with your own microphone: open  http://{}/  in a browser. Ctrl-C ends.",
            roles.addr
        ))?;
    }
    roles.run(stop).await
}

fn load(directory: &Path) -> anyhow::Result<(Manifest, Vec<u8>)> {
    let path = directory.join("manifest.json");
    let missing =
        || format!("{}: the demo's speech is not there; run from the checkout or set MODELS_DIR", path.display());
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(&path).with_context(missing)?)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let path: PathBuf = directory.join(&manifest.file);
    let mut recording = Recording::open(&path)?;
    let format = recording.format();
    anyhow::ensure!(format.sample_rate == shared::audio::SAMPLE_RATE, "{} must have 16 kHz", path.display());
    let mut pcm = Vec::new();
    while let Some(piece) = recording.next_piece()? {
        pcm.extend(piece);
    }
    let silence = shared::audio::duration_to_samples(SILENCE_AFTER) as usize * shared::audio::BYTES_PER_SAMPLE;
    pcm.resize(pcm.len() + silence, 0);
    Ok((manifest, pcm))
}

async fn show(url: &str, options: &Options, manifest: Manifest, pcm: Vec<u8>) -> anyhow::Result<()> {
    let start = Start {
        audio: shared::wire::AudioFormat {
            encoding: shared::wire::Encoding::PcmS16le,
            sample_rate: shared::audio::SAMPLE_RATE,
            channels: 1,
        },
        source: "en".parse()?,
        targets: options.to.clone(),
        partials: true,
        words: false,
        glossary: Vec::new(),
        resume: None,
        trace_parent: None,
    };
    let (sender, receiver) = client::open(url, None, start).await?;
    if options.json {
        print_line(&json!({"type": "recording", "utterances": &manifest.utterances}).to_string())?;
    }
    let first_sample = Instant::now();
    let latencies = Latencies::new(manifest.utterances);
    // When nobody reads what is printed any more, the rest need not be played.
    tokio::try_join!(play(sender, pcm, first_sample), watch(receiver, options, first_sample, latencies))?;
    Ok(())
}

/// Sends each frame when its last sample has been spoken, as a microphone would.
async fn play(mut sender: Sender, pcm: Vec<u8>, first_sample: Instant) -> anyhow::Result<()> {
    let frame = shared::audio::duration_to_samples(FRAME) as usize * shared::audio::BYTES_PER_SAMPLE;
    let mut clock = interval_at(first_sample + FRAME, FRAME);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for piece in pcm.chunks(frame) {
        clock.tick().await;
        sender.audio(piece.to_vec()).await?;
    }
    sender.say(&ClientMessage::Stop {}).await?;
    Ok(())
}

async fn watch(
    mut events: Receiver,
    options: &Options,
    first_sample: Instant,
    mut latencies: Latencies,
) -> anyhow::Result<()> {
    let mut transcript = Transcript::default();
    let interactive = !options.json && io::stdout().is_terminal();
    let mut screen = interactive.then(|| Screen::new(io::stdout()));
    let mut redraw = interval_at(first_sample, REDRAW);
    let mut plain = 0;
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = redraw.tick(), if interactive => {
                if let Some(screen) = &mut screen {
                    screen.draw(&transcript, &options.to, &latencies.status(first_sample.elapsed()))?;
                }
                continue;
            }
        };
        let Some(event) = event else { break };
        let at = first_sample.elapsed();
        latencies.take(&event, at);
        transcript.apply(&event);
        if let ServerMessage::Error(error) = &event.message {
            anyhow::bail!("{} (trace {})", error.message, error.trace_id);
        }
        if options.json {
            let mut line = serde_json::to_value(&event)?;
            line["at_ms"] = json!(u64::try_from(at.as_millis())?);
            print_line(&line.to_string())?;
        } else if let Some(screen) = &mut screen {
            screen.draw(&transcript, &options.to, &latencies.status(at))?;
        } else {
            plain = crate::caption::print_finished(&transcript, &options.to, plain)?;
        }
    }
    anyhow::ensure!(transcript.over(), "the gateway closed before the end of the recording");
    if let Some(screen) = screen {
        screen.finish()?.flush()?;
    }
    if options.json {
        print_line(&latencies.as_json().to_string())?;
    } else {
        print_line(&latencies.summary())?;
    }
    Ok(())
}
