//! `subtide caption FILE|-`: captions and translations of a recording, as fast as the models go.

use std::{path::PathBuf, sync::Arc};

use client::{
    ClientError, Credential, Downlink, Happening, Session, Uplink,
    sign_in::{Server, SignedIn},
    transcript::Transcript,
};
use shared::{
    config::Env,
    language::{Language, Source},
    telemetry::{self, LogConfig},
    wire::{ClientMessage, ServerMessage, Start},
};
use tokio::sync::{mpsc, watch};

use crate::{
    output::{OutputError, print_line},
    recording::{Recording, RecordingError},
    roles::{Roles, Settings},
    sign_in::TokenFile,
};

/// Pieces decoded ahead of what was sent; when it is full, decoding waits.
const AHEAD: usize = 16;
/// Bytes of one binary frame at most.
const FRAME_BYTES: usize = 16 * 1024;
/// Utterances without a final, beyond which sending waits: enough to fill a batch, little enough to keep queues short.
const MAX_OWED: usize = 8;

/// What to caption and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The recording; `-` is standard input.
    pub file: PathBuf,
    /// Language spoken.
    pub from: Source,
    /// Languages to translate into.
    pub to: Vec<Language>,
    /// Whether partial captions are wanted as well.
    pub partials: bool,
    /// One event of the protocol a line.
    pub json: bool,
    /// Gateway to use instead of the roles in this process.
    pub server: Option<String>,
    /// Refresh token that `subtide sign-in` left, for access tokens as they are needed.
    pub token_file: Option<PathBuf>,
}

/// Captions one recording.
///
/// # Errors
/// When the recording or the pipeline cannot be used. A recording that is cut short is captioned as far as it goes,
/// and then reported.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut env = Env::process();
    let log = LogConfig::from_env(&mut env, "warn");
    telemetry::init(&log);
    let path = options.file.clone();
    let recording = tokio::task::spawn_blocking(move || Recording::open(&path)).await??;
    let (url, credential, roles) = match &options.server {
        Some(url) => {
            let token = env.secret("SUBTIDE_TOKEN");
            env.finish()?;
            let credential = match &options.token_file {
                Some(file) => SignedIn::new(Server::of_stream(url)?, Arc::new(TokenFile(file.clone()))).into(),
                None => Credential::from(token),
            };
            (url.clone(), credential, None)
        }
        None => {
            let mut settings = Settings::from_env(&mut env);
            env.finish()?;
            settings.gateway.ask_nobody();
            settings.gateway.addr = (gateway::config::DEFAULT_BIND, 0).into();
            settings.health = None;
            let roles = Roles::start(settings).await?;
            (roles.url(), Credential::None, Some(roles))
        }
    };
    let start = Start {
        audio: recording.format(),
        source: options.from.clone(),
        targets: options.to.clone(),
        partials: options.partials,
        words: false,
        glossary: Vec::new(),
        resume: None,
        trace_parent: None,
    };
    let (uplink, downlink) = Session { url, credential, start }.open().await?;
    let (owed_sender, owed) = watch::channel(0);
    let (sent, received) = tokio::join!(send(recording, uplink, owed), receive(downlink, &options, owed_sender));
    if let Some(roles) = roles {
        roles.stop().await?;
    }
    received?;
    sent
}

