//! Clients that give a server work as fast as it goes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use client::{Credential, Downlink, Happening, Session, transcript::Transcript};
use shared::{
    language::Language,
    wire::{ServerMessage, Start},
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::Instant,
};

use super::server::Server;
use crate::{bench::stream::resources::cpu_seconds, caption::send, recording::Recording};

/// What a turn was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    /// From the first sample to the last final.
    pub(super) seconds: f64,
    /// Processor time of the server; `None` where the system does not tell.
    pub(super) cpu_seconds: Option<f64>,
    /// Audio, of all sessions together.
    pub(super) audio_seconds: f64,
    /// Utterances with all their finals.
    pub(super) utterances: usize,
}

/// What one session was.
struct Heard {
    audio_ms: u64,
    utterances: usize,
}

/// Plays `recording` in so many sessions at once, and waits for all that is owed.
pub(super) async fn turn(server: &Server, recording: &Path, sessions: u32) -> anyhow::Result<Turn> {
    let (begun, cpu_before) = (Instant::now(), cpu_seconds(&server.id()));
    let mut clients = JoinSet::new();
    for _ in 0..sessions {
        clients.spawn(session(server.url.clone(), recording.to_owned()));
    }
    let (mut audio_ms, mut utterances) = (0, 0);
    while let Some(heard) = clients.join_next().await {
        let heard = heard??;
        audio_ms += heard.audio_ms;
        utterances += heard.utterances;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds(&server.id()).zip(cpu_before).map(|(now, then)| now - then);
    Ok(Turn { seconds, cpu_seconds, audio_seconds: audio_ms as f64 / 1000.0, utterances })
}

/// Without partial captions, so that the work is the same whatever the speed.
async fn session(url: String, path: PathBuf) -> anyhow::Result<Heard> {
    let recording = spawn_blocking(move || Recording::open(&path)).await??;
    let targets: Vec<Language> = vec!["es".parse()?];
    let start = Start {
        audio: recording.format(),
        source: "en".parse()?,
        targets: targets.clone(),
        partials: false,
        words: false,
        glossary: Vec::new(),
        resume: None,
        trace_parent: None,
    };
    let (uplink, downlink) = Session { url, credential: Credential::None, start }.open().await?;
    let (owed_sender, owed) = watch::channel(0);
    let (sent, heard) = tokio::join!(send(recording, uplink, owed), hear(downlink, &targets, owed_sender));
    let heard = heard?;
    sent?;
    Ok(heard)
}

async fn hear(mut downlink: Downlink, targets: &[Language], owed: watch::Sender<usize>) -> anyhow::Result<Heard> {
    let mut transcript = Transcript::default();
    let mut audio_ms = None;
    while let Some(happening) = downlink.next().await? {
        let Happening::Event(event) = happening else { bail!("a session broke off, so the work is not the same") };
        transcript.apply(&event);
        owed.send_replace(transcript.utterances().filter(|(_, utterance)| !utterance.done(targets)).count());
        match &event.message {
            ServerMessage::Error(error) => bail!("{} (trace {})", error.message, error.trace_id),
            ServerMessage::Gap { .. } => bail!("something got no caption, so the work is not the same"),
            ServerMessage::Ended { audio_ms: heard, .. } => audio_ms = Some(*heard),
            _ => {}
        }
    }
    let audio_ms = audio_ms.context("the gateway closed before the end")?;
    let utterances = transcript.utterances().filter(|(_, utterance)| utterance.done(targets)).count();
    ensure!(utterances > 0, "nobody speaks in the recording");
    Ok(Heard { audio_ms, utterances })
}