/// Sends the whole recording, as fast as what is `owed` (utterances without a final) allows, then `stop`.
pub(crate) async fn send(
    mut recording: Recording,
    uplink: Uplink,
    mut owed: watch::Receiver<usize>,
) -> anyhow::Result<()> {
    let (pieces, mut decoded) = mpsc::channel::<Result<Vec<u8>, RecordingError>>(AHEAD);
    let decoding = tokio::task::spawn_blocking(move || {
        while let Some(piece) = recording.next_piece().transpose() {
            let last = piece.is_err();
            if pieces.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    let mut outcome = Ok(());
    while let Some(piece) = decoded.recv().await {
        match piece {
            Ok(piece) => {
                for frame in piece.chunks(FRAME_BYTES) {
                    if owed.wait_for(|owed| *owed < MAX_OWED).await.is_err() {
                        return Ok(()); // the receiving side ended and says why
                    }
                    if !goes_on(uplink.audio(frame.to_vec()).await)? {
                        return Ok(());
                    }
                }
            }
            Err(error) => outcome = Err(error),
        }
    }
    goes_on(uplink.say(ClientMessage::Stop {}).await)?;
    decoding.await?;
    Ok(outcome?)
}

/// Whether more can be sent. A session that is over is no fault of sending: the receiving side says why.
fn goes_on(sent: Result<(), ClientError>) -> Result<bool, ClientError> {
    match sent {
        Ok(()) => Ok(true),
        Err(ClientError::Over) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes in events until the session ends, and prints them.
async fn receive(mut happenings: Downlink, options: &Options, owed: watch::Sender<usize>) -> anyhow::Result<()> {
    let mut transcript = Transcript::default();
    let (mut printed, mut base_ms) = (0, 0);
    while let Some(happening) = happenings.next().await? {
        let event = match happening {
            Happening::Event(event) => event,
            Happening::Anew { from_ms } => {
                let heard_ms = base_ms
                    + transcript.utterances().filter_map(|(_, u)| u.caption.as_ref()).last().map_or(0, |c| c.end_ms);
                base_ms += from_ms;
                print_gap(options, heard_ms, base_ms)?;
                (transcript, printed) = (Transcript::default(), 0);
                continue;
            }
            Happening::Broken { why } => {
                tracing::warn!("the connection broke ({why}); connecting again");
                continue;
            }
            Happening::Resumed { away, lost_ms, .. } => {
                tracing::warn!(lost_ms, "the session goes on after {:.1} s", away.as_secs_f64());
                continue;
            }
        };
        if options.json {
            print_line(&serde_json::to_string(&event)?)?;
        }
        transcript.apply(&event);
        let waiting = transcript.utterances().filter(|(_, u)| !u.done(&options.to)).count();
        owed.send_replace(waiting);
        if !options.json {
            printed = print_after(&transcript, &options.to, printed, base_ms)?;
        }
        if let ServerMessage::Error(error) = &event.message {
            anyhow::bail!("{} ({:?}, trace {})", error.message, error.code, error.trace_id);
        }
    }
    anyhow::ensure!(transcript.over(), "the gateway closed before the end; what is above is all that came");
    Ok(())
}

/// Says that a session was lost; what follows are the events of a new one.
fn print_gap(options: &Options, from_ms: u64, to_ms: u64) -> Result<(), OutputError> {
    if options.json {
        let gap = serde_json::json!({"type": "new_session", "heard_ms": from_ms, "from_ms": to_ms});
        print_line(&gap.to_string())
    } else {
        let (from, to) = (clock(from_ms), clock(to_ms));
        print_line(&format!("[gap: the session was lost; speech between {from} and {to} may have no caption]"))
    }
}

/// Prints the utterances that are done, in order, beyond the first `printed`.
pub(crate) fn print_finished(
    transcript: &Transcript,
    targets: &[Language],
    printed: usize,
) -> Result<usize, OutputError> {
    print_after(transcript, targets, printed, 0)
}

/// The same; the session began `base_ms` into the recording.
fn print_after(
    transcript: &Transcript,
    targets: &[Language],
    printed: usize,
    base_ms: u64,
) -> Result<usize, OutputError> {
    let done = transcript.utterances().take_while(|(_, u)| u.done(targets)).skip(printed);
    let mut count = printed;
    for (_, utterance) in done {
        count += 1;
        match &utterance.caption {
            Some(caption) if !caption.committed.is_empty() => {
                print_line(&format!("[{}] {}", clock(base_ms + caption.start_ms), caption.committed))?;
                for translation in utterance.translations.values().filter(|t| !t.committed.is_empty()) {
                    print_line(&format!("{:>10} {}", format!("{}:", translation.target), translation.committed))?;
                }
            }
            Some(_) => {}
            None => print_line("[gap: this speech got no caption]")?,
        }
    }
    Ok(count)
}

/// `m:ss.t`.
fn clock(ms: u64) -> String {
    format!("{}:{:02}.{}", ms / 60_000, ms / 1000 % 60, ms / 100 % 10)
}
